"""Products of rows and a matrix are the same by every way that NumPy has to them."""

import numpy as np
import pytest

from mlx_canary import blas, kernels, products
from mlx_canary.backend import mx


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


@pytest.fixture(params=[True, False], ids=["in pieces", "in blocks"], autouse=True)
def _kernels(request, monkeypatch):
    """As on a machine with kernels for small products, and as on one without; both ways are right on either."""
    monkeypatch.setattr(blas, "multiplies_small_in_place", lambda: request.param)


@pytest.fixture(params=[1, 3])
def _threads(request, monkeypatch):
    monkeypatch.setattr(products, "_SHARE", 64)
    monkeypatch.setattr(blas, "n_threads", lambda: request.param)


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("n_rows", [1, 2, 12, 13, 33])
@pytest.mark.parametrize("n_outputs", [5, 16, 50, 112])
def test_rows(n_rows, n_outputs):
    rows, matrix = normal(n_rows, 64), normal(n_outputs, 64)
    found = products.of_rows(rows, matrix)
    assert found.shape == (n_rows, n_outputs)
    np.testing.assert_allclose(found, rows.astype(np.float64) @ matrix.T.astype(np.float64), atol=2e-5)


def test_rows_that_are_too_long_for_pieces():
    rows, matrix = normal(12, 6000), normal(16, 6000)
    np.testing.assert_allclose(products.of_rows(rows, matrix), rows @ matrix.T, atol=1e-3)


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("mask", [None, "one for all", "of each", "numbers"])
def test_attention_whose_items_are_shared(mask):
    q, k, v = normal(5, 2, 1, 16), normal(5, 2, 40, 16), normal(5, 2, 40, 16)
    allowed = np.arange(40) < np.array([[40], [3], [40], [17], [1]])
    masks = {
        None: None,
        "one for all": allowed[1][None, None, None],
        "of each": allowed[:, None, None],
        "numbers": np.where(allowed, 0.5, -np.inf).astype(np.float32)[:, None, None],
    }
    added = None if masks[mask] is None else mx.array(masks[mask])
    expected = mx.fast.scaled_dot_product_attention(*map(mx.array, (q, k, v)), scale=0.25, mask=added)
    np.testing.assert_allclose(kernels.attend(q, k, v, added), np.asarray(expected), atol=2e-6)


@pytest.mark.parametrize(("numbers", "threads"), [(100, 1), (1 << 19, 2), (3 << 18, 3), (1 << 24, 4)])
def test_only_long_work_is_shared(monkeypatch, numbers, threads):
    monkeypatch.setattr(blas, "n_threads", lambda: 4)
    assert products.worthwhile_shares(numbers) == threads
