"""The encoder's subsampling, piece by piece."""

import numpy as np
import pytest
from conftest import loaded

from mlx_canary.backend import mx
from mlx_canary.network import conformer


@pytest.mark.parametrize("n_frames", [1, 8, 9, 63, 64, 65, 200])
def test_pieces_are_the_whole(n_frames, monkeypatch):
    """Of every length, for items of one batch."""
    monkeypatch.setattr(conformer, "_PIECE", 3)
    subsampling = loaded("canary2-flash").network.encoder.subsampling
    frames = mx.array(np.random.default_rng(n_frames).normal(size=(2, n_frames, 128)).astype(np.float32))
    lengths = [n_frames, -(-n_frames // 2)]
    whole, pieces = (way(frames, lengths) for way in (subsampling._whole, subsampling._piecewise))
    assert pieces.shape == whole.shape
    for length, one, other in zip(lengths, pieces, whole, strict=True):
        valid = conformer.subsampled_length(length, 8)
        assert float(mx.abs(one[:valid] - other[:valid]).max()) < 1e-5
