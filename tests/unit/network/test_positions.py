"""Projected positions: what is kept gives what would be computed."""

import numpy as np
import pytest

from mlx_canary.backend import mx
from mlx_canary.kernels import Linear
from mlx_canary.network import positions
from mlx_canary.network.attention import LocalRelPositionAttention, RelPositionAttention
from mlx_canary.network.positions import ProjectedPositions, relative_positions

D = 16


def projected(table: ProjectedPositions, layer: Linear, first: int, last: int) -> np.ndarray:
    return np.array(table(first, last, D, layer.weight, layer))


@pytest.fixture
def counted(monkeypatch):
    """How many offsets were computed."""
    rows: list[int] = []

    def count(first: int, last: int, d_model: int) -> mx.array:
        rows.append(first - last + 1)
        return relative_positions(first, last, d_model)

    monkeypatch.setattr(positions, "relative_positions", count)
    return rows


@pytest.mark.parametrize(("first", "last"), [(0, 0), (1, -1), (63, -63), (64, -64), (8, -6), (0, -70), (199, -199)])
def test_every_length_gets_its_offsets(first, last):
    """From a table that just reaches them, and from one that reaches further."""
    layer, table = Linear(D, D, bias=False), ProjectedPositions()
    expected = np.array(relative_positions(first, last, D)) @ np.array(layer.weight).T
    for _ in range(2):
        np.testing.assert_allclose(projected(table, layer, first, last), expected, atol=1e-5)
        projected(table, layer, 300, -300)


def test_bits_do_not_tell_what_came_before():
    layer, table = Linear(D, D, bias=False), ProjectedPositions()
    projected(table, layer, 300, -300)
    assert (projected(table, layer, 90, -90) == projected(ProjectedPositions(), layer, 90, -90)).all()


def test_nothing_is_computed_twice(counted):
    layer, table = Linear(D, D, bias=False), ProjectedPositions()
    for n in (100, 20, 100, 127):
        projected(table, layer, n, -n)
    assert sum(counted) == 256


def test_other_weights_get_their_own(counted):
    """Weights are changed while a model is loaded, as when they are unpacked for a CPU."""
    attention = RelPositionAttention(D, 2, (-1, -1), bias=False)
    before = np.array(attention.positions(5))
    attention.update({"w_pos": {"weight": attention.w_pos.weight * 2}})
    np.testing.assert_allclose(np.array(attention.positions(5)), 2 * before, rtol=1e-5)


def test_a_very_long_recording_is_not_kept(counted, monkeypatch):
    monkeypatch.setattr(positions, "_MOST_KEPT", 64)
    layer, table = Linear(D, D, bias=False), ProjectedPositions()
    for _ in range(2):
        assert projected(table, layer, 64, -64).shape == (129, D)
    assert counted == [129, 129]


def test_local_attention_needs_the_same_for_all_lengths():
    attention = LocalRelPositionAttention(D, 2, (3, 2), bias=False)
    assert [attention.positions(n).shape for n in (1, 100)] == [(6, D)] * 2


def test_what_is_kept_is_no_weight():
    attention = RelPositionAttention(D, 2, (-1, -1), bias=False)
    names = set(attention.parameters())
    attention.positions(5)
    assert set(attention.parameters()) == names
