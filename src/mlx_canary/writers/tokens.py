"""What cues are made of: Transcript in, tokens out, each a piece of text that no line break divides, with its time.

Segments with words give their words. The text of other segments is spread over the segment's time in proportion to
its characters. Times come out rising, inside the recording and without overlap, whatever comes in.
Knows nothing about lines and cues.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from mlx_canary.types import Segment, Transcript
from mlx_canary.writers.errors import OutputError

SLOWEST_SPEECH = 3.0
"""Characters per second. Text without word times is spread no thinner than this over its segment: a short answer
within half a minute of silence is one cue at the beginning, not a word every seven seconds."""

_SPACES = re.compile(r"[^\S\u00a0\u2007\u202f]+")  # all white space but the no-break spaces
_CLOSING = "\"'»«”“’)]"
_ABBREVIATIONS = frozenset(
    [
        "dr",
        "mr",
        "mrs",
        "ms",
        "prof",
        "st",
        "sr",
        "jr",
        "vs",
        "nr",
        "no",
        "bzw",
        "ca",
        "usw",
        "z.b",
        "d.h",
        "e.g",
        "i.e",
        "mme",
        "art",
    ]
)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text that stays in one line.

    Attributes:
        text: Without breaking spaces.
        start: In seconds.
        end: In seconds, not after the next token's start.
        ends_sentence: Whether a sentence ends with it.
        ends_clause: Whether a clause ends with it.
    """

    text: str
    start: float
    end: float
    ends_sentence: bool = False
    ends_clause: bool = False


def tokens_of(transcript: Transcript, duration: float) -> list[Token]:
    """All tokens of a transcript.

    Args:
        transcript: Whose text to take apart.
        duration: Of the recording, where the times end.

    Raises:
        OutputError: A time is not a finite number.
    """
    tokens = [token for segment in transcript.segments for token in _segment_tokens(segment)]
    if not all(math.isfinite(token.start) and math.isfinite(token.end) for token in tokens):
        raise OutputError("The transcript has times that are not finite numbers; subtitles need finite ones.")
    return list(_mark_ends(_repair_times(tokens, duration)))


def split_text(text: str) -> list[str]:
    """The pieces between breaking spaces; no-break spaces stay inside."""
    return [piece for piece in _SPACES.split(text) if piece]


def _segment_tokens(segment: Segment) -> list[Token]:
    pieces = split_text(segment.text)
    words = [token for word in segment.words for token in _spread(split_text(word.text), word.start, word.end)]
    if [word.text for word in words] == pieces:
        return words
    n_chars = sum(map(len, pieces))
    return _spread(pieces, segment.start, min(segment.end, segment.start + n_chars / SLOWEST_SPEECH))


def _spread(pieces: list[str], start: float, end: float) -> list[Token]:
    """Share the time in proportion to the characters."""
    ends = list(itertools.accumulate(map(len, pieces)))
    times = [start] + [start + (end - start) * n_chars / ends[-1] for n_chars in ends]
    return [Token(piece, *span) for piece, span in zip(pieces, itertools.pairwise(times), strict=True)]


def _repair_times(tokens: list[Token], duration: float) -> list[Token]:
    starts = list(itertools.accumulate((min(max(token.start, 0.0), duration) for token in tokens), max))
    limits = [*starts, duration][1:]
    return [
        replace(token, start=start, end=min(max(token.end, start), limit))
        for token, start, limit in zip(tokens, starts, limits, strict=True)
    ]


def _mark_ends(tokens: Iterable[Token]) -> Iterator[Token]:
    for token, following in itertools.pairwise([*tokens, None]):
        assert token is not None
        sentence = _ends_sentence(token.text, following.text if following else "")
        yield replace(token, ends_sentence=sentence, ends_clause=sentence or _ends_clause(token.text))


def _ends_sentence(text: str, following: str) -> bool:
    """A guess without a dictionary: initials, ordinals (am 3. Oktober) and common short forms do not end one."""
    text = text.rstrip(_CLOSING)
    if text.endswith(("!", "?", "…", ";", "\u037e")):  # Greek asks with a semicolon
        return True
    stem = text[:-1].lstrip("([\"'„“«»").lower()
    is_short_form = len(stem) == 1 or stem in _ABBREVIATIONS or (stem.isdigit() and len(stem) < 3)
    return text.endswith(".") and not is_short_form and not following[:1].islower()


def _ends_clause(text: str) -> bool:
    return text.rstrip(_CLOSING).endswith((",", ":", "–", "—", "·"))
