"""What is computed in another way on a CPU is what MLX computes."""

import numpy as np
import pytest

from mlx_canary import kernels
from mlx_canary.backend import mx, nn


def normal(*shape: int, scale: float = 1.0) -> mx.array:
    return mx.array(np.random.default_rng(sum(shape)).normal(0, scale, shape).astype(np.float32))


def largest_difference(a: mx.array, b: mx.array) -> float:
    assert a.shape == b.shape
    assert a.dtype == b.dtype == mx.float32
    return float(mx.abs(a - b).max())


@pytest.fixture(autouse=True)
def _on_the_cpu():
    """Elsewhere these are MLX's own functions."""
    before = mx.default_device()
    mx.set_default_device(mx.Device(mx.cpu))
    yield
    mx.set_default_device(before)


def test_silu_and_gate_at_any_size_of_number():
    x = mx.concatenate([normal(3, 8, scale=4), mx.array([[0.0, -0.0, 88, -88, 89, -89, 1e30, -1e30]])])
    assert largest_difference(kernels.silu(x), nn.silu(x)) < 1e-6
    assert largest_difference(kernels.gated(x), nn.glu(x)) < 1e-6


@pytest.mark.parametrize("n_queries", [1, 5])
@pytest.mark.parametrize("mask", ["none", "boolean", "numbers"])
def test_attention(n_queries, mask):
    q, k, v = normal(2, 3, n_queries, 4), normal(2, 3, 6, 4), normal(2, 3, 6, 4)[..., ::-1]
    allowed = mx.array([[True, True, True, True, False, False], [True] * 6])[:, None, None]
    masks = {"none": None, "boolean": allowed, "numbers": mx.where(allowed, normal(2, 3, n_queries, 6), -mx.inf)}
    expected = mx.fast.scaled_dot_product_attention(q, k, v, scale=0.5, mask=masks[mask])
    assert largest_difference(kernels.attend(q, k, v, masks[mask]), expected) < 1e-6


@pytest.mark.parametrize("shape", [(1, 1, 64), (1, 64), (2, 1, 64), (1, 3, 64), (5, 7, 64)])
def test_product(shape):
    """Of one row, of few and of many."""
    x, weight, bias = normal(*shape), normal(48, 64), normal(48)
    assert largest_difference(kernels.product(x, weight, bias), x @ weight.T + bias) < 2e-5
    assert largest_difference(kernels.product(x, weight), x @ weight.T) < 2e-5


def test_matmul():
    a, b = normal(2, 3, 5, 4), normal(1, 3, 6, 4).swapaxes(-1, -2)
    assert largest_difference(kernels.matmul(a, b), a @ b) < 1e-5


def test_results_are_their_own():
    """The memory in which they are computed is used again."""
    x = normal(3, 8)
    first = kernels.silu(x)
    kernels.silu(x + 1)
    assert largest_difference(first, nn.silu(x)) < 1e-6


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("n_frames", [1, 4, 9, 700])
def test_depthwise_convolution_over_time(n_frames, bias):
    ours = kernels.DepthwiseConv1d(16, 16, 9, padding=4, groups=16, bias=bias)
    x = normal(2, n_frames, 16)
    assert largest_difference(ours(x), nn.Conv1d.__call__(ours, x)) < 1e-5


@pytest.mark.parametrize("size", [(1, 8), (5, 4), (90, 65)])
def test_halving_convolutions(size):
    """Of odd and even sizes."""
    full = nn.Conv2d(1, 8, 3, stride=2, padding=1)
    depthwise = [nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8) for _ in range(2)]
    pointwise = [nn.Linear(8, 8) for _ in range(2)]
    x = normal(*size)
    expected = nn.relu(full(x[None, ..., None]))
    for over_time, over_channels in zip(depthwise, pointwise, strict=True):
        expected = nn.relu(over_channels(over_time(expected)))
    assert largest_difference(kernels.halved(x, full, depthwise, pointwise), expected[0]) < 1e-5


def test_half_precision_is_left_to_mlx():
    assert kernels.silu(mx.ones((2, 2), mx.bfloat16)).dtype == mx.bfloat16
    assert not kernels.numpy_is_faster(mx.ones(1, mx.float16))
    assert kernels.numpy_is_faster(mx.ones(1))
