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

import math
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from mlx_canary import products
from mlx_canary.backend import mx, nn
from mlx_canary.products import Floats
from mlx_canary.threads import in_shares

Array = TypeVar("Array", mx.array, Floats)
AnyArray = mx.array | Floats
_INFINITY = np.float32(np.inf)


class _Scratch(threading.local):
    """Memory for large results that nobody outside sees: to get new memory takes longer than what fills it."""

    def __init__(self) -> None:
        self._kept: dict[str, Floats] = {}

    def take(self, use: str, shape: Sequence[int]) -> Floats:
        """An array with anything in it, until the next of the same use is taken."""
        size = math.prod(shape)
        if use not in self._kept or self._kept[use].size < size:
            self._kept[use] = np.empty(size, np.float32)
        return self._kept[use][:size].reshape(shape)


_scratch = _Scratch()


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
        return _let_through(x, x)
    if numpy_is_faster(x):
        return mx.array(silu(np.asarray(x)))
    activated: mx.array = nn.silu(x)
    return activated


def gated(x: Array) -> Array:
    """(..., 2 D) -> (..., D): the first half, where the second lets it through."""
    if isinstance(x, np.ndarray):
        return _let_through(*np.split(x, 2, axis=-1))
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
        return _attended(q, np.asarray(k), np.asarray(v), added)
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
            return _depthwise(x[:, :, None], weight, bias, 1, (self.padding, 0), out)[:, :, 0]
        if numpy_is_faster(x):
            return mx.array(self(np.asarray(x)))
        return self._over_padded(x) if mx.metal.is_available() else cast(mx.array, super().__call__(x))

    def _over_padded(self, x: mx.array) -> mx.array:
        """Metal's kernel for depthwise convolutions pads nothing; with padding a general one is taken."""
        padded = mx.pad(x, [(0, 0), (self.padding, self.padding), (0, 0)])
        convolved = mx.conv1d(padded, self.weight, groups=self.groups)
        return convolved + self.bias if "bias" in self else convolved


def halved(x: mx.array, full: nn.Conv2d, depthwise: Sequence[nn.Conv2d], pointwise: Sequence[nn.Linear]) -> mx.array:
    """(T, M) through convolutions that halve it, each with its relu -> (S, F, C). As MLX's modules, by NumPy.

    A full convolution of one channel, then depthwise and pointwise ones; all strides and paddings are the first one's.
    """
    stride, padding, size = full.stride[0], full.padding[0], full.weight.shape[1]
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(np.asarray(x), padding), (size, size))
    taps = windows[::stride, ::stride].reshape(-1, size * size)
    n_columns = (x.shape[1] + 2 * padding - size) // stride + 1
    values = _rectified(taps, full.weight, full.bias).reshape(-1, n_columns, len(full.bias))
    for over_time, over_channels in zip(depthwise, pointwise, strict=True):
        weight, bias = np.asarray(over_time.weight)[..., 0], np.asarray(over_time.bias)
        n_rows, n_columns = ((n + 2 * padding - size) // stride + 1 for n in values.shape[:2])
        out = _scratch.take("convolved", (1, n_rows, n_columns, values.shape[2]))
        convolved = _depthwise(values[None], weight, bias, stride, (padding, padding), out)[0]
        rows = _rectified(convolved.reshape(-1, convolved.shape[-1]), over_channels.weight, over_channels.bias)
        values = rows.reshape(*convolved.shape[:2], -1)
    return mx.array(values)


def _rectified(rows: Floats, weight: mx.array, bias: mx.array) -> Floats:
    """A layer and its relu: (N, D) -> (N, E)."""
    out = _scratch.take("rectified", (len(rows), len(bias)))
    np.matmul(rows, np.asarray(weight).reshape(len(bias), -1).T, out=out)
    out += np.asarray(bias)
    return np.maximum(out, 0, out=out)


def _let_through(values: Floats, gates: Floats) -> Floats:
    """values * sigmoid(gates)."""
    out = np.negative(gates)
    with np.errstate(all="ignore"):  # the exponential may be infinite, which lets 0 through; padding may hold anything
        np.exp(out, out=out)
        out += 1
        return np.divide(values, out, out=out)


def _attended(q: Floats, k: Floats, v: Floats, mask: npt.NDArray[Any] | None) -> Floats:
    """`attend`, in which threads share the items where there is much to read."""
    out = np.empty((*q.shape[:-1], v.shape[-1]), np.float32)

    def attend_some(part: slice) -> None:
        added = mask if mask is None or len(mask) == 1 or mask.ndim < q.ndim else mask[part]
        np.matmul(_softmax(_scores(q[part], k[part], added)), v[part], out=out[part])

    in_shares(attend_some, len(q), min(len(q), products.worthwhile_shares(k.size)))
    return out


def _scores(q: Floats, k: Floats, mask: npt.NDArray[Any] | None) -> Floats:
    """(B, H, U, K), (B, H, L, K) -> (B, H, U, L)."""
    scores = _scratch.take("scores", (*q.shape[:-1], k.shape[-2]))
    np.matmul(q * np.float32(q.shape[-1] ** -0.5), k.swapaxes(-1, -2), out=scores)
    if mask is None:
        return scores
    if mask.dtype == bool:
        np.copyto(scores, -_INFINITY, where=~mask)
    else:
        scores += mask
    return scores


def _softmax(scores: Floats) -> Floats:
    """In place."""
    with np.errstate(all="ignore"):  # as above
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        return scores


def _depthwise(x: Floats, weight: Floats, bias: Any, stride: int, padding: tuple[int, int], out: Floats) -> Floats:
    """(B, T, F, C) and taps (C, P, Q) -> (B, T', F', C)."""
    padded = np.pad(x, ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[1:], axis=(1, 2))[:, ::stride, ::stride]
    # Of taps in which channels lie side by side: einsum's inner loop then runs over channels, without memory between.
    np.einsum("btfcpq,pqc->btfc", windows, np.ascontiguousarray(weight.transpose(1, 2, 0)), out=out)
    if bias is not None:
        out += bias
    return out
