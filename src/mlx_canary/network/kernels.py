"""The operations that MLX is slow at on a CPU: exponentials, depthwise convolutions, products with a single row.

On a GPU, and in half precision, they are MLX's own. On a CPU, NumPy computes them in float32. MLX's wheels are built
for any CPU of their kind, so an exponential takes 18 ns (NumPy, with what this CPU has: under 1), a tap of a depthwise
convolution 3 ns (1.4). A product copies its matrix into blocks first, which pays where many rows use them.

Each function computes the same either way, up to rounding. NumPy reads MLX's arrays where they lie, and has them
computed first: here the graph is cut.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mlx_canary.backend import mx, nn

_Floats = npt.NDArray[np.float32]
# Output rows of a convolution at a time: so many bytes stay in a core's cache.
_BLOCK_BYTES = 1 << 19


def numpy_is_faster(x: mx.array) -> bool:
    """Whether these operations are NumPy's for such an array."""
    return x.dtype == mx.float32 and mx.default_device().type == mx.cpu


def silu(x: mx.array) -> mx.array:
    """x * sigmoid(x)."""
    if not numpy_is_faster(x):
        activated: mx.array = nn.silu(x)
        return activated
    values = np.asarray(x)
    return mx.array(values * _sigmoid(values))


def gated(x: mx.array) -> mx.array:
    """(..., 2 D) -> (..., D): the first half, where the second lets it through."""
    if not numpy_is_faster(x):
        through: mx.array = nn.glu(x)
        return through
    values, gates = np.split(np.asarray(x), 2, axis=-1)
    return mx.array(values * _sigmoid(gates))


def attend(q: mx.array, k: mx.array, v: mx.array, mask: mx.array | None) -> mx.array:
    """Attention of queries (B, H, U, K) to keys and values (B, H, L, K) -> (B, H, U, K).

    The mask is broadcastable to (B, H, U, L): true where a key may be looked at, or numbers to add to the scores.
    """
    scale = q.shape[-1] ** -0.5
    if not numpy_is_faster(q):
        return mx.fast.scaled_dot_product_attention(q, k, v, scale=scale, mask=mask)
    scores = (q * scale) @ k.swapaxes(-1, -2)
    if mask is not None:
        scores = mx.where(mask, scores, -mx.inf) if mask.dtype == mx.bool_ else scores + mask
    return mx.array(_softmax(np.asarray(scores))) @ v


def product(x: mx.array, weight: mx.array, bias: mx.array) -> mx.array:
    """(..., D) and a matrix (E, D) -> (..., E)."""
    if x.size != weight.shape[1] or not numpy_is_faster(x):
        return mx.addmm(bias, x, weight.T)
    row = np.asarray(weight) @ np.asarray(x).reshape(-1)
    return mx.array(row).reshape(*x.shape[:-1], -1) + bias


class Linear(nn.Linear):
    """nn.Linear with `product`, for layers that often see a single row."""

    def __call__(self, x: mx.array) -> mx.array:
        return product(x, self.weight, self.bias) if "bias" in self else x @ self.weight.T


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


class DepthwiseConv2d(nn.Conv2d):
    """nn.Conv2d of as many groups as channels, the same in both directions."""

    def __call__(self, x: mx.array) -> mx.array:
        """(B, T, F, C) -> (B, T', F', C)."""
        if not numpy_is_faster(x):
            convolved: mx.array = super().__call__(x)
            return convolved
        weight, bias = np.asarray(self.weight)[..., 0], np.asarray(self.bias)
        return mx.array(_depthwise(np.asarray(x), weight, bias, self.stride[0], self.padding))


def _sigmoid(x: _Floats) -> _Floats:
    with np.errstate(all="ignore"):  # exp(-x) may be infinite, its inverse is 0 then; padded frames may hold anything
        out = np.exp(-x)
        out += 1
        return np.reciprocal(out, out=out)


def _softmax(scores: _Floats) -> _Floats:
    with np.errstate(all="ignore"):  # as above
        out: _Floats = scores - scores.max(axis=-1, keepdims=True)
        np.exp(out, out=out)
        out /= out.sum(axis=-1, keepdims=True)
        return out


def _depthwise(x: _Floats, weight: _Floats, bias: Any, stride: int, padding: tuple[int, int]) -> _Floats:
    """(B, T, F, C) and taps (C, P, Q) -> (B, T', F', C): products with shifted copies, added in blocks of rows."""
    B, T, F, C = x.shape
    _, P, Q = weight.shape
    n_rows, n_columns = ((n + 2 * p - k) // stride + 1 for n, p, k in zip((T, F), padding, (P, Q), strict=True))
    out = np.empty((B, n_rows, n_columns, C), np.float32)
    step = max(1, _BLOCK_BYTES // (n_columns * C * 4))
    for b, start in np.ndindex(B, -(-n_rows // step)):
        block = out[b, start * step : (start + 1) * step]
        seen = _padded_rows(x[b], start * step * stride, (len(block) - 1) * stride + P, padding)
        block[:] = 0 if bias is None else bias
        for i, j in np.ndindex(P, Q):
            shifted = seen[i : i + stride * len(block) : stride, j : j + stride * n_columns : stride]
            block += shifted[: len(block), :n_columns] * weight[:, i, j]
    return out


def _padded_rows(x: _Floats, start: int, n_rows: int, padding: tuple[int, int]) -> _Floats:
    """Rows of (T, F, C) from `start` on, as if it had zeros around it."""
    T, F, C = x.shape
    padded = np.zeros((n_rows, F + 2 * padding[1], C), np.float32)
    first, last = max(0, start - padding[0]), min(T, start - padding[0] + n_rows)
    at = first + padding[0] - start
    padded[at : at + last - first, padding[1] : padding[1] + F] = x[first:last]
    return padded
