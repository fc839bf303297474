"""Where the decoder looks while it reads a text that is already known: the probabilities of its cross-attention.

Runs the decoder's own modules. Searching never needs the probabilities, and its fused attention never holds them.
"""

from __future__ import annotations

from mlx_canary.backend import mx
from mlx_canary.network.attention import MultiHeadAttention, split_heads
from mlx_canary.network.canary import CanaryNetwork
from mlx_canary.types import EncoderOutput


def cross_attention(network: CanaryNetwork, encoded: EncoderOutput, ids: mx.array) -> list[mx.array]:
    """The cross-attention of a teacher-forced pass.

    Args:
        network: Computes; is not changed.
        encoded: Encoder states (B, S, W).
        ids: (B, U) tokens, the prompt first; shorter items are padded at the end with anything.

    Returns:
        For each decoder layer the probabilities (B, H, U, S) float32. Row u is what the decoder looks at when it has
        read token u and predicts the next; frames past an item's length get nothing.
    """
    B, U = ids.shape
    decoder, cache = network.decoder, network.start(encoded, [0] * B)
    positions = mx.arange(U)
    causal = (positions <= positions[:, None])[None, None]
    x = decoder.embedding(ids, mx.broadcast_to(positions, (B, U)))
    weights = []
    for layer, (keys, values) in zip(decoder.layers, cache.cross, strict=True):
        y = layer.norm_self_attention(x)
        x = x + layer.self_attention(y, *layer.self_attention.keys_values(y), causal)
        query = layer.norm_cross_attention(x)
        weights.append(_probabilities(layer.cross_attention, query, keys, cache.cross_mask))
        x = x + layer.cross_attention(query, keys, values, cache.cross_mask)
        x = x + layer.feed_forward(layer.norm_feed_forward(x))
    return weights


def _probabilities(attention: MultiHeadAttention, x: mx.array, keys: mx.array, mask: mx.array | None) -> mx.array:
    """Queries (B, U, W), keys (B, H, S, K) -> (B, H, U, S) float32."""
    q = split_heads(attention.wq(x), attention.n_heads)
    scores = (q @ keys.swapaxes(-1, -2)).astype(mx.float32) * q.shape[-1] ** -0.5
    return mx.softmax(scores if mask is None else mx.where(mask, scores, -mx.inf), axis=-1)
