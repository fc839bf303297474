"""Results come out in order and whole, however they come in."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from mlx_canary.errors import AudioError
from mlx_canary.longform.assembly import Assembly
from mlx_canary.types import Segment

EN = (("en", "en"),)


def texts(start: float, *names: str):
    """One window's segments, the same for each of its texts."""
    return tuple((Segment(name, start, start + 1),) for name in names)


@given(counts=st.lists(st.integers(0, 5), min_size=1, max_size=6), seed=st.integers(0, 999))
def test_any_order_of_windows_gives_the_same_transcripts(counts, seed):
    windows = [(index, float(n)) for index, count in enumerate(counts) for n in range(count)]
    told: list[tuple[str, float]] = []
    assembly = Assembly(len(counts), lambda segment: told.append((segment.text, segment.start)))
    for index, count in enumerate(counts):
        assembly.describe(index, EN)
        for n in range(count):
            assembly.expect(index, float(n), n + 1.0)
        assembly.close(index)
    random.Random(seed).shuffle(windows)
    outcomes = []
    for index, start in windows:
        assembly.add(index, start, texts(start, f"{index}"))
        outcomes += assembly.outcomes()
    outcomes += assembly.outcomes()
    assert [outcome.index for outcome in outcomes] == list(range(len(counts)))
    for outcome, count in zip(outcomes, counts, strict=True):
        assert [segment.start for segment in outcome.transcript.segments] == [float(n) for n in range(count)]
        assert outcome.transcript.duration == count
    for index, count in enumerate(counts):  # each recording's segments were told in its own order
        assert [start for name, start in told if name == str(index)] == [float(n) for n in range(count)]


def test_an_outcome_waits_for_those_before_it():
    assembly = Assembly(2)
    for index in (0, 1):
        assembly.describe(index, EN)
        assembly.expect(index, 0.0, 1.0)
        assembly.close(index)
    assembly.add(1, 0.0, texts(0.0, "second"))
    assert list(assembly.outcomes()) == []
    assembly.add(0, 0.0, texts(0.0, "first"))
    assert [str(outcome.transcript) for outcome in assembly.outcomes()] == ["first", "second"]
    assert list(assembly.outcomes()) == []


def test_warnings_are_about_one_recording_and_all_its_texts():
    told: list[tuple[int, str]] = []
    assembly = Assembly(2, on_warning=lambda index, warning: told.append((index, warning)))
    for index in (0, 1):
        assembly.describe(index, (("en", "en"), ("en", "de")))
        assembly.close(index)
    assembly.warn(1, "This sounds like a hen.")
    first, second = (outcome.transcript for outcome in assembly.outcomes())
    assert (first.warnings, second.warnings) == ((), ("This sounds like a hen.",))
    assert second.translations[0].warnings == second.warnings
    assert told == [(1, "This sounds like a hen.")]


def test_a_recording_is_not_done_before_it_is_closed():
    assembly = Assembly(1)
    assembly.describe(0, EN)
    assembly.expect(0, 0.0, 1.0)
    assembly.add(0, 0.0, texts(0.0, "x"))
    assert list(assembly.outcomes()) == []
    assembly.close(0)
    assert len(list(assembly.outcomes())) == 1


def test_an_error_comes_in_its_place_and_stops_nobody():
    """And after the last of what was heard of it: a segment does not say which recording it is of."""
    told = []
    assembly, error = Assembly(3, told.append), AudioError("damaged at 40 s")
    for index in range(3):
        assembly.describe(index, EN)
        assembly.expect(index, 0.0, 1.0)
    assembly.expect(1, 1.0, 2.0)
    assembly.add(1, 0.0, texts(0.0, "half"))
    assembly.close(1, error)
    for index in (0, 2):
        assembly.add(index, 0.0, texts(0.0, "whole"))
        assembly.close(index)
    assert [outcome.index for outcome in assembly.outcomes()] == [0]
    assert len(told) == 3
    assembly.add(1, 1.0, texts(1.0, "a half"))
    second, third = assembly.outcomes()
    assert len(told) == 4
    assert str(third.transcript) == "whole"
    assert second.error is error
    assert second.transcript is None


def test_translations_stand_beside_the_first_text():
    assembly = Assembly(1)
    assembly.describe(0, (("en", "en"), ("en", "de"), ("en", "fr")))
    for start in (0.0, 1.0):
        assembly.expect(0, start, start + 1)
        assembly.add(0, start, texts(start, f"en{start:.0f}", f"de{start:.0f}", f"fr{start:.0f}"))
    assembly.close(0)
    (outcome,) = assembly.outcomes()
    transcript = outcome.transcript
    assert transcript.text == "en0 en1"
    assert [(t.target_lang, t.text) for t in transcript.translations] == [("de", "de0 de1"), ("fr", "fr0 fr1")]


def test_a_recording_without_windows_is_empty():
    assembly = Assembly(1)
    assembly.describe(0, EN)
    assembly.close(0)
    (outcome,) = assembly.outcomes()
    assert outcome.transcript.segments == ()
    assert (outcome.transcript.text, outcome.transcript.duration) == ("", 0.0)
