"""Signals become one array, whichever way they get to the device."""

import numpy as np
import pytest

from mlx_canary.audio import batch


def signals(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.normal(size=n).astype(np.float32) for n in lengths]


@pytest.mark.parametrize("way", [batch._copied, batch._read], ids=["copied", "read"])
@pytest.mark.parametrize("lengths", [(1,), (5, 3), (7, 7, 7, 2, 4), (0, 3), (0,)])
@pytest.mark.parametrize("at_once", [1, 14, 1000])
def test_rows_are_the_signals_with_zeros_behind(way, lengths, at_once, monkeypatch):
    monkeypatch.setattr(batch, "_SAMPLES_AT_ONCE", at_once)
    given = signals(*lengths)
    found = np.array(way(given))
    assert found.shape == (len(lengths), max(lengths))
    for row, samples in zip(found, given, strict=True):
        assert (row[: len(samples)] == samples).all()
        assert not row[len(samples) :].any()


@pytest.mark.parametrize("way", [batch._copied, batch._read], ids=["copied", "read"])
def test_the_samples_may_change_afterwards(way):
    given = signals(4, 6)
    kept = given[1].copy()
    found = way(given)
    given[1][:] = 0
    assert (np.array(found)[1] == kept).all()


def test_views_and_reversed_signals():
    """Windows of a recording are views of it."""
    (whole,) = signals(30)
    assert (np.array(batch._read([whole[3:13], whole[::-3]])) == [whole[3:13], whole[::-3]]).all()
