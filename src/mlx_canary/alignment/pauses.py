"""Where nobody speaks, as far as loudness tells: samples in, a number for each encoder frame out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mlx_canary.alignment.layout import Float64s

_BELOW_SPEECH = 18.0  # dB; what is this far below the loudest frames may be a pause, where the background lets it
_CERTAIN = 3.0  # loudness alone never says more than e^3 to 1


def pause_odds(samples: npt.NDArray[np.float32], n_frames: int, samples_per_frame: int) -> Float64s:
    """The logarithm of the odds that a frame is a pause.

    The threshold lies a quarter of the way from the recording's quiet frames to its loud ones, so a constant background
    does not matter.

    Args:
        samples: (N,) float32.
        n_frames: S.
        samples_per_frame: Samples from one frame to the next.

    Returns:
        (S,) from -3 (speech) to 3 (pause).
    """
    padded = np.zeros(n_frames * samples_per_frame)
    padded[: len(samples)] = samples[: len(padded)]
    loudness = 10 * np.log10((padded.reshape(n_frames, -1) ** 2).mean(axis=1) + 1e-10)
    quiet, loud = np.quantile(loudness, [0.05, 0.95])
    threshold = min(quiet + 0.25 * (loud - quiet), loud - _BELOW_SPEECH)
    odds: Float64s = np.clip((threshold - loudness) / max(2.0, 0.08 * (loud - quiet)), -_CERTAIN, _CERTAIN)
    return odds
