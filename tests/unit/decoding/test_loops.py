"""Texts that repeat themselves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlx_canary.decoding.loops import Loop, find_first_loop, find_loop, is_nemo_hallucination

PROMPT = list(range(100, 108))


def test_nemos_rule():
    assert is_nemo_hallucination([*PROMPT, *[5] * 5])
    assert not is_nemo_hallucination([*PROMPT, *[5] * 4])
    assert is_nemo_hallucination([*PROMPT, *[5, 6] * 3])
    assert not is_nemo_hallucination([*PROMPT, *[5, 6] * 2])
    assert is_nemo_hallucination([*PROMPT, *[5, 6, 7] * 3])
    assert not is_nemo_hallucination([*PROMPT, *[5, 6, 7] * 2, 5, 6])
    assert not is_nemo_hallucination([1, 2, 3, *[5] * 5])
    assert is_nemo_hallucination([1, 2, 3, 4, *[5] * 5])


def test_long_periods():
    phrase = list(range(30))
    assert find_loop(phrase * 3) == Loop(0, 30, 3)
    assert find_loop([99, *phrase * 3]) == Loop(1, 30, 3)
    assert find_loop(phrase * 2) is None


def test_saying_something_three_times_is_no_loop():
    assert find_loop(["no", "no", "no"]) is None
    assert find_loop(["very", "very", "very", "very", "good"]) is None


def test_a_sentence_that_is_said_again_is_no_loop():
    """However much stands before it."""
    sentence = list(range(10))
    assert find_loop([*range(100, 140), *sentence * 2]) is None
    assert find_loop([*range(100, 140), *sentence * 3]) == Loop(40, 10, 3)


def test_a_loop_in_the_middle_is_found_with_all_its_repeats():
    words = ["so", *["thank", "you"] * 9, "bye"]
    loop = find_first_loop(words)
    assert loop == Loop(1, 2, 9)
    assert words[loop.end :] == ["bye"]
    assert find_loop(words) is None


@given(st.lists(st.integers(0, 3), max_size=20), st.lists(st.integers(0, 3), min_size=1, max_size=6), st.integers(3, 8))
def test_every_repeated_phrase_is_a_loop(before, phrase, repeats):
    loop = find_loop([*before, *phrase * repeats])
    assert (loop is not None) or len(phrase) * repeats < 10
    if loop is not None:
        assert loop.end == len(before) + len(phrase) * repeats


@given(st.permutations(range(40)))
def test_a_text_without_repeats_has_no_loop(tokens):
    assert find_first_loop(tokens) is None
