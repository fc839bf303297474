"""Where something is said, by energy alone: silence, noise, and words in both, at any loudness."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import clip

from mlx_canary.longform.activity import active_frames, active_seconds

RATE = 16000


def noise(seconds: float, level: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, level, round(seconds * RATE)).astype(np.float32)


def words(background: float, loudness: float = 0.1) -> np.ndarray:
    """Ten seconds with a word in every second that lasts 0.4 s."""
    samples = noise(10, background)
    for second in range(10):
        start = second * RATE + RATE // 4
        samples[start : start + round(0.4 * RATE)] += noise(0.4, loudness)
    return samples


def test_digital_silence_is_no_activity():
    assert active_seconds(np.zeros(5 * RATE, np.float32), RATE) == 0


def test_hiss_that_nobody_hears_is_no_activity():
    assert active_seconds(noise(5, 3e-5), RATE) == 0


@pytest.mark.parametrize("background", [0.0, 1e-4, 3e-3])
@pytest.mark.parametrize("loudness", [1.0, 0.1, 0.02])
def test_words_are_active_and_pauses_are_not(background, loudness):
    """0.4 s each, give or take a frame at both ends."""
    assert active_seconds(words(background, loudness), RATE) == pytest.approx(4.0, abs=0.4)


def test_frames_say_where():
    frames = active_frames(words(1e-3), RATE)
    assert frames.shape == (500,)
    assert frames[13:32].all()
    assert not frames[34:60].any()


def test_loudness_of_the_recording_does_not_matter():
    samples = words(1e-3)
    assert active_seconds(samples, RATE) == active_seconds(samples * 0.25, RATE)


def test_sound_without_pauses_is_active_throughout():
    """A text about steady noise is for other guards to doubt."""
    assert active_seconds(noise(5, 0.1), RATE) > 2


def test_less_than_a_frame_is_nothing():
    assert active_frames(noise(0.01, 0.1), RATE).shape == (0,)
    assert active_seconds(np.zeros(0, np.float32), RATE) == 0


def test_speech():
    """Pauses between the words of the clip are short."""
    assert 3.5 < active_seconds(clip("speech"), RATE) < 7.0
