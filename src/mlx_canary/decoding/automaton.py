"""A weighted automaton with back-off, the common form of n-gram models and boosting trees.

A state has scores for a few tokens of its own. Every other token is scored by the state's back-off state, plus the
back-off weight, and so on down to the root (state 0), which scores the whole vocabulary.

The tables stay sparse: a phrase list or a language model has many thousands of states, and dense rows for all of them
would need gigabytes at 16384 tokens. A search visits few, so a row is made when it is asked for: one copy of the
root's row, then one indexed assignment for each back-off on the way, some ten microseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mlx_canary.decoding.fusion import Scores

ROOT = 0
Int32s = npt.NDArray[np.int32]


class Arc(NamedTuple):
    """From a state by a token to another state."""

    source: int
    token: int
    score: float
    target: int


class BackoffAutomaton:
    """The tables.

    Args:
        root: The root's score for each token, (V,).
        arcs: The other states' own scores, and the root's arcs that lead somewhere else than to the root.
        backoff_to: For each state, where it backs off to; the root's is itself.
        backoff_scores: For each state, what backing off adds.
    """

    def __init__(
        self, root: Scores, arcs: Sequence[Arc], backoff_to: Sequence[int], backoff_scores: Sequence[float]
    ) -> None:
        arcs = sorted(arcs)
        sources = np.array([arc.source for arc in arcs], np.int32)
        self._tokens: Int32s = np.array([arc.token for arc in arcs], np.int32)
        self._scores: Scores = np.array([arc.score for arc in arcs], np.float32)
        self._targets: Int32s = np.array([arc.target for arc in arcs], np.int32)
        self._first = np.searchsorted(sources, np.arange(len(backoff_to) + 1)).tolist()
        self._backoff_to = list(backoff_to)
        self._backoff_scores = list(backoff_scores)
        self._root = np.array(root, np.float32)
        n_arcs = self._first[1]  # of the root
        self._root[self._tokens[:n_arcs]] = self._scores[:n_arcs]

    def row(self, state: int) -> Scores:
        """What each token gets in a state, (V,), a new array."""
        way, offsets, offset = [], [], 0.0
        while state != ROOT:
            way.append(state)
            offsets.append(offset)
            offset += self._backoff_scores[state]
            state = self._backoff_to[state]
        row: Scores = self._root + np.float32(offset)
        for one, added in zip(reversed(way), reversed(offsets), strict=True):
            first, end = self._first[one], self._first[one + 1]
            row[self._tokens[first:end]] = self._scores[first:end] + np.float32(added)
        return row

    def back_off(self, state: int) -> tuple[int, float]:
        """Where a state backs off to, and what that adds."""
        return self._backoff_to[state], self._backoff_scores[state]

    def advance(self, state: int, token: int) -> int:
        """The state after a token."""
        while True:
            first, end = self._first[state], self._first[state + 1]
            i = first + int(np.searchsorted(self._tokens[first:end], token))
            if i < end and self._tokens[i] == token:
                return int(self._targets[i])
            if state == ROOT:
                return ROOT
            state = self._backoff_to[state]
