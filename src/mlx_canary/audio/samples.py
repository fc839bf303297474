"""Check and scale samples: arrays of any usual type in, float32 in [-1, 1] out.

Knows nothing about files.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from mlx_canary.backend import mx
from mlx_canary.errors import AudioError
from mlx_canary.types import Audio

Samples: TypeAlias = npt.NDArray[np.float32]

MIN_SAMPLE_RATE = 1_000
MAX_SAMPLE_RATE = 10_000_000

MAX_PEAK = 8.0
"""Float samples beyond this are not loud but unscaled integers. Sound somewhat over 1 is common."""

_FULL_SCALE = {"i2": 2**15, "i4": 2**31, "u1": 2**7}


def to_float(samples: npt.NDArray[np.generic]) -> Samples:
    """Turn samples of any shape into float32: int16, int32 and uint8 are scaled, floats stay as they are.

    int16 comes out exactly; int32 and float64 as the nearest float32.

    Raises:
        TypeError: Samples of another type.
    """
    kind = samples.dtype.str[1:]
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):  # becomes infinite, which is refused later
            return samples.astype(np.float32, copy=False)
    if kind not in _FULL_SCALE:
        raise TypeError(f"samples are {samples.dtype}, expected float32, float64, int16, int32 or uint8")
    scaled = samples.astype(np.float32)
    if kind == "u1":
        scaled -= 128
    scaled *= np.float32(1 / _FULL_SCALE[kind])
    return scaled


def check_samples(samples: Samples, sample_rate: int, name: str, start: float = 0.0) -> None:
    """Refuse samples that are not finite, or so large that they are not sound in [-1, 1].

    Args:
        samples: (N,) or (C, N) float32.
        sample_rate: In Hz.
        name: What to call the recording in messages.
        start: Where in the recording the samples begin, in seconds.

    Raises:
        AudioError: The samples are refused.
    """
    if samples.size == 0:
        return
    low, high = float(samples.min()), float(samples.max())
    if not (np.isfinite(low) and np.isfinite(high)):  # a NaN shows in both
        first = int(np.argmin(np.isfinite(samples).all(axis=tuple(range(samples.ndim - 1)))))
        raise AudioError(
            f"{name} has samples that are not numbers (NaN or infinite), the first at "
            f"{start + first / sample_rate:.3f} s. Make it again without them."
        )
    peak = max(-low, high)
    if peak > MAX_PEAK:
        raise AudioError(
            f"{name} has samples up to {peak:g}, expected [-1, 1]. "
            "Divide them by the full scale of their type, 32768 for 16 bits."
        )


def check_sample_rate(sample_rate: int, name: str) -> int:
    """The rate as an int, where it makes sense.

    Raises:
        AudioError: It is not a whole number from `MIN_SAMPLE_RATE` to `MAX_SAMPLE_RATE`.
    """
    is_whole = isinstance(sample_rate, int | np.integer) and not isinstance(sample_rate, bool)
    if not is_whole or not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
        raise AudioError(
            f"{name} has a sample rate of {sample_rate!r}, expected a whole number of Hz from "
            f"{MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE}."
        )
    return int(sample_rate)


def from_array(audio: Audio, name: str) -> Audio:
    """The same sound with float32 samples in NumPy; nothing is copied where it is that already.

    Raises:
        AudioError: Not one channel, not a type of samples, not finite, far outside [-1, 1], or an impossible
            rate.
    """
    sample_rate = check_sample_rate(audio.sample_rate, name)
    samples: npt.NDArray[np.generic]
    if isinstance(audio.samples, mx.array):
        # NumPy has no bfloat16.
        samples = np.array(audio.samples.astype(mx.float32) if audio.samples.dtype == mx.bfloat16 else audio.samples)
    else:
        try:
            samples = np.asarray(audio.samples)
        except ValueError as error:  # lists of different lengths
            raise AudioError(f"{name}: the samples are no array ({error}).") from error
    if samples.ndim != 1:
        raise AudioError(
            f"{name} has shape {samples.shape}, expected one channel (N,). "
            "Choose one, as samples[:, 0] or samples[0], or take the mean over the channels."
        )
    try:
        scaled = to_float(samples)
    except TypeError as error:
        raise AudioError(f"{name}: {error}.") from error
    check_samples(scaled, sample_rate, name)
    return Audio(scaled, sample_rate)
