"""Windows follow each other without gap or overlap, within their lengths, cut where it is quiet."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_canary.longform.windows import Window, cut_windows, halves, quietest

RATE = 100  # samples a second are enough to cut: everything is in seconds


def noise(n_samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, n_samples).astype(np.float32)


def blocks(samples: np.ndarray, sizes: list[int]) -> Iterator[np.ndarray]:
    """The samples in blocks of these sizes, over and over."""
    start, n = 0, 0
    while start < len(samples):
        yield samples[start : start + sizes[n % len(sizes)]]
        start, n = start + sizes[n % len(sizes)], n + 1


def cut(samples: np.ndarray, sizes: list[int] | None = None, **options) -> list[Window]:
    return list(cut_windows(blocks(samples, sizes or [700]), RATE, **options))


lengths = st.integers(0, 200 * RATE)


@given(n_samples=lengths, seed=st.integers(0, 99))
def test_windows_tile_the_recording(n_samples, seed):
    samples = noise(n_samples, seed)
    windows = cut(samples)
    assert sum(len(window.samples) for window in windows) == n_samples
    if windows:
        np.testing.assert_array_equal(np.concatenate([window.samples for window in windows]), samples)
    position = 0
    for window in windows:
        assert window.start == position / RATE
        position += len(window.samples)
        assert window.end == pytest.approx(position / RATE)


@given(n_samples=lengths, seed=st.integers(0, 99), longest=st.integers(10, 60), share=st.floats(0.3, 0.9))
def test_lengths_stay_within_their_bounds(n_samples, seed, longest, share):
    """All but the last two are between shortest and longest; none is longer, none is empty."""
    shortest = share * longest
    windows = cut(noise(n_samples, seed), shortest=shortest, longest=longest)
    for window in windows:
        assert 0 < len(window.samples) <= round(longest * RATE)
    for window in windows[:-2]:
        assert len(window.samples) >= round(shortest * RATE)


def test_windows_may_all_have_the_same_length():
    """With nothing to choose from, the cut was in the middle of a frame: after the longest that a window may be."""
    windows = list(cut_windows(iter([noise(120 * 16_000)]), 16_000, shortest=35, longest=35))
    assert [window.end for window in windows[:2]] == [35, 70]
    assert max(len(window.samples) for window in windows) <= 35 * 16_000


@given(n_samples=lengths, seed=st.integers(0, 9), sizes=st.lists(st.integers(1, 9000), min_size=1, max_size=5))
def test_the_sizes_of_the_blocks_do_not_matter(n_samples, seed, sizes):
    """Files are read in blocks of all kinds; the cuts must not move with them."""
    samples = noise(n_samples, seed)
    one, other = cut(samples, [n_samples + 1]), cut(samples, sizes)
    assert [(w.start, w.end) for w in one] == [(w.start, w.end) for w in other]


@given(n_samples=lengths, seed=st.integers(0, 9), grid=st.integers(1, 40))
def test_cuts_may_be_held_to_a_grid(n_samples, seed, grid):
    windows = cut(noise(n_samples, seed), grid=grid)
    assert all(round(window.start * RATE) % grid == 0 for window in windows)
    assert sum(len(window.samples) for window in windows) == n_samples


@given(seed=st.integers(0, 999), n_seconds=st.integers(90, 200))
def test_cuts_fall_into_planted_silences(seed, n_seconds):
    """A pause of 0.6 s about every twelve seconds: every cut is in one."""
    rng = np.random.default_rng(seed)
    samples = noise(n_seconds * RATE, seed)
    pauses = []
    for second in range(6, n_seconds - 6, 12):
        start = second * RATE + int(rng.integers(0, 3 * RATE))
        samples[start : start + int(0.6 * RATE)] = 0
        pauses.append((start, start + int(0.6 * RATE)))
    for window in cut(samples)[1:]:
        place = round(window.start * RATE)
        assert any(start <= place <= end for start, end in pauses), f"cut at {window.start} s"


@pytest.mark.parametrize(
    ("seconds", "n_windows"), [(0, 0), (0.01, 1), (1, 1), (34.99, 1), (35, 1), (35.01, 2), (55, 2)]
)
def test_up_to_the_longest_a_recording_is_one_window(seconds, n_windows):
    assert len(cut(noise(round(seconds * RATE)))) == n_windows


def test_no_window_at_the_end_is_a_crumb():
    """A recording just over the longest is halved, not cut to 35 s and a syllable."""
    for n_samples in range(35 * RATE + 1, 60 * RATE, 97):
        assert min(len(window.samples) for window in cut(noise(n_samples))) >= 8 * RATE


def test_a_block_may_be_empty():
    parts = [noise(0), noise(50), noise(0), noise(50)]
    (window,) = cut_windows(iter(parts), RATE)
    assert len(window.samples) == 100


def test_a_long_recording_does_not_stay_in_memory():
    """Two hours in blocks of ten seconds hold what two windows hold."""
    rate = 1000

    def endless() -> Iterator[np.ndarray]:
        for n in range(720):
            yield noise(10 * rate, n)

    tracemalloc.start()
    n_windows = sum(1 for _ in cut_windows(endless(), rate))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_windows > 200
    assert peak < 3 * 80 * rate * 8  # bytes: samples and energies of some 80 s


@given(n_samples=st.integers(2, 5000), seed=st.integers(0, 99))
def test_halves_are_a_window_in_two(n_samples, seed):
    window = Window(noise(n_samples, seed), 12.0, 12.0 + n_samples / RATE)
    first, second = halves(window, RATE)
    np.testing.assert_array_equal(np.concatenate([first.samples, second.samples]), window.samples)
    assert (first.start, second.end, first.end) == (window.start, window.end, second.start)


@pytest.mark.parametrize("width", [0.08, 0.2, 0.6])
def test_the_quietest_place_is_in_the_quiet(width):
    """The energy is averaged over 0.4 s, so a shorter pause is met to within that."""
    rate = 8000
    samples, start, n = noise(20 * rate), 13 * rate, round(width * rate)
    samples[start : start + n] = 0
    place = quietest(samples, 5 * rate, 19 * rate, rate)
    assert start - 0.2 * rate <= place <= start + n + 0.2 * rate


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_where_all_is_alike_the_cut_is_still_within_bounds(value):
    samples = np.full(120 * RATE, value, np.float32)
    for window in cut(samples)[:-2]:
        assert 20 <= window.end - window.start <= 35
