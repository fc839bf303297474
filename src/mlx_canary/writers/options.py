"""How subtitles should look, and what made the text. Values only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from mlx_canary.writers.errors import OutputError


@dataclass(frozen=True, slots=True)
class SubtitleOptions:
    """The shape of subtitles. Times are in seconds.

    Attributes:
        max_line_chars: Longest line in characters; only a single longer word exceeds it.
        max_lines: Most lines of a cue, for each of its languages.
        max_words: Most words of a cue, for each of its languages; None for any number.
        min_duration: Cues shorter than this stay on screen until it is reached, the next cue comes or the
            recording ends.
        max_duration: Longest time on screen.
        min_gap: Clear screen between two cues; less only where a cue would lose more than half its time.
        max_pause: Silence within a cue; after a longer one a new cue begins.
        split_sentences: Begin a new cue with a new sentence, unless that makes cues shorter than `min_duration`.
        split_clauses: Cut long sentences after commas, colons and dashes rather than anywhere.
        highlight_words: Mark each word while it is spoken.

    Raises:
        OutputError: A value is out of range.
    """

    max_line_chars: int = 42
    max_lines: int = 2
    max_words: int | None = None
    min_duration: float = 1.0
    max_duration: float = 7.0
    min_gap: float = 0.08
    max_pause: float = 1.5
    split_sentences: bool = True
    split_clauses: bool = True
    highlight_words: bool = False

    def __post_init__(self) -> None:
        for name in ("max_line_chars", "max_lines", "max_words"):
            _check(name, getattr(self, name), 1)
        for name in ("min_duration", "min_gap", "max_pause"):
            _check(name, getattr(self, name), 0)
        _check("max_duration", self.max_duration, 0.1)
        if self.min_duration > self.max_duration:
            raise OutputError(f"min_duration={self.min_duration:g} is above max_duration={self.max_duration:g}.")


def _check(name: str, value: float | None, least: float) -> None:
    if value is not None and not (math.isfinite(value) and value >= least):
        raise OutputError(f"{name}={value!r} is not possible. Give {least} or more.")


@dataclass(frozen=True, slots=True)
class Provenance:
    """What made a transcript; the JSON writer notes it.

    Attributes:
        model: Name of the model, None where it is not known.
        options: What it was asked for; values that JSON can hold, or paths.
        warnings: What is wrong with the recording or doubtful about the transcript, beside what it says itself, in
            sentences.
    """

    model: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
