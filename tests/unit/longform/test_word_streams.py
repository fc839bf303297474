"""No word is lost or doubled where a recording is cut: thousands of made-up recordings of words and pauses.

A word is a burst of noise. A model hears a word only if a window holds the whole of it, so the texts of the windows,
one after the other, are the recording's text exactly if every word lies in exactly one window.
"""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_canary.longform.windows import cut_windows

RATE = 1000  # enough for energies; words are noise, not speech
BLOCK = 700


def recording(seed: int, n_words: int, background: float) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Samples, and where each word begins and ends."""
    rng = np.random.default_rng(seed)
    parts, words, position = [], [], 0
    since_breath = 0
    for _ in range(n_words):
        # Words of 0.1 to 0.9 s; they run together in phrases of up to six, which are parted by breaths.
        length, pause = int(rng.uniform(0.1, 0.9) * RATE), int(rng.uniform(0.0, 0.08) * RATE)
        since_breath += 1
        if rng.random() < 0.15 or since_breath == 6:
            pause, since_breath = int(rng.uniform(0.45, 1.5) * RATE), 0
        words.append((position, position + length))
        parts += [rng.normal(0, rng.uniform(0.05, 0.3), length), np.zeros(pause)]
        position += length + pause
    samples = np.concatenate(parts) + rng.normal(0, background, position)
    return samples.astype(np.float32), words


def heard(samples: np.ndarray, words: list[tuple[int, int]], shortest: float, longest: float) -> list[int]:
    """The words that the windows' texts have, in order."""
    blocks = (samples[i : i + BLOCK] for i in range(0, len(samples), BLOCK))
    found = []
    for window in cut_windows(blocks, RATE, shortest, longest):
        start, end = round(window.start * RATE), round(window.end * RATE)
        found += [n for n, (first, last) in enumerate(words) if start <= first and last <= end]
    return found


@settings(max_examples=1500, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_words=st.integers(1, 250),
    background=st.sampled_from([0.0, 1e-4, 3e-3]),
    longest=st.floats(16, 40),
)
def test_every_word_is_heard_once(seed, n_words, background, longest):
    samples, words = recording(seed, n_words, background)
    assert heard(samples, words, longest / 2, longest) == list(range(n_words))
