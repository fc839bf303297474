"""The whole network: encoder, projection, decoder and head. It only computes.

Knows nothing about tokens' meaning, prompts, files or search.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlx_canary.backend import mx, nn
from mlx_canary.config import ModelConfig
from mlx_canary.kernels import Linear
from mlx_canary.network.cache import DecoderCache
from mlx_canary.network.conformer import ConformerEncoder, valid_frames
from mlx_canary.network.decoder import TransformerDecoder
from mlx_canary.types import EncoderOutput, Features

# The encoder hears at most so many feature frames (two minutes) at once: more would gain it nothing, while 30 s take
# some 300 MB. The decoder gains from all rows that it gets, for it reads its weights once for all of them.
_FRAMES_AT_ONCE = 12_000


class CanaryNetwork(nn.Module):
    """NeMo's EncDecMultiTaskModel without its data handling."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.encoder = ConformerEncoder(config.encoder)
        if config.encoder.d_model != config.decoder.hidden_size:
            self.projection = Linear(config.encoder.d_model, config.decoder.hidden_size)
        self.decoder = TransformerDecoder(config.decoder)
        self.head_bias = mx.zeros((config.decoder.output_size,))

    @property
    def dtype(self) -> mx.Dtype:
        """What the network computes in."""
        return self.head_bias.dtype

    def encode(self, features: Features) -> EncoderOutput:
        """Features (B, T, M) -> states (B, S, W)."""
        frames, lengths = features.frames.astype(self.dtype), features.lengths
        n_rows = max(1, _FRAMES_AT_ONCE // frames.shape[1])
        parts = []
        for start in range(0, len(lengths), n_rows):
            rows = slice(start, start + n_rows)
            parts.append(self._encode(frames[rows], lengths[rows]))
            if n_rows < len(lengths):
                mx.eval(parts[-1].states)  # so that the memory is free for the next ones
        encoded = tuple(length for part in parts for length in part.lengths)
        return EncoderOutput(mx.concatenate([part.states for part in parts]), encoded)

    def _encode(self, frames: mx.array, lengths: Sequence[int]) -> EncoderOutput:
        states, encoded = self.encoder(frames, lengths)
        return EncoderOutput(self.project(states), encoded)

    def project(self, states: mx.array) -> mx.array:
        """Encoder states (B, S, D) to the decoder's width, (B, S, W)."""
        return self.projection(states) if "projection" in self else states

    def start(self, encoded: EncoderOutput, n_pad: Sequence[int]) -> DecoderCache:
        """The decoder's memory at the beginning of a batch, whose prompts are padded in front by `n_pad` tokens."""
        valid = valid_frames(encoded.states.shape[1], encoded.lengths)
        return self.decoder.start(encoded.states, valid, n_pad)

    def step(self, ids: mx.array, cache: DecoderCache) -> mx.array:
        """The next tokens (B, U) -> logits of what follows each of them, (B, U, V)."""
        return self.decoder.embedding.logits(self.decoder(ids, cache), self.head_bias)
