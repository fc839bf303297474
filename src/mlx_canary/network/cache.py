"""What the decoder remembers of one batch while it is decoded. The caller holds it; the network holds nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlx_canary.backend import mx
from mlx_canary.kernels import Array, Floats

_GROWTH = 64  # tokens


@dataclass(eq=False, slots=True)
class KeyValueCache:
    """Keys and values of the tokens so far, in buffers that grow by steps."""

    length: int = 0
    _keys: mx.array | None = None
    _values: mx.array | None = None

    def append(self, keys: Array, values: Array) -> tuple[Array, Array]:
        """Add (B, H, U, K) and return everything so far, (B, H, L, K)."""
        self._keys, self._values = self._grown(self._keys, keys), self._grown(self._values, values)
        start, self.length = self.length, self.length + keys.shape[2]
        return _written(self._keys, start, keys), _written(self._values, start, values)

    def _grown(self, buffer: mx.array | None, new: mx.array | Floats) -> mx.array:
        B, H, U, K = new.shape
        needed = self.length + U
        if buffer is not None and buffer.shape[2] >= needed:
            return buffer
        size = -(-needed // _GROWTH) * _GROWTH
        grown = mx.zeros((B, H, size, K), new.dtype if isinstance(new, mx.array) else mx.float32)
        if buffer is not None:
            grown[:, :, : self.length] = buffer[:, :, : self.length]
        return grown

    def select(self, rows: mx.array) -> None:
        """Keep these batch rows, in this order."""
        if self._keys is not None and self._values is not None:
            self._keys, self._values = self._keys[rows], self._values[rows]

    def put(self, places: Sequence[int], fresh: KeyValueCache) -> None:
        """Give these batch rows to a younger cache's: their tokens end where this one's do."""
        assert self._keys is not None
        assert self._values is not None
        behind = (self.length - fresh.length, self._keys.shape[2] - self.length)
        for buffer, rows in ((self._keys, fresh._keys), (self._values, fresh._values)):
            assert rows is not None
            _place(buffer, mx.pad(rows[:, :, : fresh.length], [(0, 0), (0, 0), behind, (0, 0)]), places)

    def forget(self, n_tokens: int) -> None:
        """Drop the first so many tokens."""
        assert self._keys is not None
        assert self._values is not None
        self._keys = mx.contiguous(self._keys[:, :, n_tokens:])
        self._values = mx.contiguous(self._values[:, :, n_tokens:])
        self.length -= n_tokens

    def pick(self, columns: mx.array) -> None:
        """Keep these tokens of each item, (B, L)."""
        assert self._keys is not None
        assert self._values is not None
        index = columns[:, None, :, None]
        self._keys = mx.take_along_axis(self._keys, index, axis=2)
        self._values = mx.take_along_axis(self._values, index, axis=2)
        self.length = columns.shape[1]


@dataclass(eq=False, slots=True)
class DecoderCache:
    """State of a batch in the decoder.

    An item is one row of tokens, or, after `branch`, several that share a beginning. All rows of an item keep their
    tokens in one pool, and `seen` says which of them each row descends from. So nothing is copied when rows are
    reordered, and the keys and values of prompt and encoder exist once for all rows of an item.

    Attributes:
        cross: Keys and values of the encoder states, for each layer, (B, H, S, K).
        cross_mask: (B, 1, 1, S) true for valid encoder frames; None where all are.
        n_pad: How many padding tokens stand before each item's prompt.
        tokens: Keys and values of the tokens, for each layer.
        steps: Tokens in a row so far, padding included.
        seen: (B, R, L) which tokens of the pool each of R rows is made of; None while every item is a single row.
    """

    cross: list[tuple[mx.array, mx.array]]
    cross_mask: mx.array | None
    n_pad: list[int]
    tokens: list[KeyValueCache]
    steps: int = 0
    seen: mx.array | None = None
    _compacted: int = 0
    _on_device: mx.array | None = None

    @property
    def _padding(self) -> mx.array:
        """`n_pad` as (B, 1), on the device: a GPU waits long for what comes from the host, and would at every step."""
        if self._on_device is None:
            self._on_device = mx.array(self.n_pad)[:, None] + 0
        return self._on_device

    def _pad(self, n_pad: list[int]) -> None:
        self.n_pad, self._on_device = n_pad, None

    @property
    def length(self) -> int:
        """Tokens kept so far, padding included."""
        return self.tokens[0].length

    def rewind(self, n_tokens: int) -> None:
        """Forget all tokens but the first so many; only while every item is a single row."""
        assert self.seen is None
        self.steps = n_tokens
        for tokens in self.tokens:
            tokens.length = n_tokens

    def place(self, n_tokens: int) -> tuple[mx.array, mx.array | None]:
        """Make room for the next U tokens: their positions (B, U), and what each may look at, (B, 1, U, L).

        In an item of several rows they are the next token of each row.
        """
        first, self.steps = self.steps, self.steps + (n_tokens if self.seen is None else 1)
        if self.seen is not None:
            B, R, _ = self.seen.shape
            itself = mx.broadcast_to(mx.eye(R, dtype=mx.bool_), (B, R, R))
            self.seen = mx.concatenate([self.seen, itself], axis=-1)
            return mx.broadcast_to(first - self._padding, (B, R)), self.seen[:, None]
        index = mx.arange(first, self.steps)
        return index - self._padding, self._chain_mask(index)

    def _chain_mask(self, index: mx.array) -> mx.array | None:
        """(B, 1, U, L): earlier tokens and itself, but no padding (which may look at itself, to have something)."""
        if len(index) == 1 and not any(self.n_pad):
            return None
        keys = mx.arange(self.steps)
        causal = keys <= index[:, None]
        if not any(self.n_pad):
            return causal[None, None]
        real = keys >= self._padding[..., None]
        return ((causal & real) | (keys == index[:, None]))[:, None]

    def branch(self, parents: mx.array) -> None:
        """From now on each item has R rows, which continue the rows `parents`, (B, R)."""
        if self.seen is None:
            real = mx.arange(self.length) >= self._padding[..., None]
            self.seen = mx.broadcast_to(real, (len(self.n_pad), parents.shape[1], self.length))
            self._compacted = self.length
            return
        self.seen = mx.take_along_axis(self.seen, parents[..., None], axis=1)
        if self.length - self._compacted >= _GROWTH * parents.shape[1]:
            self._compact(self.seen)

    def _compact(self, seen: mx.array) -> None:
        """Forget the tokens that no row descends from."""
        used = seen.any(axis=1)  # (B, L)
        n_kept = int(np.array(used).sum(axis=1).max())
        unused = mx.logical_not(used).astype(mx.uint8)  # Metal sorts no booleans
        columns = mx.argsort(unused, axis=1)[:, :n_kept]
        self.seen = mx.take_along_axis(seen, columns[:, None], axis=2)
        for tokens in self.tokens:
            tokens.pick(columns)
        self._compacted = n_kept

    def select(self, rows: Sequence[int]) -> None:
        """Keep these items, in this order; an item may be taken more than once."""
        index = mx.array(list(rows))
        self.cross = [(keys[index], values[index]) for keys, values in self.cross]
        self.cross_mask = None if self.cross_mask is None else self.cross_mask[index]
        self._pad([self.n_pad[row] for row in rows])
        self.seen = None if self.seen is None else self.seen[index]
        for tokens in self.tokens:
            tokens.select(index)

    def replace(self, places: Sequence[int], fresh: DecoderCache) -> None:
        """Give the places of finished items to a younger cache's; only while every item is a single row.

        Args:
            places: Of as many items as the younger cache has.
            fresh: Must not hold more tokens than this one.
        """
        assert self.seen is None
        missing = self.length - fresh.length
        self.cross_mask = _put(_frames_mask(self), _frames_mask(fresh), places, axis=3)
        for n, (old, new) in enumerate(zip(self.cross, fresh.cross, strict=True)):
            self.cross[n] = (_put(old[0], new[0], places), _put(old[1], new[1], places))
        for tokens, others in zip(self.tokens, fresh.tokens, strict=True):
            tokens.put(places, others)
        moved = dict(zip(places, [n_pad + missing for n_pad in fresh.n_pad], strict=True))
        self._pad([moved.get(place, n_pad) for place, n_pad in enumerate(self.n_pad)])
        if (n_unused := min(self.n_pad)) >= _GROWTH:
            self._forget(n_unused)

    def _forget(self, n_tokens: int) -> None:
        """Drop the first so many tokens, which are padding in every row."""
        self._pad([n - n_tokens for n in self.n_pad])
        self.steps -= n_tokens
        for tokens in self.tokens:
            tokens.forget(n_tokens)


def _written(buffer: mx.array, start: int, rows: Array) -> Array:
    """Put rows (B, H, U, K) into a buffer (B, H, N, K), and return it up to their end."""
    end = start + rows.shape[2]
    if isinstance(rows, np.ndarray):
        memory: Floats = np.asarray(buffer)  # the buffer's own
        memory[:, :, start:end] = rows
        return memory[:, :, :end]
    buffer[:, :, start:end] = rows
    return buffer[:, :, :end]


def _frames_mask(cache: DecoderCache) -> mx.array:
    """(B, 1, 1, S)"""
    if cache.cross_mask is not None:
        return cache.cross_mask
    keys = cache.cross[0][0]
    return mx.ones((keys.shape[0], 1, 1, keys.shape[2]), mx.bool_)


def _put(buffer: mx.array, rows: mx.array, places: Sequence[int], axis: int = 2) -> mx.array:
    """The buffer with other rows at some places; whichever has fewer frames gets more, of zeros."""
    missing = buffer.shape[axis] - rows.shape[axis]
    buffer, rows = _longer(buffer, -missing, axis), _longer(rows, missing, axis)
    _place(buffer, rows, places)
    return buffer


def _place(buffer: mx.array, rows: mx.array, places: Sequence[int]) -> None:
    """Put each row into the buffer's row of its place: slices are copied, an index of several rows is scattered."""
    for n, place in enumerate(places):
        buffer[place : place + 1] = rows[n : n + 1]


def _longer(x: mx.array, missing: int, axis: int) -> mx.array:
    return mx.pad(x, [(0, missing if n == axis else 0) for n in range(4)]) if missing > 0 else x
