"""What is wrong with a recording, and what is doubtful about its transcript: sentences for stderr and for JSON."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby

from mlx_canary.longform.guards import describe
from mlx_canary.types import Transcript


class ReaderWarnings(logging.Handler):
    """Keeps what the reader of a recording warns of; such messages begin with the recording's name."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._told: list[tuple[object, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, tuple) and record.args:
            self._told.append((record.args[0], record.getMessage()))

    def about(self, name: str) -> list[str]:
        """Of the recording that is called so, each once."""
        return list(dict.fromkeys(message for whose, message in self._told if whose == name))


@contextmanager
def reader_warnings() -> Iterator[ReaderWarnings]:
    """Keep them while recordings are read."""
    log, warnings = logging.getLogger("mlx_canary"), ReaderWarnings()
    log.addHandler(warnings)
    try:
        yield warnings
    finally:
        log.removeHandler(warnings)


def doubts(name: str, transcript: Transcript) -> Iterator[str]:
    """What is doubtful: once for a stretch, not for each of its sentences."""
    for flags, group in groupby(transcript.segments, key=lambda segment: segment.flags):
        stretch = list(group)
        for flag in flags:
            yield f"{name}, {stretch[0].start:.0f} to {stretch[-1].end:.0f} s: {describe(flag)}."
    if not transcript.text.strip():
        yield f"Nothing was heard in {name}."
