"""The auxiliary CTC model that canary-1b-v2 carries for word times: an encoder and one linear layer.

Mirrors NeMo's EncDecCTCModelBPE with a ConvASRDecoder. The blank is the last output.
"""

from __future__ import annotations

from mlx_canary.backend import mx, nn
from mlx_canary.config import AlignerConfig
from mlx_canary.kernels import Linear
from mlx_canary.network.conformer import ConformerEncoder
from mlx_canary.types import Features


class CTCNetwork(nn.Module):
    """Log-probabilities of the vocabulary and the blank for every 80 ms."""

    def __init__(self, config: AlignerConfig) -> None:
        super().__init__()
        self.encoder = ConformerEncoder(config.encoder)
        self.out = Linear(config.encoder.d_model, config.tokenizer.size + 1)

    def __call__(self, features: Features) -> tuple[mx.array, tuple[int, ...]]:
        """Features (B, T, M) -> (B, S, V + 1) float32 log-probabilities, and valid frames."""
        states, lengths = self.encoder(features.frames.astype(self.out.bias.dtype), features.lengths)
        logits = self.out(states).astype(mx.float32)
        return logits - mx.logsumexp(logits, axis=-1, keepdims=True), lengths
