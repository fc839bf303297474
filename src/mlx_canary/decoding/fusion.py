"""What phrases and language models add to the network's scores of the next token.

A scorer is a state machine over token ids. Its states are values that the search keeps beside each path, so one scorer
serves any number of paths and searches at the same time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float32]
# One state for each scorer; what it is only the scorer knows.
State = tuple[Any, ...]


class Scorer(Protocol):
    """Boosted phrases, or a language model."""

    @property
    def rewards(self) -> bool:
        """Whether scores can be above zero: then a path that is behind may still come first."""

    def start(self) -> Any:
        """The state before the first token."""

    def scores(self, state: Any) -> Scores:
        """What each token would get in this state, (V,); not to be written to."""

    def advance(self, state: Any, token: int) -> Any:
        """The state after a token."""


class Fusion:
    """Several scorers with their weights, as one.

    Args:
        scorers: At least one, with weights above zero.
    """

    def __init__(self, scorers: Sequence[tuple[Scorer, float]]) -> None:
        self._scorers = tuple(scorers)

    @property
    def rewards(self) -> bool:
        return any(scorer.rewards for scorer, _ in self._scorers)

    def start(self) -> State:
        return tuple(scorer.start() for scorer, _ in self._scorers)

    def scores(self, state: State) -> Scores:
        """The weighted sum of all scorers, (V,)."""
        (first, weight), *others = self._scorers
        total: Scores = weight * first.scores(state[0])
        for (scorer, weight), one in zip(others, state[1:], strict=True):
            total += weight * scorer.scores(one)
        return total

    def advance(self, state: State, token: int) -> State:
        return tuple(scorer.advance(one, token) for (scorer, _), one in zip(self._scorers, state, strict=True))
