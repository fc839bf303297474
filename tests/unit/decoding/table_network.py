"""A network whose answer depends on the last token only, from a table: small enough to reason about a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlx_canary.backend import mx
from mlx_canary.types import EncoderOutput

START, EOS = 0, 1


@dataclass
class TableCache:
    """Which item stands in which row."""

    items: list[int]

    def branch(self, parents: mx.array) -> None:
        """Nothing: the answer depends on the last token only."""

    def select(self, rows: Sequence[int]) -> None:
        self.items = [self.items[row] for row in rows]


class TableNetwork:
    """Probabilities of the next token for each last token; one table (V, V) for all items or one for each."""

    def __init__(self, *tables: list[list[float]]) -> None:
        self.tables = np.log(np.maximum(np.array(tables, np.float32), 1e-9))

    def start(self, encoded: EncoderOutput, n_pad: Sequence[int]) -> TableCache:
        return TableCache([i % len(self.tables) for i in range(len(n_pad))])

    def step(self, ids: mx.array, cache: TableCache) -> mx.array:
        return mx.array(np.stack([self.tables[i][np.array(row)] for i, row in zip(cache.items, ids, strict=True)]))


def encoded(n_items: int = 1) -> EncoderOutput:
    """Encoder states that nobody looks at."""
    return EncoderOutput(mx.zeros((n_items, 1, 1)), (1,) * n_items)


def table(size: int, **rows: list[float]) -> list[list[float]]:
    """A table whose row `t3` is what follows token 3; other rows end the text."""
    ends = [0.0] * size
    ends[EOS] = 1.0
    return [rows.get(f"t{i}", ends) for i in range(size)]
