"""Text without shaping: a Transcript in, txt or tsv out, a line per segment."""

from __future__ import annotations

import math

from mlx_canary.types import Transcript
from mlx_canary.writers.clock import milliseconds
from mlx_canary.writers.errors import OutputError
from mlx_canary.writers.tokens import split_text


def write_txt(transcript: Transcript) -> str:
    """The text, a line for each segment that says something."""
    return "".join(f"{one_line(segment.text)}\n" for segment in transcript.segments if segment.text.strip())


def write_tsv(transcript: Transcript) -> str:
    """Start and end in whole milliseconds, and the text, under a header; fields stand between tabs.

    Raises:
        OutputError: A time is not a finite number.
    """
    for segment in transcript.segments:
        if not (math.isfinite(segment.start) and math.isfinite(segment.end)):
            raise OutputError(f"A segment is from {segment.start!r} to {segment.end!r} s; tsv holds finite times only.")
    rows = [
        f"{milliseconds(segment.start)}\t{milliseconds(segment.end)}\t{one_line(segment.text)}\n"
        for segment in transcript.segments
        if segment.text.strip()
    ]
    return "start\tend\ttext\n" + "".join(rows)


def one_line(text: str) -> str:
    """The same words with single spaces, so neither tabs nor line ends; no-break spaces stay."""
    return " ".join(split_text(text))
