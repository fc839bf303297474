"""Which words are spoken when: a cue in, moments out. For subtitles that mark each word while it is spoken."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mlx_canary.writers.clock import milliseconds
from mlx_canary.writers.cues import Cue
from mlx_canary.writers.timing import SHORTEST
from mlx_canary.writers.tokens import Token


@dataclass(frozen=True, slots=True)
class Moment:
    """A part of a cue: one word, or several whose times are the same.

    Attributes:
        start: In seconds; the first moment starts with its cue.
        end: When the next moment starts; the last moment ends with its cue.
    """

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class MarkedWord:
    """A word of a cue.

    Attributes:
        text: As the transcript has it.
        moment: When it is spoken; None in a translation, whose words are not spoken.
        begins: Whether it is the first word of its moment.
    """

    text: str
    moment: Moment | None
    begins: bool


def mark_words(cue: Cue) -> list[list[list[MarkedWord]]]:
    """The words of a cue, by language and line; moments belong to the first language that says something."""
    spoken = next(number for number, text in enumerate(cue.texts) if text.lines)
    words = iter(_mark(cue, [token for line in cue.texts[spoken].lines for token in line]))
    return [
        [
            [next(words) if number == spoken else MarkedWord(token.text, None, False) for token in line]
            for line in text.lines
        ]
        for number, text in enumerate(cue.texts)
    ]


def moments(words: Iterable[MarkedWord]) -> list[Moment]:
    """Each moment of some words, in order."""
    return [word.moment for word in words if word.begins and word.moment]


def _mark(cue: Cue, tokens: Sequence[Token]) -> Iterable[MarkedWord]:
    begins = _first_words(cue, tokens)
    starts = [cue.start] + [tokens[index].start for index in begins[1:]]
    spans = [Moment(start, end) for start, end in itertools.pairwise([*starts, cue.end])]
    for moment, (first, after) in zip(spans, itertools.pairwise([*begins, len(tokens)]), strict=True):
        for index in range(first, after):
            yield MarkedWord(tokens[index].text, moment, index == first)


def _first_words(cue: Cue, tokens: Sequence[Token]) -> list[int]:
    """Where moments begin: every moment lasts long enough for all formats to write it."""
    begins, last = [0], cue.start
    for index, token in enumerate(tokens[1:], 1):
        if _apart(last, token.start) and _apart(token.start, cue.end):
            begins.append(index)
            last = token.start
    return begins


def _apart(earlier: float, later: float) -> bool:
    return milliseconds(later) - milliseconds(earlier) >= SHORTEST
