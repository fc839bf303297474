"""WebVTT: cues in, text out."""

from __future__ import annotations

from collections.abc import Sequence

from mlx_canary.writers.clock import vtt_time
from mlx_canary.writers.cues import Cue
from mlx_canary.writers.highlight import MarkedWord, mark_words
from mlx_canary.writers.options import SubtitleOptions

_HIGHLIGHT_STYLE = "STYLE\n::cue(:future) {\n  color: #b8b8b8;\n}\n\n"


def write_vtt(cues: Sequence[Cue], options: SubtitleOptions) -> str:
    """One block per cue; highlighted words carry their times, and what is not yet said is grey."""
    lines = _timed_lines if options.highlight_words else _plain_lines
    blocks = [f"{vtt_time(cue.start)} --> {vtt_time(cue.end)}\n{_text(cue, lines(cue))}\n" for cue in cues]
    return "WEBVTT\n\n" + (_HIGHLIGHT_STYLE if options.highlight_words else "") + "\n".join(blocks)


def escape(text: str) -> str:
    """Text without the characters that begin markup; `-->` goes with them."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _text(cue: Cue, languages: list[list[str]]) -> str:
    """All lines; those of several languages say which they are, for fonts and screen readers."""
    if len(languages) == 1:
        return "\n".join(languages[0])
    codes = [text.language for text in cue.texts]
    return "\n".join(
        f"<lang {code}>{line}</lang>" for code, lines in zip(codes, languages, strict=True) for line in lines
    )


def _plain_lines(cue: Cue) -> list[list[str]]:
    return [[escape(line) for line in text.line_texts] for text in cue.texts]


def _timed_lines(cue: Cue) -> list[list[str]]:
    return [[" ".join(_timed(word, cue) for word in line) for line in text] for text in mark_words(cue)]


def _timed(word: MarkedWord, cue: Cue) -> str:
    """A word that changes its look at its start; times within a cue come after its own."""
    if word.moment is None or not word.begins or word.moment.start == cue.start:
        return escape(word.text)
    return f"<{vtt_time(word.moment.start)}><c>{escape(word.text)}</c>"
