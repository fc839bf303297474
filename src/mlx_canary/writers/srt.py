"""SubRip: cues in, text out. The format has no escapes: what players would take for markup is written otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mlx_canary.writers.clock import srt_time
from mlx_canary.writers.cues import Cue
from mlx_canary.writers.highlight import MarkedWord, Moment, mark_words, moments
from mlx_canary.writers.options import SubtitleOptions

_WORD_JOINER = "\u2060"  # parts what is not to be read as one, and is not seen
_TIME = re.compile(r"(\d:\d\d?:\d\d?)([.,]\d)")
_LOOKALIKES = str.maketrans({"<": "‹", ">": "›", "{": "(", "}": ")", "\\": "\\" + _WORD_JOINER})


def write_srt(cues: Sequence[Cue], options: SubtitleOptions) -> str:
    """One entry per cue; with highlighted words one per word, underlined."""
    entries = _highlighted(cues) if options.highlight_words else _plain(cues)
    return "\n".join(
        f"{number}\n{srt_time(start)} --> {srt_time(end)}\n{text}\n"
        for number, (start, end, text) in enumerate(entries, 1)
    )


def escape(text: str) -> str:
    """Text without tags, the codes that many players read as in ass, and what lenient readers take for time lines."""
    text = _TIME.sub(rf"\1{_WORD_JOINER}\2", text)
    return text.replace("-->", "→").translate(_LOOKALIKES)


def _plain(cues: Sequence[Cue]) -> Iterator[tuple[float, float, str]]:
    for cue in cues:
        yield cue.start, cue.end, "\n".join(escape(line) for text in cue.texts for line in text.line_texts)


def _highlighted(cues: Sequence[Cue]) -> Iterator[tuple[float, float, str]]:
    for cue in cues:
        lines = [line for text in mark_words(cue) for line in text]
        for moment in moments(word for line in lines for word in line):
            yield moment.start, moment.end, "\n".join(_underline(line, moment) for line in lines)


def _underline(line: Sequence[MarkedWord], moment: Moment) -> str:
    """A line with the moment's words underlined."""
    return " ".join(f"<u>{escape(word.text)}</u>" if word.moment == moment else escape(word.text) for word in line)
