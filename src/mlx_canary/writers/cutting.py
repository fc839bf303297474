"""Where one cue ends and the next begins: the tokens of all languages in, runs of them out.

A run must fit the screen; of all ways to cut that do, the cheapest is taken, looking at the whole recording at once.
Costs are in units of one cue.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mlx_canary.writers.align import Placed
from mlx_canary.writers.lines import add_word
from mlx_canary.writers.options import SubtitleOptions
from mlx_canary.writers.tokens import Token

_CUE = 1.0  # every cue costs this, so fewer are better
_SPLIT_CLAUSE = 0.6  # a cut after a clause
_SPLIT_PHRASE = 2.0  # a cut anywhere else
_GOOD_PAUSE = 0.5  # seconds of silence that make any cut as good as one after a clause
_JOINED_SENTENCES = 1.3  # a sentence's end within a cue
_TOO_SHORT = 2.0  # a cue that cannot be shown for any time; in proportion for others under the least duration
_UNEVEN = 0.5  # a full cue; squared in proportion for others, so that long sentences are halved, not filled up
_MISSING_LANGUAGE = 1.5


def cut_into_cues(
    row: Sequence[Placed], n_languages: int, duration: float, options: SubtitleOptions
) -> list[Sequence[Placed]]:
    """Cut a row of tokens into runs that fit a cue each; a run of one token always does."""
    cut_costs = _cut_costs(row, n_languages, options)
    next_starts = _next_starts(row, duration)
    best: list[tuple[float, int]] = [(0.0, 0)] + [(float("inf"), 0)] * len(row)  # at each cut: cost, cut before
    for start in range(len(row)):
        run = _Run([_Column() for _ in range(n_languages)], options)
        for end in run.grow(row, start):
            before = best[start][0] + cut_costs[end]
            if before + _CUE < best[end][0]:  # else no run can make it cheaper
                best[end] = min(best[end], (before + run.cost(next_starts[end]), start))
    return _follow(best, row)


def _follow(best: Sequence[tuple[float, int]], row: Sequence[Placed]) -> list[Sequence[Placed]]:
    """The cheapest runs, found from the last cut backwards."""
    runs, end = [], len(row)
    while end:
        start = best[end][1]
        runs.append(row[start:end])
        end = start
    return runs[::-1]


def _next_starts(row: Sequence[Placed], duration: float) -> list[float]:
    """For each place between two tokens: when the first language speaks next."""
    starts = [duration]
    for language, token in reversed(row):
        starts.append(token.start if language == 0 else starts[-1])
    return starts[::-1]


def _cut_costs(row: Sequence[Placed], n_languages: int, options: SubtitleOptions) -> list[float]:
    """For each place between two tokens: the mean of what a cut there costs each language."""
    total = [0.0] * (len(row) + 1)
    for number in range(n_languages):
        positions = [index for index, placed in enumerate(row) if placed.language == number]
        for before, after in itertools.pairwise(positions):
            cost = _cut_cost(row[before].token, row[after].token, options) / n_languages
            for place in range(before + 1, after + 1):
                total[place] += cost
    return total


def _cut_cost(before: Token, after: Token, options: SubtitleOptions) -> float:
    if before.ends_sentence:
        return 0.0
    pause = min((after.start - before.end) / _GOOD_PAUSE, 1.0)
    at_clause = before.ends_clause and options.split_clauses
    return max(0.0, (_SPLIT_CLAUSE if at_clause else _SPLIT_PHRASE) - (_SPLIT_PHRASE - _SPLIT_CLAUSE) * pause)


@dataclass(slots=True)
class _Column:
    """One language's part of a run."""

    n_words: int = 0
    n_lines: int = 0
    used: int = 0
    start: float = 0.0
    end: float = 0.0
    last_ends_sentence: bool = False

    def add(self, token: Token, max_line_chars: int) -> None:
        self.start = self.start if self.n_words else token.start
        self.n_words += 1
        self.n_lines, self.used = add_word(self.n_lines, self.used, len(token.text), max_line_chars)
        self.end, self.last_ends_sentence = token.end, token.ends_sentence


@dataclass(slots=True)
class _Run:
    """A cue that grows by one token at a time."""

    columns: list[_Column]
    options: SubtitleOptions
    joined_sentences: int = field(default=0)

    def grow(self, row: Sequence[Placed], start: int) -> Iterable[int]:
        """Take tokens as long as they fit; after each, say where the run ends now."""
        for index in range(start, len(row)):
            language, token = row[index]
            column = self.columns[language]
            if column.n_words and language == 0 and not self._has_time_for(token):
                return
            self.joined_sentences += column.last_ends_sentence
            column.add(token, self.options.max_line_chars)
            if not self._has_room(column):
                return
            yield index + 1

    def _has_time_for(self, token: Token) -> bool:
        spoken = self.columns[0]
        pause, duration = token.start - spoken.end, token.end - spoken.start
        return pause <= self.options.max_pause and duration <= self.options.max_duration

    def _has_room(self, column: _Column) -> bool:
        max_words = self.options.max_words
        return column.n_lines <= self.options.max_lines and (max_words is None or column.n_words <= max_words)

    def cost(self, next_start: float) -> float:
        """Of this cue, without the cut at its end."""
        cost = _CUE + _UNEVEN * self._fullness() ** 2 + _TOO_SHORT * self._missing_time(next_start)
        cost += _MISSING_LANGUAGE * sum(not column.n_words for column in self.columns)
        if self.options.split_sentences:
            cost += _JOINED_SENTENCES * self.joined_sentences / len(self.columns)
        return cost

    def _fullness(self) -> float:
        width = self.options.max_line_chars
        n_chars = max((column.n_lines - 1) * width + column.used for column in self.columns if column.n_words)
        return n_chars / (width * self.options.max_lines)

    def _missing_time(self, next_start: float) -> float:
        """The part of the least duration that the cue cannot be shown."""
        spoken = self.columns[0]
        if not spoken.n_words or not self.options.min_duration:
            return 0.0
        return max(0.0, 1 - (next_start - spoken.start) / self.options.min_duration)
