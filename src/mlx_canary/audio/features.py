"""Log-mel features: samples in, Features out.

Matches NeMo 3.0's AudioToMelSpectrogramPreprocessor in evaluation mode (no dither), in float32 whatever the model's
dtype. The window and the filterbank are the checkpoint's own tensors. Knows nothing about models or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlx_canary.audio.batch import stacked
from mlx_canary.audio.features_cpu import CpuFeatures
from mlx_canary.backend import mx
from mlx_canary.config import PreprocessorConfig
from mlx_canary.kernels import numpy_is_faster, product
from mlx_canary.threads import in_threads
from mlx_canary.types import Features

# NeMo's transcribe() pads shorter audio to this many seconds before anything else.
MIN_DURATION = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Preprocessor:
    """Computes log-mel features.

    Attributes:
        config: Sizes and constants.
        window: (window_length,) float32.
        filterbank: (M, n_fft // 2 + 1) float32.
    """

    config: PreprocessorConfig
    window: mx.array
    filterbank: mx.array

    def __call__(self, audio: Sequence[npt.NDArray[np.float32]]) -> Features:
        """Features of a batch of signals.

        Args:
            audio: One (N,) float32 array each, at the configured sample rate, at least one hop long.

        Returns:
            Frames (B, T, M) with T the longest item's frame count.
        """
        lengths = tuple(len(samples) // self.config.hop_length for samples in audio)
        if numpy_is_faster(self.window):
            return self._on_a_cpu(audio, lengths)
        # The transform yields one frame more than NeMo counts as valid; it is not part of the statistics.
        return Features(normalize(self.log_mel(audio)[:, : max(lengths)], lengths), lengths)

    def log_mel(self, audio: Sequence[npt.NDArray[np.float32]]) -> mx.array:
        """Log-mel energies before normalisation: (N,) each -> (B, T, M), with one frame beyond the valid ones."""
        power = self._power_spectrum(self._preemphasis(audio))
        return mx.log(product(power, self.filterbank) + self.config.log_zero_guard_value)

    def _on_a_cpu(self, audio: Sequence[npt.NDArray[np.float32]], lengths: tuple[int, ...]) -> Features:
        """Several signals at once, a thread for each."""
        compute = CpuFeatures(self.config, np.asarray(self._wide_window()), np.asarray(self.filterbank))
        frames = np.zeros((len(audio), max(lengths), len(compute.filterbank)), np.float32)
        for row, found in zip(frames, in_threads(compute, audio), strict=True):
            row[: len(found)] = found
        return Features(mx.array(frames), lengths)

    def _wide_window(self) -> mx.array:
        """(n_fft,): the checkpoint's own, between zeros."""
        missing = self.config.n_fft - self.config.window_length
        return mx.pad(self.window, (missing // 2, missing - missing // 2))

    def _preemphasis(self, audio: Sequence[npt.NDArray[np.float32]]) -> mx.array:
        """(N,) each -> (B, N). Every signal is filtered alone, so that its padding stays zero, as in NeMo."""
        signal = stacked(audio)
        before = mx.pad(signal[:, :-1], [(0, 0), (1, 0)])
        inside = mx.arange(signal.shape[1]) < mx.array([[len(samples)] for samples in audio])
        return mx.where(inside, signal - self.config.preemph * before, 0)

    def _power_spectrum(self, signal: mx.array) -> mx.array:
        """(B, N) -> (B, N // hop + 1, n_fft // 2 + 1): frames centred on multiples of the hop, over zero padding."""
        n_fft, hop = self.config.n_fft, self.config.hop_length
        padded = mx.contiguous(mx.pad(signal, [(0, 0), (n_fft // 2, n_fft // 2)]))
        B, N = padded.shape
        frames = mx.as_strided(padded, (B, 1 + (N - n_fft) // hop, n_fft), (N, hop, 1))
        return mx.abs(mx.fft.rfft(frames * self._wide_window())) ** self.config.mag_power


def normalize(log_mel: mx.array, lengths: Sequence[int], ddof: int = 1) -> mx.array:
    """Per item and mel bin: zero mean and unit deviation over the valid frames, zero beyond them. (B, T, M).

    Args:
        log_mel: (B, T, M).
        lengths: Valid frames of each item.
        ddof: Taken from the number of frames in the variance: 1 as in NeMo's preprocessor, where a single frame has a
            deviation of 0; 0 as in NeMo's chunked inference.
    """
    n = mx.array(list(lengths), mx.float32)[:, None, None]
    valid = mx.arange(log_mel.shape[1])[:, None] < n  # (B, T, 1)
    # A sum of thousands of numbers near -16 is off by more than a silent band varies, as it does above the bandwidth of
    # a telephone: so sums are taken of differences, first from any frame, then from what is nearly the mean.
    mean = log_mel[:, :1]
    for _ in range(2):
        mean = mean + mx.where(valid, log_mel - mean, 0).sum(axis=1, keepdims=True) / n
    centred = mx.where(valid, log_mel - mean, 0)
    deviation = mx.sqrt(centred.square().sum(axis=1, keepdims=True) / mx.maximum(n - ddof, 1))
    return centred / (deviation + 1e-5)


def pad_to_minimum(samples: npt.NDArray[np.float32], sample_rate: int) -> npt.NDArray[np.float32]:
    """Zeros on both sides up to MIN_DURATION, as NeMo's transcribe() does with files. (N,) -> (N',)."""
    missing = int(MIN_DURATION * sample_rate) - len(samples)
    if missing <= 0:
        return samples
    return np.pad(samples, (missing - missing // 2, missing // 2))
