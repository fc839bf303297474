"""Greedy search: at each step the most likely token, for a whole batch.

An end-of-text is final wherever it comes. (NeMo's beam search of size one, the default of its checkpoints, runs on
after an end-of-text that comes first, and its batches mix up prompts of different lengths.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlx_canary.backend import mx
from mlx_canary.decoding.rows import Choice, Rows, Symbols
from mlx_canary.decoding.search import search
from mlx_canary.network.canary import CanaryNetwork
from mlx_canary.types import EncoderOutput, Hypothesis


@dataclass(frozen=True, slots=True)
class Greedy:
    """Chooses the most likely token."""

    n_rows: int = 1
    n_wanted: int = 1
    length_penalty: float = 0.0
    ends_first: bool = True
    follows: bool = False
    refills: bool = True

    def closing(self, symbols: Symbols) -> tuple[int, ...]:
        return (symbols.eos_id,)

    def choose(self, logits: mx.array, norms: mx.array, rows: Rows, eos_id: int) -> Choice:
        tokens = mx.argmax(logits, axis=-1)
        return Choice(tokens, mx.zeros_like(tokens), rows.totals + logits.max(axis=-1) - norms)


def decode_greedy(
    network: CanaryNetwork,
    encoded: EncoderOutput,
    prompts: Sequence[Sequence[int]],
    limits: Sequence[int],
    eos_id: int,
    vocabulary_size: int,
) -> list[Hypothesis]:
    """Decode a batch.

    Args:
        network: Computes; is not changed.
        encoded: Encoder states (B, S, W).
        prompts: Token ids for each item, not empty; lengths may differ.
        limits: How many tokens each item may have at most; with its prompt they must fit the position table.
        eos_id: Ends an item.
        vocabulary_size: Outputs beyond it are padding of the head and are never chosen.

    Returns:
        One hypothesis for each item.
    """
    items = search(network, encoded, prompts, limits, Symbols(eos_id, vocabulary_size), Greedy())
    return [item.hypotheses()[0] for item in items]
