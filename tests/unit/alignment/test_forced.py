"""Forced alignment as users get it: every word has a time, and what cannot be is refused in words."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_canary.alignment.forced import words_of_plan
from mlx_canary.alignment.states import plan_text, split_segments
from mlx_canary.errors import AlignmentError
from mlx_canary.forced_alignment import align_recording
from mlx_canary.load_models import LoadedModel, load_nemo
from mlx_canary.text.prompt import Prompt

UNIFIED: LoadedModel = load_nemo(Path(__file__).parents[2] / "data" / "models" / "canary2-unified.nemo")
WORDS = st.sampled_from(["Hello,", "U.S", "a.m.", "?", "...", "⁇", "x⁇y", "schön.", "☃", "\u200b", "½", "no", "日本"])


def align(text, seconds):
    """With the auxiliary model, in noise."""
    assert UNIFIED.aligner is not None
    noise = np.random.default_rng(0).normal(size=int(seconds * 16_000)).astype(np.float32) * 0.1
    return align_recording(UNIFIED, [noise], text, Prompt("en", "en")).segments


@given(st.lists(WORDS, max_size=8), st.integers(0, 2**32 - 1))
def test_every_word_has_its_time_whatever_its_characters(texts, seed):
    """NeMo gives -1 to words that its tokenizer has no token for, and raises for some others."""
    log_probs = np.random.default_rng(seed).normal(size=(80, UNIFIED.tokenizer.size + 1)).astype(np.float32)
    plan = plan_text(" ".join(texts), UNIFIED.tokenizer, UNIFIED.tokenizer.size)
    words = words_of_plan(plan, log_probs, UNIFIED.tokenizer, duration=6.3, frame_duration=0.08)
    assert [word.text for word in words] == texts
    times = [t for word in words for t in (word.start, word.end)]
    assert times == sorted(times)
    assert all(0 <= t <= 6.3 for t in times)


def test_sentences_are_the_text():
    segments = align("  Good morning,\n everyone. How are  you?", 4)
    assert [segment.text for segment in segments] == ["Good morning, everyone.", "How are you?"]


def test_no_text_has_no_times():
    assert align(" \n", 2) == ()


def test_a_text_that_cannot_have_been_said_is_refused_in_words():
    """NeMo answers with nothing."""
    with pytest.raises(AlignmentError, match=r"at least 8\.64 s to be spoken \(108 .* the recording has 2\.00 s"):
        align("Far too many words for a clip of two seconds, is it not? " * 3, 2)


def test_times_of_a_short_recording_count_from_its_own_beginning():
    """Under a second NeMo pads it on both sides for the model, and its times count from the padding."""
    segments = align("no", 0.5)
    assert 0 <= segments[0].start <= segments[0].end <= 0.5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two? Three!", ["One.", "Two?", "Three!"]),
        ("at 5 a.m. exactly", ["at 5 a.m.", "exactly"]),
        ("1.5 is U.S.", ["1.5 is U.S."]),
        ("Wait... what", ["Wait...", "what"]),
    ],
)
def test_nemo_s_segments_end_at_separators_before_spaces(text, expected):
    assert split_segments(text) == expected
