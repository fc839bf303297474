"""LRC, lines with times for music players: cues in, text out. The format has no escapes: brackets become round."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from mlx_canary.writers.clock import lrc_time
from mlx_canary.writers.cues import Cue
from mlx_canary.writers.highlight import MarkedWord, mark_words
from mlx_canary.writers.options import SubtitleOptions

CLEAR_AFTER = 1.0
"""Seconds of silence after which an empty line takes the text off the screen."""

_ROUND = str.maketrans("[]<>", "()‹›")


def write_lrc(cues: Sequence[Cue], options: SubtitleOptions) -> str:
    """One line per cue and language; with highlighted words each word of the spoken language has its time."""
    lines = [line for cue, following in itertools.pairwise([*cues, None]) for line in _lines(cue, following, options)]
    return "[re:mlx-canary]\n" + "".join(f"{line}\n" for line in lines)


def escape(text: str) -> str:
    """Text that no player takes for a time."""
    return text.translate(_ROUND)


def _lines(cue: Cue | None, following: Cue | None, options: SubtitleOptions) -> Iterator[str]:
    assert cue is not None
    for text in mark_words(cue):
        words = [word for line in text for word in line]
        if words:
            yield f"[{lrc_time(cue.start)}]" + " ".join(_word(word, options) for word in words)
    if following is None or following.start - cue.end >= CLEAR_AFTER:
        yield f"[{lrc_time(cue.end)}]"


def _word(word: MarkedWord, options: SubtitleOptions) -> str:
    timed = options.highlight_words and word.begins and word.moment
    return (f"<{lrc_time(timed.start)}>" if timed else "") + escape(word.text)
