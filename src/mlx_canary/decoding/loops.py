"""Texts that repeat themselves, as a decoder's do when it has lost the recording.

Pure functions over token ids (or words, or anything that can be compared).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# People say a word three times, seldom ten tokens' worth of it.
_MIN_REPEATS = 3
_MIN_SPAN = 10
_MAX_PERIOD = 48
# NeMo's rule for streams: so many repeats of a pattern of so many tokens, after at least eight others.
_NEMO_PATTERNS = ((1, 5), (2, 3), (3, 3))
_NEMO_MIN_LENGTH = 9


@dataclass(frozen=True, slots=True)
class Loop:
    """The same `period` tokens `repeats` times in a row, from `start` on."""

    start: int
    period: int
    repeats: int

    @property
    def end(self) -> int:
        """One past the last whole repeat."""
        return self.start + self.period * self.repeats


def find_loop(tokens: Sequence[Any]) -> Loop | None:
    """The loop at the end of a text: at least three repeats of up to 48 tokens that span at least ten."""
    for period in range(1, min(_MAX_PERIOD, len(tokens) // _MIN_REPEATS) + 1):
        if tokens[-1] != tokens[-1 - period]:  # as good as always, and asked after every token of every text
            continue
        repeats = _repeats_at_end(tokens, period)
        if repeats >= _MIN_REPEATS and repeats * period >= _MIN_SPAN:
            return Loop(len(tokens) - repeats * period, period, repeats)
    return None


def find_first_loop(tokens: Sequence[Any]) -> Loop | None:
    """The first loop anywhere in a text, with all its repeats."""
    for end in range(_MIN_SPAN, len(tokens) + 1):
        loop = find_loop(tokens[:end])
        if loop is not None:
            pattern, repeats = list(tokens[loop.start : loop.start + loop.period]), loop.repeats
            while list(tokens[end : end + loop.period]) == pattern:
                end, repeats = end + loop.period, repeats + 1
            return Loop(loop.start, loop.period, repeats)
    return None


def is_nemo_hallucination(tokens: Sequence[Any]) -> bool:
    """NeMo's rule for streams: the last token five times, or the last two or three tokens three times.

    Args:
        tokens: The prompt's included; a text of less than nine is never one.
    """
    if len(tokens) < _NEMO_MIN_LENGTH:
        return False
    return any(_repeats_at_end(tokens, period) >= repeats for period, repeats in _NEMO_PATTERNS)


def _repeats_at_end(tokens: Sequence[Any], period: int) -> int:
    """How many times in a row the last `period` tokens stand at the end."""
    matching, i = 0, len(tokens) - 1 - period
    while i >= 0 and tokens[i] == tokens[i + period]:
        matching, i = matching + 1, i - 1
    return matching // period + 1
