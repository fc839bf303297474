"""SubRip: cues in, text out. The format has no escapes: what players would take for markup is written otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlx_canary.writers.clock import srt_time
from mlx_canary.writers.cues import Cue
from mlx_canary.writers.highlight import Moment, moments
from mlx_canary.writers.options import SubtitleOptions


def write_srt(cues: Sequence[Cue], options: SubtitleOptions) -> str:
    """One entry per cue; with highlighted words one per word, underlined."""
    entries = _highlighted(cues) if options.highlight_words else _plain(cues)
    return "\n".join(
        f"{number}\n{srt_time(start)} --> {srt_time(end)}\n{text}\n"
        for number, (start, end, text) in enumerate(entries, 1)
    )


def escape(text: str) -> str:
    """Text without tags, override codes and the arrow of time lines."""
    return text.replace("-->", "→").replace("<", "‹").replace(">", "›").replace("{\\", "(\\")


def _plain(cues: Sequence[Cue]) -> Iterator[tuple[float, float, str]]:
    for cue in cues:
        yield cue.start, cue.end, "\n".join(escape(line) for text in cue.texts for line in text.line_texts)


def _highlighted(cues: Sequence[Cue]) -> Iterator[tuple[float, float, str]]:
    for cue in cues:
        for moment in moments(cue):
            yield moment.start, moment.end, _mark(cue, moment)


def _mark(cue: Cue, moment: Moment) -> str:
    """The cue's text with the moment's words underlined."""
    lines = [
        [f"<u>{escape(token.text)}</u>" if token in moment.words else escape(token.text) for token in line]
        for text in cue.texts
        for line in text.lines
    ]
    return "\n".join(" ".join(line) for line in lines)
