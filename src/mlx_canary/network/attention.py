"""The attention of the encoder (relative positions, full or local) and of the decoder (plain).

Mirrors NeMo's RelPositionMultiHeadAttention, RelPositionMultiHeadAttentionLongformer and the decoder's
MultiHeadAttention. NeMo sets masked scores to -10000 and zeroes them after the softmax; minus infinity before it gives
the same float32 numbers, because every row here has at least one allowed key. Rows of padded frames are computed but
meaningless: no other row looks at them.
"""

from __future__ import annotations

import math

from mlx_canary.backend import mx, nn
from mlx_canary.kernels import Array, Linear, attend, matmul, queries, strided, taken, where
from mlx_canary.network.positions import ProjectedPositions


def split_heads(x: Array, n_heads: int) -> Array:
    """(B, S, D) -> (B, H, S, K)."""
    B, S, D = x.shape
    return x.reshape(B, S, n_heads, D // n_heads).transpose(0, 2, 1, 3)


def merge_heads(x: Array) -> Array:
    """(B, H, S, K) -> (B, S, D)."""
    B, H, S, K = x.shape
    return x.transpose(0, 2, 1, 3).reshape(B, S, H * K)


class RelPositionAttention(nn.Module):
    """Self-attention of a Conformer block: content scores plus scores of the distance between the frames."""

    def __init__(self, d_model: int, n_heads: int, context: tuple[int, int], bias: bool) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.context = context
        self.wq = Linear(d_model, d_model, bias=bias)
        self.wk = Linear(d_model, d_model, bias=bias)
        self.wv = Linear(d_model, d_model, bias=bias)
        self.wo = Linear(d_model, d_model, bias=bias)
        self.w_pos = Linear(d_model, d_model, bias=False)
        self.pos_bias_u = mx.zeros((n_heads, d_model // n_heads))
        self.pos_bias_v = mx.zeros((n_heads, d_model // n_heads))
        self._projected = ProjectedPositions()

    def positions(self, n_frames: int) -> mx.array:
        """The projected offsets that `__call__` needs for S frames: (R, D), R = 2 S - 1 offsets."""
        return self._positions(n_frames - 1, 1 - n_frames)

    def _positions(self, first: int, last: int) -> mx.array:
        dtype, d_model = self.pos_bias_u.dtype, self.w_pos.weight.shape[0]
        return self._projected(first, last, d_model, self.w_pos.weight, lambda table: self.w_pos(table.astype(dtype)))

    def __call__(self, x: Array, positions: mx.array, mask: mx.array | None) -> Array:
        """(B, S, D), the layer's positions, (B, 1, 1, S) true where a frame may be looked at -> (B, S, D)."""
        q, k, v = (split_heads(w(x), self.n_heads) for w in (self.wq, self.wk, self.wv))
        p = split_heads(positions[None], self.n_heads)
        by_content, by_position = queries(q, self.pos_bias_u, self.pos_bias_v)
        bias = self._align(matmul(by_position, p.swapaxes(-1, -2)))  # (B, H, S, S)
        allowed = self._allowed(x.shape[1], mask)
        if allowed is not None:
            bias = where(allowed, bias, -math.inf)
        return self.wo(merge_heads(attend(by_content, k, v, bias)))

    def _align(self, scores: Array) -> Array:
        """(B, H, S, 2 S - 1) by offset -> (B, H, S, S) by key: row i, key j reads column S - 1 - i + j."""
        B, H, S, R = scores.shape
        return strided(scores, (B, H, S, S), (H * S * R, S * R, R - 1, 1), S - 1)

    def _allowed(self, n_frames: int, mask: mx.array | None) -> mx.array | None:
        left, right = self.context
        if left < 0 and right < 0:
            return mask
        band = offsets_within(n_frames, left, right)
        # A padded frame may have no valid neighbour; it looks at itself, for a row without a key gives NaN.
        return band if mask is None else (mask & band) | offsets_within(n_frames, 0, 0)


class LocalRelPositionAttention(RelPositionAttention):
    """Attention to `context` frames on each side, with NeMo's own placing of the positional scores.

    NeMo lays the keys of a query out in 2 w + 1 columns, w = max(left, right), and adds the positional scores to the
    first `left` and the last `right + 1` of them. That is the matching offset only where left = right; otherwise some
    offsets get another one's score, or none. Checkpoints were trained that way, so it is reproduced.
    """

    def positions(self, n_frames: int) -> mx.array:
        left, right = self.context
        return self._positions(left, -right)

    def _align(self, scores: Array) -> Array:
        left, right = self.context
        S, w = scores.shape[2], max(left, right)
        column = mx.arange(S)[None] - mx.arange(S)[:, None] + w  # (S, S)
        from_right = column - (2 * w - right)
        source = mx.where(column < left, column, from_right + left)
        scored = ((column >= 0) & (column < left)) | ((from_right >= 0) & (from_right <= right))
        index = mx.broadcast_to(mx.clip(source, 0, left + right), (*scores.shape[:3], S))
        return where(scored, taken(scores, index), 0)


def offsets_within(n_frames: int, left: int, right: int) -> mx.array:
    """(1, 1, S, S), true where key j lies within `left` frames before and `right` after query i; -1 for no bound."""
    offset = mx.arange(n_frames)[None] - mx.arange(n_frames)[:, None]
    within = mx.ones((n_frames, n_frames), mx.bool_)
    if left >= 0:
        within = within & (offset >= -left)
    if right >= 0:
        within = within & (offset <= right)
    return within[None, None]


class MultiHeadAttention(nn.Module):
    """The decoder's attention. Keys and values are projected apart from the attention, so that they can be kept."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.wq = Linear(width, width)
        self.wk = Linear(width, width)
        self.wv = Linear(width, width)
        self.wo = Linear(width, width)

    def keys_values(self, x: Array) -> tuple[Array, Array]:
        """(B, S, W) -> keys and values (B, H, S, K)."""
        return split_heads(self.wk(x), self.n_heads), split_heads(self.wv(x), self.n_heads)

    def queries(self, x: Array) -> Array:
        """(B, U, W) -> (B, H, U, K)."""
        return split_heads(self.wq(x), self.n_heads)

    def merged(self, attended: Array) -> Array:
        """What each head found, (B, H, U, K) -> (B, U, W)."""
        return self.wo(merge_heads(attended))
