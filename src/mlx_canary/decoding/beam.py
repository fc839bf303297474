"""Beam search: at each step the few best texts so far, for a whole batch.

Mirrors NeMo's BeamSearchSequenceGenerator without its faults: it does not notice an end-of-text that comes first, it
gives rows the length penalty of another row, and it mixes up the items of a batch. The first two can be switched on,
to repeat its results; there is no use for the third.
"""

from __future__ import annotations

from dataclasses import dataclass

from mlx_canary.backend import mx
from mlx_canary.decoding.rows import Choice, Rows, Symbols, length_penalty


@dataclass(frozen=True, slots=True)
class Beam:
    """Chooses the best continuations of all rows together.

    Args:
        n_rows: Beam size.
        n_wanted: How many hypotheses are wanted.
        length_penalty: Exponent; above zero prefers longer texts.
        nemo_faults: Repeat NeMo's faults.
    """

    n_rows: int
    n_wanted: int = 1
    length_penalty: float = 0.0
    nemo_faults: bool = False
    follows: bool = True
    refills: bool = False

    @property
    def ends_first(self) -> bool:
        return not self.nemo_faults

    def closing(self, symbols: Symbols) -> tuple[int, ...]:
        if self.nemo_faults and symbols.pad_id is not None:
            return (symbols.eos_id, symbols.pad_id)
        return (symbols.eos_id,)

    def choose(self, logits: mx.array, norms: mx.array, rows: Rows, eos_id: int) -> Choice:
        B, R, V = logits.shape
        totals = rows.totals[..., None] + (logits - norms[..., None])
        # A text that has ended goes on as it is, in one way only.
        itself = mx.where(mx.arange(V) == eos_id, rows.totals[..., None], -mx.inf)
        totals = mx.where(rows.ended[..., None], itself, totals)
        lengths = rows.lengths
        if self.nemo_faults and rows.n_steps == 1:
            lengths = lengths.max(axis=1, keepdims=True)  # only here NeMo counts an end as a token
        penalties = length_penalty(lengths, self.length_penalty)  # (B, R)
        ranked = (totals / penalties[..., None]).reshape(B, R * V)
        best = _largest(ranked, self.n_rows)
        chosen = mx.take_along_axis(ranked, best, axis=1)
        parents, tokens = best // V, best % V
        by = penalties if self.nemo_faults else mx.take_along_axis(penalties, parents, axis=1)
        return Choice(tokens, parents, chosen * by)


def _largest(values: mx.array, n: int) -> mx.array:
    """Where the n largest of each row are, largest first: (B, N) -> (B, n)."""
    best = mx.argpartition(-values, n - 1, axis=1)[:, :n]
    order = mx.argsort(-mx.take_along_axis(values, best, axis=1), axis=1)
    return mx.take_along_axis(best, order, axis=1)
