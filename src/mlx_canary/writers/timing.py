"""When cues come and go: the times of their words in, times on screen out. Knows nothing about text."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from mlx_canary.writers.clock import milliseconds
from mlx_canary.writers.options import SubtitleOptions

SHORTEST = 10
"""Milliseconds that every cue lasts, whatever its words' times: the smallest step that all formats can write."""


def screen_times(
    spans: Sequence[tuple[float, float]], duration: float, options: SubtitleOptions
) -> list[tuple[float, float]]:
    """Times on screen for cues spoken at `spans`.

    Args:
        spans: Start and end of each cue's speech.
        duration: Of the recording. It is exceeded only where it is too short to show every cue for 10 ms.
        options: Durations and gap.

    Returns:
        Start and end of each cue, in whole milliseconds, rising and without overlap.
    """
    last = max(int(duration * 1000), len(spans) * SHORTEST)
    starts = _spaced([milliseconds(start) for start, _ in spans], last)
    limits = [*starts, last + milliseconds(options.min_gap)][1:]
    ends = [
        _end(start, milliseconds(end), limit, options)
        for start, (_, end), limit in zip(starts, spans, limits, strict=True)
    ]
    return [(start / 1000, min(end, last) / 1000) for start, end in zip(starts, ends, strict=True)]


def _spaced(starts: list[int], last: int) -> list[int]:
    """The same starts, moved as little as needed to leave SHORTEST between them and before `last`."""
    forward = list(itertools.accumulate(starts, lambda before, start: max(start, before + SHORTEST)))
    backward = itertools.accumulate(forward[::-1], lambda after, start: min(start, after - SHORTEST), initial=last)
    return list(backward)[:0:-1]


def _end(start: int, spoken_end: int, limit: int, options: SubtitleOptions) -> int:
    """After the speech and the least duration, before the longest and the gap before `limit`."""
    wanted = max(spoken_end, start + milliseconds(options.min_duration))
    wanted = min(wanted, start + milliseconds(options.max_duration))
    room = max(limit - milliseconds(options.min_gap), (start + limit) // 2)
    return max(min(wanted, room), start + SHORTEST)
