"""Where a file's sound belongs in time: a frame in, the seconds of silence before it out.

A sound track may begin later than the pictures, and have gaps; players are silent there. Knows nothing about samples.
"""

from __future__ import annotations

from typing import Any

import av

# FFmpeg's readers whose packets carry times. Others count them from bytes or samples.
_TELLS_TIMES = {"asf", "flv", "matroska", "mov", "mpeg", "mpegts"}

# Of these, the header tells the duration, if anything does; of others FFmpeg may take it from the times themselves.
_TELLS_END = {"matroska", "mov"}

# Encoders' delay at low rates, coarse clocks and jitter stay below this.
_SHORTEST_GAP = 0.1  # seconds

# Where nothing bounds a jump in the times, a longer one is taken for an error: parts of streams joined, a clock set.
_LONGEST_UNBOUNDED_GAP = 60.0  # seconds


class Timeline:
    """The times of one sound track, as seconds from where the recording begins.

    Args:
        container: PyAV's open container.
        track: The sound track in it.
    """

    def __init__(self, container: Any, track: Any) -> None:
        names = set(container.format.name.split(","))
        self._tells_times = bool(names & _TELLS_TIMES)
        self._start = None if container.start_time is None else container.start_time / av.time_base
        self._end: float | None = None
        if names & _TELLS_END and self._start is not None and container.duration is not None:
            self._end = self._start + container.duration / av.time_base
        self.delay = 0.0
        """Seconds from the beginning of the recording to that of the track; 0 where it begins with it."""
        if self._tells_times and self._start is not None and track.start_time is not None:
            delay = float(track.start_time * track.time_base) - self._start
            self.delay = delay if delay > _SHORTEST_GAP else 0.0
        self._origin: float | None = None

    def gap(self, time: float | None, position: float) -> float:
        """Seconds of silence before a frame; 0 where it follows what was read.

        Times that go back, or are beyond the file's end, mean nothing.

        Args:
            time: The frame's, as the file tells it.
            position: Seconds of sound and silence before it.
        """
        if not self._tells_times or time is None:
            return 0.0
        if self._origin is None:
            # The time of a first frame may be that after the encoder's delay, which was cut off.
            self._origin = self._start if self.delay and self._start is not None else time
        gap = time - self._origin - position
        is_possible = gap <= _LONGEST_UNBOUNDED_GAP if self._end is None else time <= self._end
        return gap if gap > _SHORTEST_GAP and is_possible else 0.0
