"""The Transformer decoder: tokens and encoder states in, hidden states out.

Mirrors NeMo's TransformerDecoder with pre_ln. NeMo caches every layer's input and projects it anew at each step; here
the projected keys and values are kept instead, which is the same arithmetic done once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple, cast

import numpy as np

from mlx_canary.backend import mx, nn
from mlx_canary.config import DecoderConfig
from mlx_canary.kernels import (
    Array,
    LayerNorm,
    Linear,
    are_plain,
    attend,
    compiling_pays,
    gelu,
    numpy_is_faster,
    product,
    relu,
)
from mlx_canary.network.attention import MultiHeadAttention
from mlx_canary.network.cache import DecoderCache, KeyValueCache


class TokenEmbedding(nn.Module):
    """Token plus position, normalised. The position table is the checkpoint's own."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.token = nn.Embedding(config.output_size, config.hidden_size)
        self.position = mx.zeros((config.max_sequence_length, config.hidden_size))
        self.norm = LayerNorm(config.hidden_size, eps=1e-5)

    def __call__(self, ids: mx.array, positions: mx.array) -> mx.array:
        """(B, U) and (B, U) -> (B, U, W)."""
        embedded: mx.array = self.norm(self.token(ids) + self.position[positions])
        return embedded

    def logits(self, x: mx.array, bias: mx.array) -> mx.array:
        """The head, whose matrix is the table of tokens: (B, U, W), (V,) -> (B, U, V)."""
        if isinstance(self.token, nn.QuantizedEmbedding):
            quantized: mx.array = self.token.as_linear(x)
            return quantized + bias
        return product(x, self.token.weight, bias)


class FeedForward(nn.Module):
    """Two linear layers with the decoder's activation between."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.is_relu = config.hidden_act == "relu"
        self.w1 = Linear(config.hidden_size, config.inner_size)
        self.w2 = Linear(config.inner_size, config.hidden_size)

    def __call__(self, x: Array) -> Array:
        hidden = self.w1(x)
        return self.w2(relu(hidden) if self.is_relu else gelu(hidden))


class _Parts(NamedTuple):
    """A layer without its attention: its shapes do not change with the number of tokens or frames."""

    before_tokens: Callable[..., Any]
    before_frames: Callable[..., Any]
    after_frames: Callable[..., Any]


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention and feed-forward, each behind its norm and around a residual."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        W = config.hidden_size
        self.norm_self_attention = LayerNorm(W, eps=1e-5)
        self.self_attention = MultiHeadAttention(W, config.n_heads)
        self.norm_cross_attention = LayerNorm(W, eps=1e-5)
        self.cross_attention = MultiHeadAttention(W, config.n_heads)
        self.norm_feed_forward = LayerNorm(W, eps=1e-5)
        self.feed_forward = FeedForward(config)

    def __call__(
        self,
        x: Array,
        tokens: KeyValueCache,
        self_mask: mx.array | None,
        cross: tuple[mx.array, mx.array],
        cross_mask: mx.array | None,
    ) -> Array:
        """(B, U, W) -> (B, U, W); the new keys and values are appended to `tokens`."""
        # Prompts come in all lengths: they would be compiled again and again.
        parts = self._compiled if x.shape[1] == 1 and compiling_pays() else self._plain
        queries, keys, values = parts.before_tokens(x)
        x, queries = parts.before_frames(x, attend(queries, *tokens.append(keys, values), self_mask))
        return cast(Array, parts.after_frames(x, attend(queries, *cross, cross_mask)))

    def before_tokens(self, x: Array) -> tuple[Array, Array, Array]:
        """Queries to the tokens, new keys and values."""
        y = self.norm_self_attention(x)
        keys, values = self.self_attention.keys_values(y)
        return self.self_attention.queries(y), keys, values

    def before_frames(self, x: Array, attended: Array) -> tuple[Array, Array]:
        """With what was found in the tokens: (B, U, W), and the queries to the encoder's frames."""
        x = x + self.self_attention.merged(attended)
        return x, self.cross_attention.queries(self.norm_cross_attention(x))

    def after_frames(self, x: Array, attended: Array) -> Array:
        """With what was found in the frames."""
        x = x + self.cross_attention.merged(attended)
        return x + self.feed_forward(self.norm_feed_forward(x))

    @property
    def _plain(self) -> _Parts:
        return _Parts(self.before_tokens, self.before_frames, self.after_frames)

    @cached_property
    def _compiled(self) -> _Parts:
        """The same; the weights are inputs, so that other ones need no other functions."""
        compiled = [cast(Any, mx.compile(part, inputs=[self.state])) for part in self._plain]
        return _Parts(*compiled)


class TransformerDecoder(nn.Module):
    """Embedding, layers and final norm; the head belongs to the network."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.embedding = TokenEmbedding(config)
        self.layers = [DecoderLayer(config) for _ in range(config.n_layers)]
        if config.final_layer_norm:
            self.final_norm = LayerNorm(config.hidden_size, eps=1e-5)

    def start(self, states: mx.array, valid: mx.array | None, n_pad: Sequence[int]) -> DecoderCache:
        """A fresh cache over encoder states (B, S, W), valid where (B, S) is true."""
        cross = [layer.cross_attention.keys_values(states) for layer in self.layers]
        return DecoderCache(
            # Laid out by head: MLX on a CPU copies a transposed array in every product, so at every step.
            cross=[(mx.contiguous(keys), mx.contiguous(values)) for keys, values in cross],
            cross_mask=None if valid is None else valid[:, None, None],
            n_pad=list(n_pad),
            tokens=[KeyValueCache() for _ in self.layers],
        )

    def __call__(self, ids: mx.array, cache: DecoderCache) -> mx.array:
        """The next tokens (B, U) of every item -> hidden states (B, U, W)."""
        positions, mask = cache.place(ids.shape[1])
        # Rows that are already finished may run past the table; nobody reads them.
        last = self.embedding.position.shape[0] - 1
        x = self.embedding(ids, mx.clip(positions, 0, last))
        # All matrices of the layers have rows of one of these two lengths, by which quantization chooses.
        if numpy_is_faster(x) and are_plain(
            w for each in self.layers for w in (each.feed_forward.w1, each.feed_forward.w2)
        ):
            return mx.array(self._through(np.asarray(x), cache, mask))
        return self._through(x, cache, mask)

    def _through(self, x: Array, cache: DecoderCache, mask: mx.array | None) -> Array:
        for layer, tokens, cross in zip(self.layers, cache.tokens, cache.cross, strict=True):
            x = layer(x, tokens, mask, cross, cache.cross_mask)
        return self.final_norm(x) if "final_norm" in self else x
