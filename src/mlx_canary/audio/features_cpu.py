"""Log-mel features on a CPU: what `features` computes by MLX, by NumPy, recording after recording.

MLX takes new memory for each of a dozen arrays that are as large as the sound; here a few hundred frames stay in the
CPU's cache until they are mel bands. 10 s of sound take 3.4 ms of one thread instead of 7 to 12, 64 times as much 280
instead of 710. Only the Fourier transforms are MLX's, which are nine times as fast as NumPy's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlx_canary.backend import mx
from mlx_canary.config import PreprocessorConfig
from mlx_canary.products import Floats

# Frames at a time: a megabyte of them.
_PIECE = 512


@dataclass(frozen=True, slots=True, eq=False)
class CpuFeatures:
    """One recording at a time, in any thread.

    Attributes:
        config: Sizes and constants.
        window: (n_fft,) float32, zero where the checkpoint's own is shorter.
        filterbank: (M, n_fft // 2 + 1) float32.
    """

    config: PreprocessorConfig
    window: Floats
    filterbank: Floats

    def __call__(self, samples: Floats) -> Floats:
        """(N,) float32, at least one hop long -> (T, M), normalised."""
        with np.errstate(all="ignore"):  # what is no number stays none, as on a GPU
            return _normalized(self._log_mel(samples))

    def _log_mel(self, samples: Floats) -> Floats:
        n_fft, hop = self.config.n_fft, self.config.hop_length
        signal, n_frames = self._preemphasised(samples), len(samples) // hop
        windows = np.lib.stride_tricks.sliding_window_view(signal, n_fft)[: n_frames * hop : hop]
        out = np.empty((n_frames, len(self.filterbank)), np.float32)
        for start in range(0, n_frames, _PIECE):
            spectra = np.asarray(mx.fft.rfft(mx.array(windows[start : start + _PIECE] * self.window)))
            np.matmul(self._power(spectra), self.filterbank.T, out=out[start : start + _PIECE])
        out += np.float32(self.config.log_zero_guard_value)
        return np.log(out, out=out)

    def _preemphasised(self, samples: Floats) -> Floats:
        """With half a transform's length of zeros on both sides."""
        half = self.config.n_fft // 2
        out = np.zeros(len(samples) + 2 * half, np.float32)
        inside = out[half : half + len(samples)]
        np.multiply(samples[:-1], -np.float32(self.config.preemph), out=inside[1:])
        inside += samples
        return out

    def _power(self, spectra: np.ndarray) -> Floats:
        if self.config.mag_power == 2:
            power: Floats = np.square(spectra.real)
            power += np.square(spectra.imag)
            return power
        powers: Floats = np.abs(spectra) ** np.float32(self.config.mag_power)
        return powers


def _normalized(log_mel: Floats) -> Floats:
    """`features.normalize` in place: its sums of differences are float64 here, which loses nothing in silent bands."""
    log_mel -= log_mel.mean(axis=0, dtype=np.float64).astype(np.float32)
    squares = np.einsum("tm,tm->m", log_mel, log_mel, dtype=np.float64)
    deviation = np.sqrt(squares / max(len(log_mel) - 1, 1)).astype(np.float32)
    log_mel /= deviation + np.float32(1e-5)
    return log_mel
