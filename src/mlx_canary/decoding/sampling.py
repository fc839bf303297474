"""Sampling: tokens drawn at random, by their probabilities at a temperature."""

from __future__ import annotations

from dataclasses import dataclass

from mlx_canary.backend import mx
from mlx_canary.decoding.rows import Choice, Rows, Symbols


@dataclass(frozen=True, slots=True)
class Sampler:
    """Draws each row's next token.

    The random numbers depend on seed, step and row alone, not on the item, so that an item of a batch gets what it
    would get alone.

    Args:
        n_rows: How many texts to draw for each item.
        temperature: Above zero; below one prefers likely tokens even more.
        seed: Repeats the same texts.
    """

    n_rows: int
    temperature: float
    seed: int
    length_penalty: float = 0.0
    ends_first: bool = True
    follows: bool = True
    refills: bool = False

    @property
    def n_wanted(self) -> int:
        return self.n_rows

    def closing(self, symbols: Symbols) -> tuple[int, ...]:
        return (symbols.eos_id,)

    def choose(self, logits: mx.array, norms: mx.array, rows: Rows, eos_id: int) -> Choice:
        B, R, V = logits.shape
        noise = mx.random.gumbel((self.n_rows, V), key=mx.random.key((self.seed << 16) + rows.n_steps))
        drawn = mx.argmax(logits / self.temperature + noise, axis=-1)
        parents = mx.broadcast_to(mx.arange(self.n_rows) if R > 1 else mx.zeros(self.n_rows, mx.int32), drawn.shape)
        ended = mx.take_along_axis(rows.ended, parents, axis=1)
        tokens = mx.where(ended, eos_id, drawn)
        logprobs = mx.take_along_axis((logits - norms[..., None]).reshape(B, R * V), parents * V + tokens, axis=1)
        totals = mx.take_along_axis(rows.totals, parents, axis=1) + mx.where(ended, 0, logprobs)
        return Choice(tokens, parents, totals)
