"""Cues: Transcripts of one recording in, what stands on the screen when out. The stage before every subtitle format.

The first transcript gives the times; others, its translations, are aligned with it by time. The words of all cues
are the words of the transcripts, in order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mlx_canary.types import Transcript
from mlx_canary.writers.align import Placed, merge_languages
from mlx_canary.writers.cutting import cut_into_cues
from mlx_canary.writers.errors import OutputError
from mlx_canary.writers.lines import break_lines
from mlx_canary.writers.options import SubtitleOptions
from mlx_canary.writers.timing import screen_times
from mlx_canary.writers.tokens import Token, tokens_of


@dataclass(frozen=True, slots=True)
class CueText:
    """What a cue says in one language.

    Attributes:
        language: Its code.
        lines: The words of each line, with their times; no lines where nothing is said in this language.
    """

    language: str
    lines: tuple[tuple[Token, ...], ...]

    @property
    def line_texts(self) -> list[str]:
        """The lines as text."""
        return [" ".join(token.text for token in line) for line in self.lines]

    @property
    def text(self) -> str:
        """All lines as one."""
        return " ".join(self.line_texts)


@dataclass(frozen=True, slots=True)
class Cue:
    """What stands on the screen for a while.

    Attributes:
        start: Seconds from the start of the recording, in whole milliseconds.
        end: Likewise; after `start`, and not after the next cue's start.
        texts: One for each transcript, in their order.
    """

    start: float
    end: float
    texts: tuple[CueText, ...]


def make_cues(transcripts: Sequence[Transcript], options: SubtitleOptions) -> list[Cue]:
    """Shape transcripts of one recording into cues.

    Args:
        transcripts: The one whose times count, then its translations.
        options: The shape.

    Raises:
        OutputError: A time is not a finite number.
    """
    duration = _duration(transcripts)
    languages = [tokens_of(transcript, duration) for transcript in transcripts]
    runs = cut_into_cues(merge_languages(languages), len(languages), duration, options)
    times = screen_times([_spoken(run) for run in runs], duration, options)
    codes = [transcript.target_lang for transcript in transcripts]
    return [
        Cue(start, end, tuple(_text(code, _of(run, number), start, end, options) for number, code in enumerate(codes)))
        for run, (start, end) in zip(runs, times, strict=True)
    ]


def _duration(transcripts: Sequence[Transcript]) -> float:
    """Of the recording; where it is not known, when the last segment ends."""
    ends = [segment.end for transcript in transcripts for segment in transcript.segments]
    duration = transcripts[0].duration or max([0.0, *ends])
    if not math.isfinite(duration):
        raise OutputError(f"The transcript has the duration {duration!r}; subtitles need a finite one.")
    return duration


def _of(run: Sequence[Placed], number: int) -> list[Token]:
    return [placed.token for placed in run if placed.language == number]


def _spoken(run: Sequence[Placed]) -> tuple[float, float]:
    """When a cue is spoken, by the first language's words where it has any."""
    tokens = _of(run, 0) or [placed.token for placed in run]
    return min(token.start for token in tokens), max(token.end for token in tokens)


def _text(language: str, tokens: Sequence[Token], start: float, end: float, options: SubtitleOptions) -> CueText:
    """Lay tokens out as lines; their times stay within the cue's."""
    inside = [
        replace(token, start=_clip(token.start, start, end), end=_clip(token.end, start, end)) for token in tokens
    ]
    lengths = [len(token.text) for token in inside]
    lines = break_lines(lengths, [token.ends_clause for token in inside], options.max_line_chars)
    return CueText(language, tuple(tuple(inside[line.start : line.stop]) for line in lines))


def _clip(time: float, low: float, high: float) -> float:
    return min(max(time, low), high)
