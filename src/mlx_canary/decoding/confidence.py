"""How sure the network was of each token.

Mirrors NeMo's ConfidenceMethodConfig and its measures: the largest probability, or an entropy (Gibbs, Tsallis or Renyi)
of the whole distribution, brought to the range from 0 (uniform) to 1 (certain).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mlx_canary.backend import mx
from mlx_canary.errors import PromptError

NAMES = ("max_prob", "entropy")
ENTROPY_TYPES = ("gibbs", "tsallis", "renyi")
ENTROPY_NORMS = ("lin", "exp")
_LARGEST_ALPHA = 10  # above it the powers of thousands of tokens leave the range of numbers


@dataclass(frozen=True, slots=True)
class ConfidenceMethod:
    """A measure, with NeMo's names and defaults.

    Attributes:
        name: `max_prob` or `entropy`.
        entropy_type: `gibbs`, `tsallis` or `renyi`.
        alpha: The power that probabilities are taken to first; with 1 all three entropies are Gibbs'.
        entropy_norm: `lin` or `exp`, how an entropy becomes a number from 0 to 1.
    """

    name: str = "entropy"
    entropy_type: str = "tsallis"
    alpha: float = 0.33
    entropy_norm: str = "exp"

    def __post_init__(self) -> None:
        for what, allowed in (("name", NAMES), ("entropy_type", ENTROPY_TYPES), ("entropy_norm", ENTROPY_NORMS)):
            if getattr(self, what) not in allowed:
                raise PromptError(f"confidence {what}={getattr(self, what)!r} is not one of: {', '.join(allowed)}.")
        if not 0 < self.alpha <= _LARGEST_ALPHA:
            raise PromptError(f"confidence alpha={self.alpha} must be above 0 and at most {_LARGEST_ALPHA}.")

    def __call__(self, logprobs: mx.array) -> mx.array:
        """Log-probabilities (..., V) -> confidences (...), from 0 to 1.

        V counts all outputs, as in NeMo, the head's padding included.
        """
        return mx.clip(self._measure(logprobs, float(logprobs.shape[-1]), self.alpha), 0, 1)

    def _measure(self, x: mx.array, V: float, alpha: float) -> mx.array:
        if self.name == "max_prob":
            return (mx.exp(x.max(axis=-1) * alpha) * math.pow(V, alpha) - 1) / (math.pow(V, alpha) - 1)
        if self.entropy_type == "gibbs" or alpha == 1:
            return _gibbs(x, V, alpha, self.entropy_norm)
        power_sum = mx.exp(x * alpha).sum(axis=-1)
        if self.entropy_type == "tsallis":
            return _tsallis(power_sum, V, alpha, self.entropy_norm)
        return _renyi(power_sum, V, alpha, self.entropy_norm)


def _gibbs(x: mx.array, V: float, alpha: float, norm: str) -> mx.array:
    negative = (mx.exp(x * alpha) * x).sum(axis=-1)
    if norm == "lin":
        return 1 + negative / (math.log(V) * math.pow(V, 1 - alpha))
    least = math.pow(V, -alpha * math.pow(V, 1 - alpha))
    return (mx.exp(alpha * negative) - least) / (1 - least)


def _tsallis(power_sum: mx.array, V: float, alpha: float, norm: str) -> mx.array:
    if norm == "lin":
        return 1 + (1 - power_sum) / (math.pow(V, 1 - alpha) - 1)
    least = math.exp((1 - math.pow(V, 1 - alpha)) / (1 - alpha))
    return (mx.exp((1 - power_sum) / (1 - alpha)) - least) / (1 - least)


def _renyi(power_sum: mx.array, V: float, alpha: float, norm: str) -> mx.array:
    if norm == "lin":
        return 1 + mx.log(power_sum) / ((alpha - 1) * math.log(V))
    return (V * power_sum ** (1 / (alpha - 1)) - 1) / (V - 1)
