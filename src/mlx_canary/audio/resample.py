"""Resample one channel as a stream with soxr's HQ quality, as librosa does for NeMo.

Pieces of samples with their rates in, samples at one rate out. The pieces' sizes do not change the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import soxr

from mlx_canary.audio.samples import Samples

_BLOCK = 2**16  # samples; bounds what soxr returns at once


def resample(pieces: Iterable[tuple[Samples, int]], sample_rate: int) -> Iterator[Samples]:
    """Bring samples to one rate.

    N samples at rate R become N * sample_rate / R, rounded. Where the rate changes, what came before is
    finished and the rest is resampled by itself.

    Args:
        pieces: Samples (n,) float32 and their rate in Hz.
        sample_rate: Wanted rate in Hz.

    Yields:
        Samples (n,) float32.
    """
    stream, stream_rate = None, None
    for samples, rate in pieces:
        if rate != stream_rate:
            yield from _finish(stream)
            stream_rate = rate
            stream = None if rate == sample_rate else soxr.ResampleStream(rate, sample_rate, 1, "float32", "HQ")
        if stream is None:
            yield samples
            continue
        for start in range(0, len(samples), _BLOCK):
            yield stream.resample_chunk(np.ascontiguousarray(samples[start : start + _BLOCK]))
    yield from _finish(stream)


def _finish(stream: soxr.ResampleStream | None) -> Iterator[Samples]:
    if stream is not None:
        yield stream.resample_chunk(np.zeros(0, np.float32), last=True)
