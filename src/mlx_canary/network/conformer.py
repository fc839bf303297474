"""The FastConformer encoder: features in, one state for every 80 ms out.

Mirrors NeMo's ConformerEncoder with dw_striding subsampling. Batch norm is folded into the depthwise convolution when a
checkpoint is converted. Whatever lies past an item's length never reaches a valid frame, so a batch gives each item
what it would get alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mlx_canary.backend import mx, nn
from mlx_canary.config import EncoderConfig
from mlx_canary.kernels import (
    Array,
    DepthwiseConv1d,
    LayerNorm,
    Linear,
    are_plain,
    gated,
    half_more,
    numpy_is_faster,
    silu,
    where,
)
from mlx_canary.network.attention import LocalRelPositionAttention, RelPositionAttention
from mlx_canary.numpy_kernels import halved

# Encoder frames that a CPU computes at a time.
_PIECE = 32


def subsampled_length(n_frames: int, factor: int) -> int:
    """Encoder frames of so many feature frames: halved, rounding up, once for each stride of two."""
    return -(-n_frames // factor)


def valid_frames(n_frames: int, lengths: Sequence[int]) -> mx.array | None:
    """(B, S) true where a frame belongs to its item; None where all do."""
    if min(lengths) >= n_frames:
        return None
    return mx.arange(n_frames) < mx.array(list(lengths))[:, None]


class Subsampling(nn.Module):
    """Strided convolutions over time and frequency. (B, T, M) -> (B, S, D).

    A full convolution, then for each further halving a depthwise and a pointwise one.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        C = config.subsampling_conv_channels
        n_halvings = int(math.log2(config.subsampling_factor))
        self.first = nn.Conv2d(1, C, 3, stride=2, padding=1)
        self.depthwise = [nn.Conv2d(C, C, 3, stride=2, padding=1, groups=C) for _ in range(n_halvings - 1)]
        self.pointwise = [Linear(C, C) for _ in range(n_halvings - 1)]
        n_bins = subsampled_length(config.feat_in, config.subsampling_factor)
        self.out = Linear(C * n_bins, config.d_model)

    def __call__(self, frames: mx.array, lengths: Sequence[int]) -> mx.array:
        convolve = self._piecewise if numpy_is_faster(frames) and are_plain(self.pointwise) else self._whole
        x = convolve(frames, list(lengths))
        B, S, F, C = x.shape
        # NeMo flattens channel-major.
        return self.out(x.transpose(0, 1, 3, 2).reshape(B, S, C * F))

    def _piecewise(self, frames: mx.array, lengths: list[int]) -> mx.array:
        """A few frames of one item after the other: what the convolutions make of them stays in the CPU's cache."""
        factor = 2 ** (len(self.depthwise) + 1)
        n_states = subsampled_length(frames.shape[1], factor)
        items = []
        for item, length in zip(frames, lengths, strict=True):
            states = [self._piece(item[:length], begin, factor) for begin in range(0, length, _PIECE * factor)]
            missing = n_states - subsampled_length(length, factor)
            items.append(mx.pad(mx.concatenate(states), [(0, missing), (0, 0), (0, 0)]))
        return mx.stack(items)

    def _piece(self, item: mx.array, begin: int, factor: int) -> mx.array:
        """(T, M) from frame `begin` on -> (S, F, C). The first state would miss its left neighbours: it is dropped."""
        first = max(0, begin - factor)
        piece = item[first : begin + _PIECE * factor]
        return halved(piece, self.first, self.depthwise, self.pointwise)[(begin - first) // factor :]

    def _whole(self, frames: mx.array, lengths: list[int]) -> mx.array:
        valid = valid_frames(frames.shape[1], lengths)
        x = (frames if valid is None else mx.where(valid[..., None], frames, 0))[..., None]  # (B, T, M, 1)
        x, lengths = self._halved(nn.relu(self.first(x)), lengths)
        for depthwise, pointwise in zip(self.depthwise, self.pointwise, strict=True):
            x, lengths = self._halved(nn.relu(pointwise(depthwise(x))), lengths)
        return x

    @staticmethod
    def _halved(x: mx.array, lengths: list[int]) -> tuple[mx.array, list[int]]:
        """Zero what lies past the halved lengths: the next convolution must not see it."""
        lengths = [subsampled_length(length, 2) for length in lengths]
        valid = valid_frames(x.shape[1], lengths)
        return (x if valid is None else mx.where(valid[..., None, None], x, 0)), lengths


class FeedForward(nn.Module):
    """Two linear layers with SiLU between."""

    def __init__(self, d_model: int, d_ff: int, bias: bool) -> None:
        super().__init__()
        self.w1 = Linear(d_model, d_ff, bias=bias)
        self.w2 = Linear(d_ff, d_model, bias=bias)

    def __call__(self, x: Array) -> Array:
        return self.w2(silu(self.w1(x)))


class Convolution(nn.Module):
    """The Conformer's convolution module: gate, depthwise convolution over time, norm, SiLU."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        D, bias = config.d_model, config.use_bias
        folded = config.conv_norm_type == "batch_norm"
        self.pointwise1 = Linear(D, 2 * D, bias=bias)
        self.depthwise = DepthwiseConv1d(
            D, D, config.conv_kernel_size, padding=config.conv_kernel_size // 2, groups=D, bias=bias or folded
        )
        if not folded:
            self.norm = LayerNorm(D, eps=1e-5)
        self.pointwise2 = Linear(D, D, bias=bias)

    def __call__(self, x: Array, valid: mx.array | None) -> Array:
        """(B, S, D), (B, S) -> (B, S, D)."""
        x = gated(self.pointwise1(x))
        if valid is not None:
            x = where(valid[..., None], x, 0)
        x = self.depthwise(x)
        if "norm" in self:
            x = self.norm(x)
        return self.pointwise2(silu(x))


class ConformerBlock(nn.Module):
    """Half a feed-forward, attention, convolution, half a feed-forward, each around a residual."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        D, bias = config.d_model, config.use_bias
        attention = (
            LocalRelPositionAttention if config.self_attention_model == "rel_pos_local_attn" else RelPositionAttention
        )
        self.norm_feed_forward1 = LayerNorm(D, eps=1e-5)
        self.feed_forward1 = FeedForward(D, config.d_ff, bias)
        self.norm_attention = LayerNorm(D, eps=1e-5)
        self.attention = attention(D, config.n_heads, config.att_context_size, bias)
        self.norm_conv = LayerNorm(D, eps=1e-5)
        self.conv = Convolution(config)
        self.norm_feed_forward2 = LayerNorm(D, eps=1e-5)
        self.feed_forward2 = FeedForward(D, config.d_ff, bias)
        self.norm_out = LayerNorm(D, eps=1e-5)

    def __call__(self, x: Array, positions: mx.array, valid: mx.array | None) -> Array:
        """(B, S, D), the attention's positions, (B, S) -> (B, S, D)."""
        keys = None if valid is None else valid[:, None, None]
        x = half_more(x, self.feed_forward1(self.norm_feed_forward1(x)))
        x = x + self.attention(self.norm_attention(x), positions, keys)
        x = x + self.conv(self.norm_conv(x), valid)
        x = half_more(x, self.feed_forward2(self.norm_feed_forward2(x)))
        return self.norm_out(x)


class ConformerEncoder(nn.Module):
    """Subsampling and the stack of blocks."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.subsampling_factor = config.subsampling_factor
        self.scale = math.sqrt(config.d_model) if config.xscaling else 1.0
        self.subsampling = Subsampling(config)
        self.blocks = [ConformerBlock(config) for _ in range(config.n_layers)]

    def positions(self, n_frames: int) -> list[mx.array]:
        """What each block needs of the positions of S frames."""
        return [block.attention.positions(n_frames) for block in self.blocks]

    def __call__(self, frames: mx.array, lengths: Sequence[int]) -> tuple[mx.array, tuple[int, ...]]:
        """(B, T, M) and valid frames -> (B, S, D) and valid encoder frames."""
        x = self.subsampling(frames, lengths) * self.scale
        encoded = tuple(subsampled_length(length, self.subsampling_factor) for length in lengths)
        valid = valid_frames(x.shape[1], encoded)
        # All matrices of the blocks have rows of one of these two lengths, by which quantization chooses.
        if numpy_is_faster(x) and are_plain(w for b in self.blocks for w in (b.feed_forward1.w1, b.feed_forward1.w2)):
            return mx.array(self._through(np.asarray(x), valid)), encoded
        return self._through(x, valid), encoded

    def _through(self, x: Array, valid: mx.array | None) -> Array:
        for block, positions in zip(self.blocks, self.positions(x.shape[1]), strict=True):
            x = block(x, positions, valid)
        return x
