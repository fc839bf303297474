"""What is computed in another way on a CPU is what MLX computes."""

import shutil

import numpy as np
import pytest

from mlx_canary import kernels
from mlx_canary.backend import mx, nn
from mlx_canary.numpy_kernels import halved


def normal(*shape: int, scale: float = 1.0) -> mx.array:
    return mx.array(np.random.default_rng(sum(shape)).normal(0, scale, shape).astype(np.float32))


def largest_difference(found, expected: mx.array) -> float:
    assert found.shape == expected.shape
    assert found.dtype in (mx.float32, np.float32)
    return float(mx.abs(mx.array(found) - expected).max())


@pytest.fixture(params=[mx.array, np.asarray], ids=["mlx", "numpy"])
def given(request):
    """Makes the kind of array that a function is given, and has to give back."""

    def convert(x: mx.array):
        return request.param(x)

    convert.kind = type(request.param(mx.zeros(1)))
    return convert


@pytest.fixture(autouse=True)
def _on_the_cpu():
    """Elsewhere these are MLX's own functions."""
    before = mx.default_device()
    mx.set_default_device(mx.Device(mx.cpu))
    yield
    mx.set_default_device(before)


def assert_same(given, found, expected: mx.array, tolerance: float) -> None:
    assert isinstance(found, given.kind)
    assert largest_difference(found, expected) < tolerance


def test_activations_at_any_size_of_number(given):
    x = mx.concatenate([normal(3, 8, scale=4), mx.array([[0.0, -0.0, 88, -88, 89, -89, 1e30, -1e30]])])
    for ours, theirs in (
        (kernels.silu, nn.silu),
        (kernels.gated, nn.glu),
        (kernels.relu, nn.relu),
        (kernels.gelu, nn.gelu),
    ):
        assert_same(given, ours(given(x)), theirs(x), 1e-6)


@pytest.mark.parametrize("n_queries", [1, 5])
@pytest.mark.parametrize("mask", ["none", "boolean", "numbers"])
def test_attention(given, n_queries, mask):
    q, k, v = normal(2, 3, n_queries, 4), normal(2, 3, 6, 4), normal(2, 3, 6, 4)[..., ::-1]
    allowed = mx.array([[True, True, True, True, False, False], [True] * 6])[:, None, None]
    masks = {"none": None, "boolean": allowed, "numbers": mx.where(allowed, normal(2, 3, n_queries, 6), -mx.inf)}
    expected = mx.fast.scaled_dot_product_attention(q, k, v, scale=0.5, mask=masks[mask])
    assert_same(given, kernels.attend(given(q), k, given(v), masks[mask]), expected, 1e-6)


@pytest.mark.parametrize("shape", [(1, 1, 64), (1, 64), (2, 1, 64), (1, 3, 64), (5, 7, 64)])
def test_product(given, shape):
    """Of one row, of few and of many."""
    x, weight, bias = normal(*shape), normal(48, 64), normal(48)
    assert_same(given, kernels.product(given(x), weight, bias), x @ weight.T + bias, 2e-5)
    assert_same(given, kernels.product(given(x), weight), x @ weight.T, 2e-5)


def test_matmul(given):
    a, b = normal(2, 3, 5, 4), normal(1, 3, 6, 4).swapaxes(-1, -2)
    assert_same(given, kernels.matmul(given(a), b), a @ b, 1e-5)


def test_layer_norm(given):
    norm, x = nn.LayerNorm(64, eps=1e-5), normal(2, 3, 64, scale=3) + 1
    norm.update({"weight": normal(64), "bias": normal(64, scale=2)})
    ours = kernels.LayerNorm(64, eps=1e-5)
    ours.update(norm.parameters())
    assert_same(given, ours(given(x)), norm(x), 2e-5)


def test_choosing_elements(given):
    x, index = normal(2, 3, 4), mx.array([[[3, 0], [1, 1], [2, 3]]] * 2)
    assert_same(given, kernels.taken(given(x), index), mx.take_along_axis(x, index, axis=-1), 1e-9)
    assert_same(given, kernels.where(x > 0, given(x), -2.0), mx.where(x > 0, x, -2.0), 1e-9)


@pytest.fixture(params=[False, True], ids=["one by one", "fused"])
def fused(request, monkeypatch):
    """On a CPU MLX fuses with a C++ compiler."""
    if request.param and shutil.which("g++") is None:
        pytest.skip("there is no C++ compiler")
    monkeypatch.setattr(kernels, "compiling_pays", lambda: request.param)


def test_residuals_and_biased_queries(given, fused):
    x, y = normal(2, 5, 6), normal(2, 5, 6, scale=3)
    assert_same(given, kernels.half_more(given(x), given(y)), x + 0.5 * y, 1e-6)
    q, content, position = normal(2, 5, 3, 4).transpose(0, 2, 1, 3), normal(3, 4), normal(3, 4, scale=2)
    by_content, by_position = kernels.queries(given(q), content, position)
    assert_same(given, by_content, q + content[:, None], 1e-6)
    assert_same(given, by_position, (q + position[:, None]) / 2, 1e-6)


@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16])
def test_halves_stay_halves(dtype, fused):
    x = normal(2, 3, 8).astype(dtype)
    for found in (kernels.gated(x), kernels.half_more(x, x), *kernels.queries(x[None], x[:, 0], x[:, 1])):
        assert found.dtype == dtype
    assert mx.allclose(kernels.gated(x), nn.glu(x), atol=1e-2)


@pytest.mark.parametrize("turned", [False, True])
def test_strided(given, turned):
    """The numbers count as the array is read, however it lies in memory."""
    x = normal(4, 6).T if turned else normal(6, 4)
    numbered = np.array(x).flatten()
    expected = mx.array([[float(numbered[2 + 5 * i + j]) for j in range(3)] for i in range(4)])
    assert_same(given, kernels.strided(given(x), (4, 3), (5, 1), 2), expected, 1e-9)


def test_results_are_their_own():
    """The memory in which they are computed is used again."""
    q, k = normal(1, 2, 3, 4), normal(1, 2, 5, 4)
    first = kernels.attend(np.asarray(q), k, k, None)
    kernels.attend(np.asarray(q) + 1, k, -k, None)
    expected = mx.fast.scaled_dot_product_attention(q, k, k, scale=0.5)
    assert largest_difference(first, expected) < 1e-6


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("n_frames", [1, 4, 9, 700])
def test_depthwise_convolution_over_time(given, n_frames, bias):
    ours = kernels.DepthwiseConv1d(16, 16, 9, padding=4, groups=16, bias=bias)
    x = normal(2, n_frames, 16)
    assert_same(given, ours(given(x)), nn.Conv1d.__call__(ours, x), 1e-5)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("n_frames", [1, 9, 70])
def test_depthwise_convolution_as_on_a_mac(monkeypatch, n_frames, bias):
    monkeypatch.setattr(mx.metal, "is_available", lambda: True)
    monkeypatch.setattr(kernels, "numpy_is_faster", lambda x: False)
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
    assert largest_difference(halved(x, full, depthwise, pointwise), expected[0]) < 1e-5


def test_half_precision_is_left_to_mlx():
    assert kernels.silu(mx.ones((2, 2), mx.bfloat16)).dtype == mx.bfloat16
    assert not kernels.numpy_is_faster(mx.ones(1, mx.float16))
    assert kernels.numpy_is_faster(mx.ones(1))
