"""Times that the model writes: no word is lost, whatever the tokens look like."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_canary.alignment.inline import inline_words, parse_inline

FRAME = 0.08  # seconds

PIECES = st.one_of(
    st.integers(0, 130).map(lambda n: f"<|{n}|>"),
    st.text("abc.?!é ", max_size=6),
    st.sampled_from(["<|endoftext|>", "<|emo:undefined|>", "<pad>", "<unk>"]),
)


def told(words):
    return [(word.text, word.start, word.end) for word in words]


@given(st.lists(PIECES, max_size=25).map("".join), st.floats(0.01, 12))
def test_no_word_is_lost_and_times_rise_inside_the_recording(text, duration):
    words = inline_words(text, duration, FRAME)
    plain = re.sub(r"<\|[^|]*\|>|<pad>|<unk>", " ", text)
    assert [word.text for word in words] == plain.split()
    times = [t for word in words for t in (word.start, word.end)]
    assert times == sorted(times)
    assert all(0 <= t <= duration for t in times)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.text("ab.", min_size=1)), min_size=1))
def test_well_formed_times_are_nemo_s(items):
    """Where tokens pair up and times rise, both readings say the same."""
    frame, text = 0, ""
    for gap, length, word in items:
        text += f"<|{frame + gap}|> {word} <|{frame + gap + length}|> "
        frame += gap + length
    exact = parse_inline(text, FRAME)
    assert told(inline_words(text, 1e6, FRAME)) == told(exact.words)


def test_a_word_between_pairs_gets_the_time_between_them():
    """NeMo drops it."""
    text = "<|3|>first<|6|>gap<|8|>second<|11|>"
    assert parse_inline(text, FRAME).text == "first second"
    assert told(inline_words(text, 2.0, FRAME))[1] == pytest.approx(("gap", 0.48, 0.64))


def test_words_after_a_doubled_token_are_kept():
    """NeMo pairs the wrong tokens from there on and drops them."""
    text = "<|1|>one<|5|><|6|> <|7|>two<|8|>"
    assert parse_inline(text, FRAME).text == "one"
    assert told(inline_words(text, 2.0, FRAME)) == [
        pytest.approx(("one", 0.08, 0.4)),
        pytest.approx(("two", 0.56, 0.64)),
    ]


def test_text_without_an_end_is_given_the_pace_of_speech():
    lead, inside, tail = inline_words("lead <|25|>in<|30|> tail", 60.0, FRAME)
    assert lead.end == inside.start == pytest.approx(2.0)
    assert 0.2 < lead.end - lead.start < 0.4
    assert 0.2 < tail.end - tail.start < 0.4


def test_several_words_between_two_tokens_share_the_time_by_length():
    words = inline_words("<|0|>a bbb<|10|>", 2.0, FRAME)
    assert told(words) == [pytest.approx(("a", 0.0, 0.2)), pytest.approx(("bbb", 0.2, 0.8))]


def test_one_wrong_token_does_not_move_the_words_after_it():
    words = inline_words("<|0|>a<|5|><|899|>b<|10|><|10|>c<|15|>", 72.0, FRAME)
    assert told(words)[2] == pytest.approx(("c", 0.8, 1.2))


def test_text_without_times_is_spread_over_the_recording():
    assert told(inline_words("no times", 7.0, FRAME)) == [
        pytest.approx(("no", 0.0, 2.0)),
        pytest.approx(("times", 2.0, 7.0)),
    ]
