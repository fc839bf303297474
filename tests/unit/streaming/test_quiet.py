"""Where speech pauses, as far as loudness tells."""

from __future__ import annotations

import numpy as np

from mlx_canary.streaming.quiet import QuietMeter

RATE = 16_000


def noise(seconds, level_db, seed=0):
    return (np.random.default_rng(seed).normal(0, 10 ** (level_db / 20), int(seconds * RATE))).astype(np.float32)


def shares(*sounds):
    """The share of active frames in each sound, heard one after the other in steps of 0.1 s."""
    meter = QuietMeter(RATE)
    found = []
    for sound in sounds:
        active = [a for start in range(0, len(sound), 1600) for a in meter.hear(sound[start : start + 1600])]
        found.append(sum(active) / len(active))
    return found


def test_a_pause_between_words_is_quiet():
    speech, pause, more = shares(noise(2, -20), noise(1, -60), noise(2, -20))
    assert speech > 0.9
    assert pause < 0.1
    assert more > 0.9


def test_a_click_at_the_beginning_does_not_make_speech_quiet():
    """A microphone that is switched on was once the measure of what is loud, for minutes."""
    start = noise(0.4, -75)
    start[1000:1320] = 0.9
    _, speech, pause, more = shares(start, noise(2, -42), noise(1, -75), noise(2, -42))
    assert speech > 0.9
    assert pause < 0.1
    assert more > 0.9


def test_silence_is_never_active():
    assert shares(np.zeros(RATE * 40, np.float32)) == [0]


def test_noise_of_a_long_pause_is_not_taken_for_speech():
    """The loudness of what was said before is remembered for longer than the half minute that is compared."""
    _, pause = shares(noise(5, -20), noise(60, -55))
    assert pause < 0.02


def test_noise_behind_speech_does_not_hide_the_pauses():
    speech, pause = shares(noise(2, -20), noise(1, -40))
    assert speech > 0.9
    assert pause < 0.1
