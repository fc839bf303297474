"""What has been decoded of one item so far, on the host: its paths, and when it is done.

Knows nothing about the network or about how tokens are chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from mlx_canary.decoding.fusion import Fusion, State
from mlx_canary.decoding.loops import find_loop
from mlx_canary.decoding.rows import Chooser, length_penalty
from mlx_canary.types import Hypothesis

# Enough to put a path behind every other one.
_GIVEN_UP = -1e4


@dataclass(slots=True)
class Path:
    """One possible text, which grows in place."""

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    confidences: list[float] | None = None
    total: float = 0.0
    ended: bool = False
    looping: bool = False
    state: State = ()

    def copy(self) -> Path:
        """The same text, to be continued in another way."""
        confidences = None if self.confidences is None else [*self.confidences]
        return replace(self, tokens=[*self.tokens], logprobs=[*self.logprobs], confidences=confidences)


@dataclass(slots=True)
class Item:
    """One item of a batch.

    Attributes:
        limit: How many tokens it may have.
        prompt_length: Tokens of its prompt.
        chooser: The way of decoding; the item is done when as many paths as it wants have ended and none can overtake.
        closing: The tokens that end a text.
        fusion: What is added to its scores.
        loop_guard: Whether paths that repeat themselves are given up.
        no_speech_prob: Probability that nobody speaks.
        paths: In the order of the device's rows.
        done: Nothing more is added.
    """

    limit: int
    prompt_length: int
    chooser: Chooser
    closing: tuple[int, ...]
    fusion: Fusion | None
    loop_guard: bool
    no_speech_prob: float | None = None
    paths: list[Path] = field(default_factory=list)
    done: bool = False
    _n_steps: int = 0

    def __post_init__(self) -> None:
        self.paths = [Path(state=() if self.fusion is None else self.fusion.start())]
        self.done = self.limit <= 0

    def add(
        self,
        tokens: Sequence[float],
        parents: Sequence[float],
        totals: Sequence[float],
        logprobs: Sequence[float],
        confidences: Sequence[float] | None = None,
    ) -> None:
        """One step: row r continues the path `parents[r]` with `tokens[r]`."""
        self._n_steps += 1
        alone = len(tokens) == len(self.paths) == 1  # a batch has hundreds of such items: nothing is copied for them
        if not alone:
            self.paths = [self.paths[int(parent)].copy() for parent in parents]
        measured = [None] * len(tokens) if confidences is None else confidences
        for path, token, total, logprob, confidence in zip(self.paths, tokens, totals, logprobs, measured, strict=True):
            self._extend(path, int(token), total, logprob, confidence)
        self.done = (
            self._n_steps >= self.limit
            or all(path.ended or path.looping for path in self.paths)
            or (not alone and self._cannot_be_overtaken())
        )

    def _extend(self, path: Path, token: int, total: float, logprob: float, confidence: float | None) -> None:
        path.total = total  # NeMo's length penalty by row moves it even after the end
        if path.ended:
            return
        if confidence is not None and path.confidences is None:
            path.confidences = []
        if token in self.closing and (self._n_steps > 1 or self.chooser.ends_first):
            path.ended, path.looping = True, False
            return
        path.tokens.append(token)
        path.logprobs.append(logprob)
        if path.confidences is not None and confidence is not None:
            path.confidences.append(confidence)
        path.looping = self.loop_guard and find_loop(path.tokens) is not None
        if self.fusion is not None:
            path.state = self.fusion.advance(path.state, token)

    def _cannot_be_overtaken(self) -> bool:
        """Whether the wanted paths have ended and every other is behind for good: totals only fall."""
        ended = sorted((self._rank(path) for path in self.paths if path.ended), reverse=True)
        if len(ended) < self.chooser.n_wanted or (self.fusion is not None and self.fusion.rewards):
            return False
        hopes = [
            path.total / max(self._penalty(len(path.tokens)), self._penalty(self.limit))
            for path in self.paths
            if not (path.ended or path.looping)
        ]
        return all(hope <= ended[self.chooser.n_wanted - 1] for hope in hopes)

    def _rank(self, path: Path) -> float:
        total = path.total + (_GIVEN_UP if path.looping else 0.0)
        return total / self._penalty(sum(token not in self.closing for token in path.tokens))

    def _penalty(self, n_tokens: int) -> float:
        return length_penalty(float(self.prompt_length + n_tokens), self.chooser.length_penalty)

    def bonus(self, vocabulary_size: int) -> npt.NDArray[np.float32] | None:
        """What to add to the paths' scores of the next token, (R, V)."""
        if self.done or (self.fusion is None and not any(path.looping for path in self.paths)):
            return None
        bonus = np.zeros((len(self.paths), vocabulary_size), np.float32)
        for row, path in zip(bonus, self.paths, strict=True):
            if self.fusion is not None and not path.ended:
                row += self.fusion.scores(path.state)
            if path.looping:
                row += _GIVEN_UP
        return bonus

    def hypotheses(self) -> list[Hypothesis]:
        """All paths, best first."""
        return [self._hypothesis(path) for path in sorted(self.paths, key=self._rank, reverse=True)]

    def _hypothesis(self, path: Path) -> Hypothesis:
        n = len(path.tokens)
        while n and path.tokens[n - 1] in self.closing:  # NeMo's search can go on after an end
            n -= 1
        confidences = path.confidences
        return Hypothesis(
            tokens=tuple(path.tokens[:n]),
            token_logprobs=tuple(path.logprobs[:n]),
            finished=path.ended,
            score=path.total,
            token_confidences=None if confidences is None else tuple(confidences[:n]),
            no_speech_prob=self.no_speech_prob,
        )
