"""How much of a stretch of sound is more than its background, or nothing. Energy only: music passes for speech.

Knows nothing about models.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_FRAME = 0.02  # seconds
# A frame counts as active well above the quiet parts of its surroundings, and not far below the loud ones.
_ABOVE_QUIET, _BELOW_LOUD = 9.0, 35.0  # dB
_INAUDIBLE = -80.0  # dB
# Below this no microphone hears anything (-80 dB), but a model asked about it would still say something.
_SILENCE = 1e-4


def is_silent(samples: npt.NDArray[np.float32]) -> bool:
    """Whether there is nothing to hear in (N,) samples."""
    return not abs(samples).max(initial=0) > _SILENCE


def active_frames(samples: npt.NDArray[np.float32], sample_rate: int) -> npt.NDArray[np.bool_]:
    """Which frames of 20 ms are active.

    Args:
        samples: (N,) in [-1, 1].
        sample_rate: In Hz.

    Returns:
        One value for each whole frame. Sound without quiet parts, such as steady noise, is active throughout.
    """
    frame = round(_FRAME * sample_rate)
    n_frames = len(samples) // frame
    if not n_frames:
        return np.zeros(0, np.bool_)
    power = np.square(samples[: n_frames * frame].reshape(n_frames, frame), dtype=np.float64).mean(axis=1)
    level = 10 * np.log10(power + 1e-12)
    quiet, loud = np.percentile(level, [10, 95])
    threshold = max(min(quiet + _ABOVE_QUIET, loud - 3), loud - _BELOW_LOUD, _INAUDIBLE)
    active: npt.NDArray[np.bool_] = level > threshold
    return active


def active_seconds(samples: npt.NDArray[np.float32], sample_rate: int) -> float:
    """Seconds of activity."""
    return float(active_frames(samples, sample_rate).sum()) * _FRAME
