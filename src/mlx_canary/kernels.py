"""The operations that MLX is slow at on a CPU: matrix products, exponentials, convolutions.

On a GPU, and in half precision, they are MLX's own. On a CPU, NumPy computes them in float32. MLX's wheels for Linux
are built for any CPU of their kind and bring a plain BLAS: a large product runs at 4 billion operations a second
(NumPy's OpenBLAS: 290 on two cores), an exponential takes 18 ns (under 1), a tap of a depthwise convolution 3 (0.5).

Each function computes the same either way, up to rounding, and gives back the kind of array that it got. MLX takes
0.1 ms to be asked for a result, so on a CPU encoder and decoder pass NumPy's arrays on from one function to the next.
All products are NumPy's, small ones too: a second library's threads would wait in a loop for work, on the cores that
the first one's need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, cast

import numpy as np

from mlx_canary import numpy_kernels, products
from mlx_canary.backend import mx, nn
from mlx_canary.products import Floats

Array = TypeVar("Array", mx.array, Floats)
AnyArray = mx.array | Floats


def numpy_is_faster(x: mx.array) -> bool:
    """Whether these operations are NumPy's for such an array."""
    return x.dtype == mx.float32 and mx.default_device().type == mx.cpu


def is_cuda() -> bool:
    """Whether the default device is an NVIDIA GPU."""
    return mx.default_device().type == mx.gpu and bool(mx.cuda.is_available())


def compiling_pays() -> bool:
    """Whether functions that are called again and again are worth compiling by MLX.

    On a GPU, which otherwise waits for Python. On a CPU the products are NumPy's, which MLX cannot see into.
    """
    return mx.default_device().type == mx.gpu


def _fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """Operations that go through memory once on a GPU instead of once each, whatever the shapes."""
    compiled = cast(Any, mx.compile)(function, shapeless=True)

    def computed(*given: Any) -> Any:
        return compiled(*given) if compiling_pays() else function(*given)

    return computed


_gate = _fused(lambda values, gates: values * mx.sigmoid(gates))
_half_more = _fused(lambda x, y: x + 0.5 * y)
_queries = _fused(lambda q, content, position, scale: (q + content, (q + position) * scale))


def silu(x: Array) -> Array:
    """x * sigmoid(x)."""
    if isinstance(x, np.ndarray):
        return numpy_kernels.let_through(x, x)
    if numpy_is_faster(x):
        return mx.array(silu(np.asarray(x)))
    activated: mx.array = nn.silu(x)
    return activated


def gated(x: Array) -> Array:
    """(..., 2 D) -> (..., D): the first half, where the second lets it through."""
    if isinstance(x, np.ndarray):
        return numpy_kernels.let_through(*np.split(x, 2, axis=-1))
    if numpy_is_faster(x):
        return mx.array(gated(np.asarray(x)))
    through: mx.array = _gate(*mx.split(x, 2, axis=-1))
    return through


def half_more(x: Array, y: Array) -> Array:
    """x + y / 2."""
    more: Array = _half_more(x, y) if isinstance(x, mx.array) else x + 0.5 * y
    return more


def queries(q: Array, content: mx.array, position: mx.array) -> tuple[Array, Array]:
    """(B, H, S, K) with two biases (H, K): for the keys, and divided by the root of K for the positions."""
    scale = q.shape[-1] ** -0.5
    if isinstance(q, np.ndarray):
        return q + np.asarray(content)[:, None], (q + np.asarray(position)[:, None]) * np.float32(scale)
    both: tuple[Array, Array] = _queries(q, content[:, None], position[:, None], scale)
    return both


def relu(x: Array) -> Array:
    """What is above zero."""
    if isinstance(x, np.ndarray):
        above: Floats = np.maximum(x, 0)
        return above
    rectified: mx.array = nn.relu(x)
    return rectified


def gelu(x: Array) -> Array:
    """x * the normal distribution's function, exactly."""
    if isinstance(x, np.ndarray):  # which has no error function
        values: Floats = np.array(nn.gelu(mx.array(x)))
        return values
    activated: mx.array = nn.gelu(x)
    return activated


def attend(q: Array, k: AnyArray, v: AnyArray, mask: AnyArray | None) -> Array:
    """Attention of queries (B, H, U, K) to keys and values (B, H, L, K) -> (B, H, U, K).

    The mask is broadcastable to (B, H, U, L): true where a key may be looked at, or numbers to add to the scores.
    """
    if isinstance(q, np.ndarray):
        added = None if mask is None else np.asarray(mask)
        return numpy_kernels.attended(q, np.asarray(k), np.asarray(v), added)
    if numpy_is_faster(q):
        return mx.array(attend(np.asarray(q), k, v, mask))
    keys, values, added = cast(mx.array, k), cast(mx.array, v), cast(mx.array | None, mask)
    return mx.fast.scaled_dot_product_attention(q, keys, values, scale=q.shape[-1] ** -0.5, mask=added)


def matmul(a: Array, b: AnyArray) -> Array:
    """(..., U, K) and (..., K, L) -> (..., U, L)."""
    if isinstance(a, np.ndarray):
        return products.times(a, np.asarray(b))
    return mx.array(products.times(np.asarray(a), np.asarray(b))) if numpy_is_faster(a) else a @ cast(mx.array, b)


def where(allowed: mx.array, x: Array, otherwise: float) -> Array:
    """x where it is allowed."""
    if isinstance(x, np.ndarray):
        chosen: Floats = np.where(np.asarray(allowed), x, np.float32(otherwise))
        return chosen
    return mx.where(allowed, x, otherwise)


def taken(x: Array, index: mx.array) -> Array:
    """(..., L), (..., N) -> (..., N): of each row these elements."""
    if isinstance(x, np.ndarray):
        return np.take_along_axis(x, np.asarray(index), axis=-1)
    return mx.take_along_axis(x, index, axis=-1)


def strided(x: Array, shape: Sequence[int], strides: Sequence[int], offset: int) -> Array:
    """Of the elements of x, numbered row by row: (i, j, ...) is number offset + i * strides[0] + j * strides[1] ...."""
    if isinstance(x, np.ndarray):
        in_bytes = [stride * x.itemsize for stride in strides]
        return np.lib.stride_tricks.as_strided(np.ascontiguousarray(x).reshape(-1)[offset:], shape, in_bytes)
    return mx.as_strided(mx.contiguous(x), shape, strides, offset)


def product(x: Array, weight: mx.array, bias: mx.array | None = None) -> Array:
    """(..., D) and a matrix (E, D) -> (..., E)."""
    if isinstance(x, np.ndarray):
        out = products.of_rows(x.reshape(-1, x.shape[-1]), np.asarray(weight))
        if bias is not None:
            out += np.asarray(bias)
        return out.reshape(*x.shape[:-1], -1)
    if numpy_is_faster(x):
        return mx.array(product(np.asarray(x), weight, bias))
    return x @ weight.T if bias is None else mx.addmm(bias, x, weight.T)


class Linear(nn.Linear):
    """nn.Linear."""

    def __call__(self, x: Array) -> Array:
        """(..., D) -> (..., E)."""
        return product(x, self.weight, self.bias if "bias" in self else None)


def are_plain(layers: Iterable[nn.Module]) -> bool:
    """Whether all of these take NumPy's arrays: none is packed by quantization."""
    return all(isinstance(layer, Linear) for layer in layers)


class LayerNorm(nn.LayerNorm):
    """nn.LayerNorm."""

    def __call__(self, x: Array) -> Array:
        """(..., D) -> (..., D)."""
        if isinstance(x, np.ndarray):
            width = np.float32(x.shape[-1])
            centred: Floats = x - x.sum(axis=-1, keepdims=True) / width
            squares = np.einsum("...d,...d->...", centred, centred)[..., None]
            centred /= np.sqrt(squares / width + np.float32(self.eps))
            centred *= np.asarray(self.weight)
            centred += np.asarray(self.bias)
            return centred
        normalised: mx.array = super().__call__(x)
        return normalised


class DepthwiseConv1d(nn.Conv1d):
    """nn.Conv1d of as many groups as channels, one frame at a time, padded evenly."""

    def __call__(self, x: Array) -> Array:
        """(B, S, C) -> (B, S, C)."""
        if isinstance(x, np.ndarray):
            weight = np.asarray(self.weight)[:, :, None, 0]
            out = np.empty((*x.shape[:2], 1, x.shape[2]), np.float32)
            bias = np.asarray(self.bias) if "bias" in self else None
            return numpy_kernels.convolved_depthwise(x[:, :, None], weight, bias, 1, (self.padding, 0), out)[:, :, 0]
        if numpy_is_faster(x):
            return mx.array(self(np.asarray(x)))
        return self._over_padded(x) if mx.metal.is_available() else cast(mx.array, super().__call__(x))

    def _over_padded(self, x: mx.array) -> mx.array:
        """Metal's kernel for depthwise convolutions pads nothing; with padding a general one is taken."""
        padded = mx.pad(x, [(0, 0), (self.padding, self.padding), (0, 0)])
        convolved = mx.conv1d(padded, self.weight, groups=self.groups)
        return convolved + self.bias if "bias" in self else convolved
