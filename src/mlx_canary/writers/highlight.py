"""Which words are spoken when: a cue in, moments out. For subtitles that mark each word while it is spoken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlx_canary.writers.clock import milliseconds
from mlx_canary.writers.cues import Cue
from mlx_canary.writers.timing import SHORTEST
from mlx_canary.writers.tokens import Token


@dataclass(frozen=True, slots=True)
class Moment:
    """A part of a cue.

    Attributes:
        start: In seconds; the first moment starts with its cue.
        end: When the next moment starts; the last moment ends with its cue.
        words: What is spoken: one word, or several whose times are the same.
    """

    start: float
    end: float
    words: tuple[Token, ...]


def moments(cue: Cue) -> list[Moment]:
    """The moments of a cue, without gaps, in the first language that says something."""
    spoken = next(text for text in cue.texts if text.lines)
    groups: list[tuple[float, list[Token]]] = []
    for token in (token for line in spoken.lines for token in line):
        if not groups or (_apart(groups[-1][0], token.start) and _apart(token.start, cue.end)):
            groups.append((token.start if groups else cue.start, []))
        groups[-1][1].append(token)
    ends = [start for start, _ in groups[1:]] + [cue.end]
    return [Moment(start, end, tuple(words)) for (start, words), end in zip(groups, ends, strict=True)]


def first_words(moments: Sequence[Moment]) -> dict[Token, Moment]:
    """Each moment by its first word."""
    return {moment.words[0]: moment for moment in moments}


def _apart(earlier: float, later: float) -> bool:
    return milliseconds(later) - milliseconds(earlier) >= SHORTEST
