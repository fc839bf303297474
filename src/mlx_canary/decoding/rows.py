"""What the search and the ways of choosing say to each other: rows of a batch, on the device.

An item is one row in greedy search and several in the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

from mlx_canary.backend import mx

_Number = TypeVar("_Number", float, mx.array)


@dataclass(frozen=True, slots=True)
class Symbols:
    """What a search must know about the vocabulary.

    Attributes:
        eos_id: Ends a text.
        size: Outputs beyond it are padding of the head and are never chosen.
        pad_id: Ends a text too, but only in NeMo's beam search.
        no_speech_id: Says that nobody speaks; None where there is no such token.
    """

    eos_id: int
    size: int
    pad_id: int | None = None
    no_speech_id: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Where the rows of a batch stand; each array is (B, R).

    Attributes:
        totals: Summed scores.
        ended: Whether the text has ended.
        lengths: Tokens, the prompt's included, the ends' not.
        n_steps: How often tokens were chosen.
    """

    totals: mx.array
    ended: mx.array
    lengths: mx.array
    n_steps: int

    def select(self, items: mx.array) -> Rows:
        """Keep these items."""
        return Rows(self.totals[items], self.ended[items], self.lengths[items], self.n_steps)

    def replace(self, places: mx.array, fresh: Rows) -> Rows:
        """Put other items, which begin, in these places; `n_steps` is that of the others."""
        totals, ended, lengths = (mx.array(array) for array in (self.totals, self.ended, self.lengths))
        totals[places], ended[places], lengths[places] = fresh.totals, fresh.ended, fresh.lengths
        return Rows(totals, ended, lengths, self.n_steps)


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The rows of the next step, (B, R) each: row r continues row `parents[r]` of the step before."""

    tokens: mx.array
    parents: mx.array
    totals: mx.array


def length_penalty(n_tokens: _Number, exponent: float) -> _Number:
    """What a text's total is divided by; its tokens count with the prompt's, and NeMo adds one."""
    penalty: _Number = ((5 + 1 + n_tokens) / 6) ** exponent
    return penalty


class Chooser(Protocol):
    """A way of decoding."""

    @property
    def n_rows(self) -> int:
        """How many rows each item has."""

    @property
    def n_wanted(self) -> int:
        """How many finished texts are wanted; an item ends when so many cannot be overtaken."""

    @property
    def length_penalty(self) -> float:
        """The exponent of the penalty that orders the texts."""

    @property
    def ends_first(self) -> bool:
        """Whether a text may end before it began. (In NeMo's beam search it may not.)"""

    @property
    def follows(self) -> bool:
        """Whether its choices depend on which rows have ended and how long they are; else nobody keeps count."""

    @property
    def refills(self) -> bool:
        """Whether an item may begin while others go on: its choices depend neither on `n_steps` nor on other rows."""

    def closing(self, symbols: Symbols) -> tuple[int, ...]:
        """The tokens that end a text."""

    def choose(self, logits: mx.array, norms: mx.array, rows: Rows, eos_id: int) -> Choice:
        """From logits (B, R, V), whose log-sum-exps are (B, R), to the next step's rows."""
