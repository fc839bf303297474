"""WebVTT: cues in, text out."""

from __future__ import annotations

from collections.abc import Sequence

from mlx_canary.writers.clock import milliseconds, vtt_time
from mlx_canary.writers.cues import Cue, CueText
from mlx_canary.writers.highlight import first_words, moments
from mlx_canary.writers.options import SubtitleOptions

_HIGHLIGHT_STYLE = "STYLE\n::cue(:future) {\n  color: #b8b8b8;\n}\n\n"


def write_vtt(cues: Sequence[Cue], options: SubtitleOptions) -> str:
    """One block per cue; highlighted words carry their times, and what is not yet said is grey."""
    lines = _timed_lines if options.highlight_words else _plain_lines
    header = "WEBVTT\n\n" + (_HIGHLIGHT_STYLE if options.highlight_words else "")
    blocks = [f"{vtt_time(cue.start)} --> {vtt_time(cue.end)}\n" + "\n".join(lines(cue)) + "\n" for cue in cues]
    return header + "\n".join(blocks)


def escape(text: str) -> str:
    """Text without the characters that begin markup; `-->` goes with them."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _plain_lines(cue: Cue) -> list[str]:
    return [line for text in cue.texts for line in _in_language(cue, text, [escape(line) for line in text.line_texts])]


def _timed_lines(cue: Cue) -> list[str]:
    starts = {word: moment.start for word, moment in first_words(moments(cue)).items()}
    lines = []
    for text in cue.texts:
        words = [[_timed(escape(token.text), starts.get(token), cue) for token in line] for line in text.lines]
        lines += _in_language(cue, text, [" ".join(line) for line in words])
    return lines


def _timed(text: str, start: float | None, cue: Cue) -> str:
    """A word that changes its look at its start; times within a cue come after its own."""
    if start is None or milliseconds(start) <= milliseconds(cue.start):
        return text
    return f"<{vtt_time(start)}><c>{text}</c>"


def _in_language(cue: Cue, text: CueText, lines: list[str]) -> list[str]:
    """Lines of text in several languages say which they are, for fonts and screen readers."""
    if len(cue.texts) == 1:
        return lines
    return [f"<lang {text.language}>{line}</lang>" for line in lines]
