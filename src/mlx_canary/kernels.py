"""The operations that MLX is slow at on a CPU: matrix products, exponentials, convolutions.

On a GPU, and in half precision, they are MLX's own. On a CPU, NumPy computes them in float32. MLX's wheels for Linux
are built for any CPU of their kind and bring a plain BLAS: a large product runs at 4 billion operations a second
(NumPy's OpenBLAS: 290 on two cores), an exponential takes 18 ns (under 1), a tap of a depthwise convolution 3 (1.4).

Each function computes the same either way, up to rounding. NumPy reads MLX's arrays where they lie, and has them
computed first: here the graph is cut. All products are NumPy's, small ones too: a second library's threads would wait
in a loop for work, on the cores that the first one's need.

What takes NumPy's arrays gives them back: a chain of small operations does without MLX, which takes 0.1 ms to be asked
for a result.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from mlx_canary.backend import mx, nn

Floats = npt.NDArray[np.float32]
Array = TypeVar("Array", mx.array, Floats)
_INFINITY = np.float32(np.inf)
# Up to so many rows BLAS is faster with the matrix on the left.
_FEW_ROWS = 16


class _Scratch(threading.local):
    """Memory for what is copied into MLX's right away: to get new memory takes longer than to compute what fills it."""

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


def compiling_pays() -> bool:
    """Whether functions that are called again and again are worth compiling by MLX.

    On a GPU, which otherwise waits for Python. On a CPU the products are NumPy's, which MLX cannot see into.
    """
    return mx.default_device().type == mx.gpu


def numpy_blas() -> str:
    """The library that makes NumPy's products, by name and version."""
    found = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{found['name']} {found['version']}"


def silu(x: mx.array) -> mx.array:
    """x * sigmoid(x)."""
    if not numpy_is_faster(x):
        activated: mx.array = nn.silu(x)
        return activated
    values = np.asarray(x)
    return mx.array(_let_through(values, values))


def gated(x: mx.array) -> mx.array:
    """(..., 2 D) -> (..., D): the first half, where the second lets it through."""
    if not numpy_is_faster(x):
        through: mx.array = nn.glu(x)
        return through
    return mx.array(_let_through(*np.split(np.asarray(x), 2, axis=-1)))


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


def attend(q: Array, k: mx.array | Floats, v: mx.array | Floats, mask: mx.array | None) -> Array:
    """Attention of queries (B, H, U, K) to keys and values (B, H, L, K) -> (B, H, U, K).

    The mask is broadcastable to (B, H, U, L): true where a key may be looked at, or numbers to add to the scores.
    """
    if isinstance(q, np.ndarray):
        return _attend(q, np.asarray(k), np.asarray(v), mask, _new)
    if numpy_is_faster(q):
        return mx.array(_attend(np.asarray(q), np.asarray(k), np.asarray(v), mask, _scratch.take))
    return mx.fast.scaled_dot_product_attention(
        q, cast(mx.array, k), cast(mx.array, v), scale=q.shape[-1] ** -0.5, mask=mask
    )


def matmul(a: mx.array, b: mx.array) -> mx.array:
    """(..., U, K) and (..., K, L) -> (..., U, L)."""
    return mx.array(_multiplied(np.asarray(a), np.asarray(b), "product")) if numpy_is_faster(a) else a @ b


def product(x: Array, weight: mx.array, bias: mx.array | None = None) -> Array:
    """(..., D) and a matrix (E, D) -> (..., E)."""
    if isinstance(x, np.ndarray):
        return _product(x, weight, bias, _new)
    if numpy_is_faster(x):
        return mx.array(_product(np.asarray(x), weight, bias, _scratch.take))
    return x @ weight.T if bias is None else mx.addmm(bias, x, weight.T)


class Linear(nn.Linear):
    """nn.Linear."""

    def __call__(self, x: Array) -> Array:
        """(..., D) -> (..., E)."""
        return product(x, self.weight, self.bias if "bias" in self else None)


class LayerNorm(nn.LayerNorm):
    """nn.LayerNorm."""

    def __call__(self, x: Array) -> Array:
        """(..., D) -> (..., D)."""
        if isinstance(x, np.ndarray):
            centred: Floats = x - x.mean(axis=-1, keepdims=True)
            centred /= np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + np.float32(self.eps))
            centred *= np.asarray(self.weight)
            centred += np.asarray(self.bias)
            return centred
        normalised: mx.array = super().__call__(x)
        return normalised


class DepthwiseConv1d(nn.Conv1d):
    """nn.Conv1d of as many groups as channels, one frame at a time, padded evenly."""

    def __call__(self, x: mx.array) -> mx.array:
        """(B, S, C) -> (B, S, C)."""
        if not numpy_is_faster(x):
            convolved: mx.array = super().__call__(x)
            return convolved
        weight = np.asarray(self.weight)[:, :, None, 0]
        bias = np.asarray(self.bias) if "bias" in self else None
        return mx.array(_depthwise(np.asarray(x)[:, :, None], weight, bias, 1, (self.padding, 0))[:, :, 0])


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
        values = _depthwise(values[None], weight, bias, stride, (padding, padding))[0]
        rows = _rectified(values.reshape(-1, values.shape[-1]), over_channels.weight, over_channels.bias)
        values = rows.reshape(*values.shape[:2], -1)
    return mx.array(values)


def _rectified(rows: Floats, weight: mx.array, bias: mx.array) -> Floats:
    """A layer and its relu: (N, D) -> (N, E)."""
    out = _multiplied(rows, np.asarray(weight).reshape(len(bias), -1).T, "product")
    out += np.asarray(bias)
    return np.maximum(out, 0, out=out)


# Where a result goes, by its use and shape: to memory of its own, or to memory that is kept.
_Take = Callable[[str, Sequence[int]], Floats]


def _new(use: str, shape: Sequence[int]) -> Floats:
    return np.empty(shape, np.float32)


def _multiplied(a: Floats, b: Floats, use: str, take: _Take = _scratch.take) -> Floats:
    """(..., U, K) and (..., K, L) -> (..., U, L)."""
    return np.matmul(a, b, out=take(use, (*a.shape[:-1], b.shape[-1])))


def _product(x: Floats, weight: mx.array, bias: mx.array | None, take: _Take) -> Floats:
    """(..., D) and a matrix (E, D) -> (..., E)."""
    rows, matrix = x.reshape(-1, x.shape[-1]), np.asarray(weight)
    if len(rows) == 1:
        out = np.matmul(matrix, rows[0], out=take("product", matrix.shape[:1]))[None]
    elif len(rows) <= _FEW_ROWS:
        out = _multiplied(matrix, rows.T, "product", take).T
    else:
        out = _multiplied(rows, matrix.T, "product", take)
    if bias is not None:
        out += np.asarray(bias)
    return out.reshape(*x.shape[:-1], -1)


def _attend(q: Floats, k: Floats, v: Floats, mask: mx.array | None, take: _Take) -> Floats:
    scores = _multiplied(q * np.float32(q.shape[-1] ** -0.5), k.swapaxes(-1, -2), "scores")
    if mask is not None:
        values = np.asarray(mask)
        if values.dtype == bool:
            np.copyto(scores, -_INFINITY, where=~values)
        else:
            scores += values
    return _multiplied(_softmax(scores), v, "product", take)


def _let_through(values: Floats, gates: Floats) -> Floats:
    """values * sigmoid(gates)."""
    out = np.negative(gates, out=_scratch.take("elements", gates.shape))
    with np.errstate(all="ignore"):  # the exponential may be infinite, which lets 0 through; padding may hold anything
        np.exp(out, out=out)
        out += 1
        return np.divide(values, out, out=out)


def _softmax(scores: Floats) -> Floats:
    """In place."""
    with np.errstate(all="ignore"):  # as above
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        return scores


def _depthwise(x: Floats, weight: Floats, bias: Any, stride: int, padding: tuple[int, int]) -> Floats:
    """(B, T, F, C) and taps (C, P, Q) -> (B, T', F', C)."""
    _, P, Q = weight.shape
    padded = np.pad(x, ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (P, Q), axis=(1, 2))[:, ::stride, ::stride]
    # Taps in which channels lie side by side: then einsum's inner loop runs over channels, and needs no memory between.
    taps = np.ascontiguousarray(weight.transpose(1, 2, 0))
    out = np.einsum("btfcpq,pqc->btfc", windows, taps, out=_scratch.take("elements", windows.shape[:4]))
    if bias is not None:
        out += bias
    return out
