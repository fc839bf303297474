"""Features where float32 comes to its limits."""

import numpy as np
import pytest

from mlx_canary import threads
from mlx_canary.audio import features
from mlx_canary.audio.features import Preprocessor, normalize, pad_to_minimum
from mlx_canary.backend import mx
from mlx_canary.config import PreprocessorConfig


@pytest.mark.parametrize("ddof", [0, 1])
def test_bands_without_sound_are_normalised_exactly(ddof):
    """Above a telephone's bandwidth a band is nearly constant: what a sum loses would be many of its deviations."""
    rng = np.random.default_rng(1)
    log_mel = (-16.635532 + rng.normal(0, 2e-4, (2, 1500, 4))).astype(np.float32)
    lengths = (1500, 1200)
    found = np.array(normalize(mx.array(log_mel), lengths, ddof))
    for row, length, got in zip(log_mel.astype(np.float64), lengths, found, strict=True):
        valid = row[:length]
        expected = (valid - valid.mean(axis=0)) / (valid.std(axis=0, ddof=ddof) + 1e-5)
        assert np.abs(got[:length] - expected).max() < 0.01
        assert not got[length:].any()


def sizes(**changes) -> PreprocessorConfig:
    usual = {"sample_rate": 16_000, "features": 20, "n_fft": 512, "window_length": 400, "hop_length": 160}
    return PreprocessorConfig(**{**usual, "preemph": 0.97, "log_zero_guard_value": 2**-24, "mag_power": 2.0, **changes})


@pytest.mark.parametrize("changes", [{}, {"mag_power": 1.0}, {"preemph": 0.0}, {"n_fft": 640, "window_length": 320}])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_a_cpu_computes_what_a_gpu_computes(changes, n_threads, monkeypatch):
    """Lengths of all kinds, beyond a piece too; silence; and padding, which is zero."""
    config = sizes(**changes)
    rng = np.random.default_rng(3)
    window = mx.array(np.hanning(config.window_length).astype(np.float32))
    filterbank = mx.array(rng.uniform(0, 1, (20, config.n_fft // 2 + 1)).astype(np.float32))
    preprocessor = Preprocessor(config, window, filterbank)
    signals = [rng.normal(0, 0.1, n).astype(np.float32) for n in (160, 161, 319, 5_000, 83_000)]
    signals += [np.zeros(4_000, np.float32), signals[-1][::-2]]
    monkeypatch.setattr(threads, "n_threads", lambda: n_threads)
    found = preprocessor(signals)
    monkeypatch.setattr(features, "numpy_is_faster", lambda x: False)
    expected = preprocessor(signals)
    assert found.lengths == expected.lengths == tuple(len(samples) // 160 for samples in signals)
    assert np.abs(np.array(found.frames) - np.array(expected.frames)).max() < 5e-4


def test_what_is_no_number_stays_none():
    """And is told to nobody on the way: a warning of NumPy's would be no help."""
    preprocessor = Preprocessor(sizes(), mx.ones(400), mx.ones((20, 257)))
    assert np.isnan(np.array(preprocessor([np.full(640, np.nan, np.float32)]).frames)).all()


@pytest.mark.parametrize(
    ("n", "left", "right"), [(15_999, 1, 0), (15_998, 1, 1), (3_201, 6_400, 6_399), (16_000, 0, 0)]
)
def test_short_recordings_are_padded_as_nemo_pads_files(n, left, right):
    padded = pad_to_minimum(np.ones(n, np.float32), 16_000)
    assert np.flatnonzero(padded).tolist() == list(range(left, left + n))
    assert len(padded) == left + n + right
