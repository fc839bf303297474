"""The overlapping windows that NeMo has for canary-1b-v2, for reproducing NeMo.

Mirrors the chunking of NeMo 3.0's transcribe(). Knows nothing about models.
"""

from __future__ import annotations

from dataclasses import dataclass

_SHORTEST, _LONGEST = 30, 40  # seconds
_OVERLAP = 1  # second
HOUR = 3600  # seconds; NeMo first cuts a recording into hours, which do not overlap


@dataclass(frozen=True, slots=True)
class Chunks:
    """Overlapping windows of one stretch of sound.

    Attributes:
        chunk_size: Samples of every window; the last one is padded to it with silence.
        starts: Where each begins, in samples.
        lengths: How many samples of each are sound.
    """

    chunk_size: int
    starts: tuple[int, ...]
    lengths: tuple[int, ...]


def plan_chunks(n_samples: int, sample_rate: int) -> Chunks:
    """NeMo's windows for so many samples: 30 to 40 s, whichever leaves the longest last one; below 40 s only one."""
    if n_samples < _LONGEST * sample_rate:
        return Chunks(n_samples, (0,), (n_samples,))
    size = _best_size(n_samples, sample_rate)
    overlap = _OVERLAP * sample_rate
    starts = tuple(range(0, n_samples - overlap, size - overlap))
    return Chunks(size, starts, tuple(min(size, n_samples - start) for start in starts))


def _best_size(n_samples: int, sample_rate: int) -> int:
    best, longest_last = 0, -1
    for seconds in range(_SHORTEST, _LONGEST + 1):
        size, step = seconds * sample_rate, (seconds - _OVERLAP) * sample_rate
        last = n_samples - step * (-(-n_samples // step) - 1)
        if size <= n_samples and last > longest_last:
            best, longest_last = size, last
    return best
