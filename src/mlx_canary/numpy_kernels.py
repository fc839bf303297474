"""What a network computes beside its products, by NumPy: exponentials, attention, convolutions.

Arrays in float32 in, arrays out. When these are used is for `kernels`, which says why they exist.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlx_canary import products
from mlx_canary.backend import mx, nn
from mlx_canary.products import Floats
from mlx_canary.threads import in_shares

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
        convolved = convolved_depthwise(values[None], weight, bias, stride, (padding, padding), out)[0]
        rows = _rectified(convolved.reshape(-1, convolved.shape[-1]), over_channels.weight, over_channels.bias)
        values = rows.reshape(*convolved.shape[:2], -1)
    return mx.array(values)


def _rectified(rows: Floats, weight: mx.array, bias: mx.array) -> Floats:
    """A layer and its relu: (N, D) -> (N, E)."""
    out = _scratch.take("rectified", (len(rows), len(bias)))
    np.matmul(rows, np.asarray(weight).reshape(len(bias), -1).T, out=out)
    out += np.asarray(bias)
    return np.maximum(out, 0, out=out)


def let_through(values: Floats, gates: Floats) -> Floats:
    """values * sigmoid(gates)."""
    out = np.negative(gates)
    with np.errstate(all="ignore"):  # the exponential may be infinite, which lets 0 through; padding may hold anything
        np.exp(out, out=out)
        out += 1
        return np.divide(values, out, out=out)


def attended(q: Floats, k: Floats, v: Floats, mask: npt.NDArray[Any] | None) -> Floats:
    """Attention as in `kernels.attend`, in which threads share the items where there is much to read."""
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


def convolved_depthwise(
    x: Floats, weight: Floats, bias: Any, stride: int, padding: tuple[int, int], out: Floats
) -> Floats:
    """(B, T, F, C) and taps (C, P, Q) -> (B, T', F', C)."""
    padded = np.pad(x, ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[1:], axis=(1, 2))[:, ::stride, ::stride]
    # Of taps in which channels lie side by side: einsum's inner loop then runs over channels, without memory between.
    np.einsum("btfcpq,pqc->btfc", windows, np.ascontiguousarray(weight.transpose(1, 2, 0)), out=out)
    if bias is not None:
        out += bias
    return out
