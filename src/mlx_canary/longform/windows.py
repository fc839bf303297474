"""Where to cut a long recording: blocks of samples in, windows that a model can take out.

A window ends at the quietest place near the wanted length, so that words stay whole and the windows' texts can be
put one after the other. Holds one window and the search range after it, however long the recording is.
Knows nothing about models.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from mlx_canary.audio.samples import Samples

_FRAME = 0.02  # seconds over which the energy is taken
_PAUSE = 0.4  # seconds over which it is averaged: a pause between words rather than a stop within one


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """A stretch of a recording.

    Attributes:
        samples: (N,) float32.
        start: Seconds from the start of the recording.
        end: Seconds from the start of the recording.
    """

    samples: Samples
    start: float
    end: float


def cut_windows(
    blocks: Iterable[Samples], sample_rate: int, shortest: float = 20.0, longest: float = 35.0, grid: int = 1
) -> Iterator[Window]:
    """Cut a recording into windows that follow each other without gap or overlap.

    Args:
        blocks: The recording's samples, in pieces of any length.
        sample_rate: In Hz.
        shortest: Seconds of a window, at least; the last ones may be shorter.
        longest: Seconds of a window, at most. The models were trained on up to 40 s.
        grid: Cut at multiples of so many samples.

    Yields:
        The windows in order; none for an empty recording. A recording of up to `longest` is one window.
    """
    low, high = round(shortest * sample_rate), round(longest * sample_rate)
    pending, n_pending, n_done = [], 0, 0
    for block in blocks:
        pending.append(block)
        n_pending += len(block)
        # With this much in hand, what remains after a cut is long enough to be cut well itself.
        while n_pending > high + low:
            samples = np.concatenate(pending)
            n = quietest(samples, low, high, sample_rate) // grid * grid
            # A copy, or whoever keeps the window keeps all the sound that it was cut from.
            yield _window(samples[:n].copy(), n_done, sample_rate)
            pending, n_pending, n_done = [samples[n:]], n_pending - n, n_done + n
    if not n_pending:
        return
    samples = np.concatenate(pending)
    if n_pending > high:
        low, high = max(n_pending - high, n_pending // 4), min(high, n_pending * 3 // 4)
        n = quietest(samples, low, high, sample_rate) // grid * grid
        yield _window(samples[:n], n_done, sample_rate)
        samples, n_done = samples[n:], n_done + n
    yield _window(samples, n_done, sample_rate)


def halves(window: Window, sample_rate: int) -> tuple[Window, Window]:
    """A window cut in two at the quietest place of its middle."""
    n_samples = len(window.samples)
    n = quietest(window.samples, n_samples // 3, n_samples * 2 // 3, sample_rate)
    middle = window.start + n / sample_rate
    return Window(window.samples[:n], window.start, middle), Window(window.samples[n:], middle, window.end)


def quietest(samples: Samples, low: int, high: int, sample_rate: int) -> int:
    """The place between `low` and `high`, in samples, around which it is quietest."""
    frame = max(1, round(_FRAME * sample_rate))
    n_frames = max(1, (high - low) // frame)
    stretch = samples[low : low + n_frames * frame].reshape(n_frames, -1)
    energy = np.square(stretch, dtype=np.float64).mean(axis=1)
    width = min(n_frames, round(_PAUSE / _FRAME))
    averaged = np.convolve(energy, np.ones(width), mode="valid")
    middle = int(averaged.argmin()) * frame + width * frame // 2
    return min(low + middle, high)  # a frame may be longer than what there is to choose from


def _window(samples: Samples, n_before: int, sample_rate: int) -> Window:
    return Window(samples, n_before / sample_rate, (n_before + len(samples)) / sample_rate)
