"""Where the decoder looks while it reads: the probabilities of its cross-attention.

Runs the decoder's own modules. Searching never needs the probabilities, and its fused attention never holds them.
"""

from __future__ import annotations

from mlx_canary.backend import mx
from mlx_canary.kernels import attend, matmul
from mlx_canary.network.cache import DecoderCache
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
        queries, k, v = layer.before_tokens(x)
        x, queries = layer.before_frames(x, attend(queries, k, v, causal))
        weights.append(_probabilities(queries, keys, cache.cross_mask))
        x = layer.after_frames(x, attend(queries, keys, values, cache.cross_mask))
    return weights


def step_with_attention(
    network: CanaryNetwork, ids: mx.array, cache: DecoderCache, layer: int
) -> tuple[mx.array, mx.array]:
    """What `network.step` does, and where one layer looks.

    Args:
        network: Computes; is not changed.
        ids: (B, U) the next tokens.
        cache: Of the batch; the tokens are added to it.
        layer: Of the decoder; negative from the end.

    Returns:
        Logits (B, U, V) and the layer's probabilities (B, H, U, S) float32.
    """
    decoder = network.decoder
    positions, mask = cache.place(ids.shape[1])
    x = decoder.embedding(ids, positions)
    looked_at = layer % len(decoder.layers)
    for n, (module, tokens, cross) in enumerate(zip(decoder.layers, cache.tokens, cache.cross, strict=True)):
        if n != looked_at:
            x = module(x, tokens, mask, cross, cache.cross_mask)
            continue
        queries, *new = module.before_tokens(x)
        x, queries = module.before_frames(x, attend(queries, *tokens.append(*new), mask))
        weights = _probabilities(queries, cross[0], cache.cross_mask)
        x = module.after_frames(x, attend(queries, *cross, cache.cross_mask))
    x = decoder.final_norm(x) if "final_norm" in decoder else x
    return decoder.embedding.logits(x, network.head_bias), weights


def _probabilities(queries: mx.array, keys: mx.array, mask: mx.array | None) -> mx.array:
    """Queries (B, H, U, K), keys (B, H, S, K) -> (B, H, U, S) float32."""
    scores = matmul(queries, keys.swapaxes(-1, -2)).astype(mx.float32) * queries.shape[-1] ** -0.5
    return mx.softmax(scores if mask is None else mx.where(mask, scores, -mx.inf), axis=-1)
