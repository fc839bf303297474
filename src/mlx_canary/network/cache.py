"""What the decoder remembers of one batch while it is decoded. The caller holds it; the network holds nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlx_canary.backend import mx

_GROWTH = 64  # tokens


@dataclass(eq=False, slots=True)
class KeyValueCache:
    """Keys and values of the tokens so far, in buffers that grow by steps."""

    length: int = 0
    _keys: mx.array | None = None
    _values: mx.array | None = None

    def append(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Add (B, H, U, K) and return everything so far, (B, H, L, K)."""
        self._keys = self._grown(self._keys, keys)
        self._values = self._grown(self._values, values)
        end = self.length + keys.shape[2]
        self._keys[:, :, self.length : end] = keys
        self._values[:, :, self.length : end] = values
        self.length = end
        return self._keys[:, :, :end], self._values[:, :, :end]

    def _grown(self, buffer: mx.array | None, new: mx.array) -> mx.array:
        B, H, U, K = new.shape
        needed = self.length + U
        if buffer is not None and buffer.shape[2] >= needed:
            return buffer
        size = -(-needed // _GROWTH) * _GROWTH
        grown = mx.zeros((B, H, size, K), new.dtype)
        if buffer is not None:
            grown[:, :, : self.length] = buffer[:, :, : self.length]
        return grown

    def select(self, rows: mx.array) -> None:
        """Keep these batch rows, in this order."""
        if self._keys is not None and self._values is not None:
            self._keys, self._values = self._keys[rows], self._values[rows]


@dataclass(eq=False, slots=True)
class DecoderCache:
    """State of a batch in the decoder.

    Attributes:
        cross: Keys and values of the encoder states, for each layer, (B, H, S, K).
        cross_mask: (B, 1, 1, S) true for valid encoder frames; None where all are.
        n_pad: (B,) how many padding tokens stand before each item's prompt.
        has_padding: Whether any does.
        tokens: Keys and values of the tokens, for each layer.
    """

    cross: list[tuple[mx.array, mx.array]]
    cross_mask: mx.array | None
    n_pad: mx.array
    has_padding: bool
    tokens: list[KeyValueCache]

    @property
    def length(self) -> int:
        """Tokens so far, padding included."""
        return self.tokens[0].length

    def select(self, rows: Sequence[int]) -> None:
        """Keep these batch rows, in this order; a row may be taken more than once."""
        index = mx.array(list(rows))
        self.cross = [(keys[index], values[index]) for keys, values in self.cross]
        self.cross_mask = None if self.cross_mask is None else self.cross_mask[index]
        self.n_pad = self.n_pad[index]
        for tokens in self.tokens:
            tokens.select(index)
