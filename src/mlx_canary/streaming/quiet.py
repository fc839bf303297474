"""Where speech pauses in sound that goes on: samples in, seconds of quiet at the end out.

Loudness only, as in longform's `activity`, but with what was heard lately as the measure. Holds half a minute of
loudness, one number for 20 ms.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mlx_canary.audio.samples import Samples

FRAME = 0.02  # seconds
_MEMORY = 30.0  # seconds whose loudness is compared
# A frame counts as active well above the quiet parts of its surroundings, and not far below the loud ones.
_ABOVE_QUIET, _BELOW_LOUD = 9.0, 35.0  # dB
_INAUDIBLE = -65.0  # dB
_CLICK = 10  # frames that may be louder than speech: a key, a bump, a microphone that is switched on
# Speech is remembered as loud through long pauses, or their noise would be taken for it.
_FORGETTING = 0.1  # dB a second


class QuietMeter:
    """Follows a recording frame by frame.

    Args:
        sample_rate: In Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self.frame = round(FRAME * sample_rate)
        self._levels: npt.NDArray[np.float64] = np.zeros(0)
        self._loud = -120.0

    def hear(self, samples: Samples) -> list[bool]:
        """Which of the next frames are active; samples (n,) are whole frames."""
        power = np.square(samples.reshape(-1, self.frame), dtype=np.float64).mean(axis=1)
        levels = 10 * np.log10(power + 1e-12)
        self._levels = np.concatenate([self._levels, levels])[-round(_MEMORY / FRAME) :]
        n = len(self._levels)
        places = [n // 10, max(n // 2, min(n * 19 // 20, n - 1 - _CLICK))]
        quiet, loud = np.partition(self._levels, places)[places]
        self._loud = max(float(loud), self._loud - _FORGETTING * FRAME * len(levels))
        threshold = max(min(quiet + _ABOVE_QUIET, self._loud - 3), self._loud - _BELOW_LOUD, _INAUDIBLE)
        active: list[bool] = (levels > threshold).tolist()
        return active
