"""One row out of the tokens of several languages, in the order of time, so that cutting it cuts all languages.

Where sentences of two languages end at nearly the same time, they end at the same place of the row.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mlx_canary.writers.tokens import Token

SAME_END = 2.0
"""Seconds between the ends of two sentences that may be the same sentence in two languages."""


class Placed(NamedTuple):
    """A token and its language's number; 0 is the language whose times count."""

    language: int
    token: Token


def merge_languages(languages: Sequence[Sequence[Token]]) -> list[Placed]:
    """All tokens in the order of their middles; each language keeps its own order."""
    first = languages[0]
    keyed = [(_middle(token), 0, Placed(0, token)) for token in first]
    for number, tokens in enumerate(languages[1:], 1):
        keyed += [(key, number, Placed(number, token)) for key, token in _keys(first, tokens)]
    return [placed for _, _, placed in sorted(keyed, key=lambda entry: entry[:2])]


def _middle(token: Token) -> float:
    return (token.start + token.end) / 2


def _keys(first: Sequence[Token], tokens: Sequence[Token]) -> Iterable[tuple[float, Token]]:
    """Middles, held back or moved on to the matching sentence's end in the first language."""
    begin = 0
    earliest = float("-inf")
    for end, boundary in [*_matching_ends(first, tokens), (len(tokens), float("inf"))]:
        for token in tokens[begin:end]:
            yield min(max(_middle(token), earliest), boundary), token
        begin, earliest = end, boundary


def _matching_ends(first: Sequence[Token], tokens: Sequence[Token]) -> list[tuple[int, float]]:
    """For sentences that end together: tokens up to there, and the key just past the first language's sentence."""
    keys = [_middle(token) for token in first]
    ends = [(token.end, index) for index, token in enumerate(first) if token.ends_sentence]
    matches: list[tuple[int, float]] = []
    used = -1
    for index, token in enumerate(tokens):
        if not token.ends_sentence:
            continue
        nearest = _nearest(ends, token.end)
        if nearest is not None and nearest > used:
            matches.append((index + 1, keys[nearest]))
            used = nearest
    return matches


def _nearest(ends: Sequence[tuple[float, int]], time: float) -> int | None:
    """The index of the sentence end nearest to a time, None where none is near."""
    position = bisect_left(ends, (time, -1))
    near = [(abs(end - time), index) for end, index in ends[max(position - 1, 0) : position + 1]]
    return min(near)[1] if near and min(near)[0] <= SAME_END else None
