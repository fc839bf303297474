"""The search that all ways of decoding share: batches of items, whose places others take when they are done.

Encoder states and prompts in, finished items out. Every item gets what it would get alone, whatever stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from mlx_canary.decoding.batch import Batch, Entry, Measure
from mlx_canary.decoding.fusion import Fusion
from mlx_canary.decoding.paths import Item
from mlx_canary.decoding.rows import Chooser, Symbols
from mlx_canary.network.canary import CanaryNetwork
from mlx_canary.types import EncoderOutput

# A batch is refilled when so many of its places are free: one in eight.
_REFILLS = 8


def search(
    network: CanaryNetwork,
    encoded: EncoderOutput,
    prompts: Sequence[Sequence[int]],
    limits: Sequence[int],
    symbols: Symbols,
    chooser: Chooser,
    fusions: Sequence[Fusion | None] | None = None,
    loop_guard: bool = False,
) -> list[Item]:
    """Decode one batch: encoder states (B, S, W), and for each item what an `Entry` has. The rest as `search_each`."""
    rows = zip(encoded.states, encoded.lengths, prompts, limits, fusions or [None] * len(limits), strict=True)
    entries = [Entry(states[:length], prompt, limit, fusion) for states, length, prompt, limit, fusion in rows]
    found = dict(search_each(network, entries, len(entries), symbols, chooser, None, loop_guard))
    return [found[n] for n in range(len(entries))]


def search_each(
    network: CanaryNetwork,
    entries: Iterable[Entry],
    batch_size: int,
    symbols: Symbols,
    chooser: Chooser,
    measure: Measure | None,
    loop_guard: bool,
    refill: bool | None = None,
) -> Iterator[tuple[int, Item]]:
    """Decode items, several at once.

    Args:
        network: Computes; is not changed.
        entries: Are taken when there is room for them.
        batch_size: Items at once.
        symbols: The vocabulary.
        chooser: The way of decoding.
        measure: Confidence, where it is wanted.
        loop_guard: Whether rows that repeat themselves are given up.
        refill: Whether items may take the places of finished ones while others go on, if the chooser can. None where
            it pays: on a device that takes as long for few rows as for many.

    Yields:
        Items with their numbers, as they are done.
    """
    waiting = _Waiting(entries)
    while taken := waiting.take(batch_size):
        batch = Batch(network, symbols, chooser, measure, loop_guard, taken)
        refills = chooser.refills and (batch.ahead if refill is None else refill)
        yield from batch.collect()
        while batch.n_going:
            batch.advance(may_shrink=not refills or waiting.empty)
            yield from batch.collect()
            # A few at a time: reading prompts takes as long as a step, however many they are.
            if refills and batch.n_going and batch.n_free >= max(1, batch_size // _REFILLS):
                batch.admit(waiting.take(batch.n_free, batch.length))
                yield from batch.collect()


class _Waiting:
    """Items that are not decoded yet, with their numbers."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._coming = enumerate(entries)
        self._next: list[tuple[int, Entry]] = []

    @property
    def empty(self) -> bool:
        if not self._next:
            self._next = list(islice(self._coming, 1))
        return not self._next

    def take(self, n: int, longest_prompt: float = math.inf) -> list[tuple[int, Entry]]:
        """The next ones: up to n, and none after one whose prompt is too long."""
        taken: list[tuple[int, Entry]] = []
        while len(taken) < n and not self.empty and len(self._next[0][1].prompt) <= longest_prompt:
            taken.append(self._next.pop())
        return taken
