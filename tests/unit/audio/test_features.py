"""Features where float32 comes to its limits."""

import numpy as np
import pytest

from mlx_canary.audio.features import normalize, pad_to_minimum
from mlx_canary.backend import mx


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


@pytest.mark.parametrize(
    ("n", "left", "right"), [(15_999, 1, 0), (15_998, 1, 1), (3_201, 6_400, 6_399), (16_000, 0, 0)]
)
def test_short_recordings_are_padded_as_nemo_pads_files(n, left, right):
    padded = pad_to_minimum(np.ones(n, np.float32), 16_000)
    assert np.flatnonzero(padded).tolist() == list(range(left, left + n))
    assert len(padded) == left + n + right
