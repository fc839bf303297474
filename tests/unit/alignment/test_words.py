"""Words and sentences for users."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_canary.alignment.spans import Span, TokenSpan, group_words
from mlx_canary.alignment.words import longest_rise, sentences, settle_times, spans_to_words
from mlx_canary.types import Word

TIMES = st.one_of(st.none(), st.floats(-5, 40), st.just(float("nan")), st.just(float("inf")))
GIVEN = st.lists(st.tuples(st.text("abc", min_size=1), TIMES, TIMES), max_size=12)


def said(text, pace=0.5):
    """Words of half a second each, one after the other."""
    return tuple(Word(word, i * pace, (i + 1) * pace) for i, word in enumerate(text.split()))


@given(GIVEN, st.floats(0, 30))
def test_times_rise_inside_the_recording_whatever_was_given(items, duration):
    texts, starts, ends = zip(*items, strict=True) if items else ((), (), ())
    words = settle_times(texts, starts, ends, duration)
    assert [word.text for word in words] == list(texts)
    times = [t for word in words for t in (word.start, word.end)]
    assert times == sorted(times)
    assert all(0 <= t <= duration for t in times)


@given(st.lists(st.floats(0, 30), max_size=20).map(lambda times: sorted(times)[: len(times) // 2 * 2]))
def test_times_that_rise_are_not_touched(times):
    words = settle_times(["a"] * (len(times) // 2), times[::2], times[1::2], 30.0)
    assert [t for word in words for t in (word.start, word.end)] == times


@given(st.lists(st.one_of(st.none(), st.integers(0, 5)), max_size=9))
def test_as_few_times_as_possible_are_given_up(values):
    kept = longest_rise(values)
    known = [values[i] for i in kept]
    assert known == sorted(known)
    longest = 0
    for chosen in range(1 << len(values)):
        some = [v for i, v in enumerate(values) if chosen >> i & 1]
        if None not in some and some == sorted(some):
            longest = max(longest, len(some))
    assert len(kept) == longest


def test_a_word_that_lost_its_time_stands_between_its_neighbours():
    words = settle_times(["ab", "cd", "ef"], [0.0, None, 2.0], [1.0, None, 3.0], 4.0)
    assert words[1] == Word("cd", 1.0, 2.0)


def test_words_without_any_time_share_the_recording_by_their_letters():
    words = settle_times(["ab", "cdef"], [None, None], [None, None], 6.0)
    assert words == (Word("ab", 0.0, 2.0), Word("cdef", 2.0, 6.0))


def test_spaces_inside_a_word_of_nemo_s_part_it():
    words = spans_to_words([Span("two words.", 0, 5, 0.0, 0.9)], 2.0)
    assert [word.text for word in words] == ["two", "words."]
    assert words[0].end == words[1].start == pytest.approx(0.3)


@given(st.lists(st.sampled_from(["a", "b.", "C", "d?", "E!", "«f»."])))
def test_sentences_hold_every_word_once(texts):
    words = said(" ".join(texts))
    segments = sentences(words)
    assert tuple(word for segment in segments for word in segment.words) == words
    for segment in segments:
        assert segment.text == " ".join(word.text for word in segment.words)
        assert (segment.start, segment.end) == (segment.words[0].start, segment.words[-1].end)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Good morning. How are you?", ["Good morning.", "How are you?"]),
        ("at 5 p.m. on Monday. Bye!", ["at 5 p.m. on Monday.", "Bye!"]),
        ('He said "no." Then he left.', ['He said "no."', "Then he left."]),
        ("no end", ["no end"]),
        ("", []),
    ],
)
def test_sentences_end_where_a_reader_would_say(text, expected):
    assert [segment.text for segment in sentences(said(text))] == expected


def test_a_long_pause_parts_sentences_when_asked():
    words = (Word("one", 0.0, 1.0), Word("two", 4.0, 5.0))
    assert len(sentences(words)) == 1
    assert len(sentences(words, max_pause=2.0)) == 2


def test_a_space_before_punctuation_is_not_a_word():
    tokens = [
        TokenSpan("a", 1, "▁a", 0, 1, 0.0, 0.08),
        TokenSpan(" ", 2, " ", 1, 2, 0.08, 0.16),
        TokenSpan(",", 3, ",", 2, 3, 0.16, 0.24),
    ]
    assert group_words(tokens) == [Span("a,", 0, 3, 0.0, 0.24)]


def test_punctuation_begins_no_word_but_may_begin_a_text():
    dots, word = TokenSpan(".", 3, ".", 0, 1, 0.0, 0.08), TokenSpan("a", 1, "▁a", 1, 2, 0.08, 0.16)
    assert group_words([dots, word]) == [Span(".", 0, 1, 0.0, 0.08), Span("a", 1, 2, 0.08, 0.16)]
    comma = TokenSpan(",", 2, "▁,", 2, 3, 0.16, 0.24)
    assert group_words([word, comma]) == [Span("a ,", 1, 3, 0.08, 0.24)]


def test_times_stay_inside_although_products_round():
    """4.655800278462184 * 7 / 7 is just more than itself; a word once ended after its recording."""
    (word,) = settle_times(["???????"], [None], [None], 4.655800278462184)
    assert word.end <= 4.655800278462184
