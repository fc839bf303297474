"""Segments in any order in, transcripts in the order of the recordings out.

Windows of several recordings are decoded together and finish as they will; here they find back to their places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from mlx_canary.errors import CanaryError
from mlx_canary.types import Segment, Transcript


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one recording of several: a transcript, or the error that it ended with.

    Attributes:
        index: Which recording.
        transcript: None if it failed.
        error: None if it did not.
    """

    index: int
    transcript: Transcript | None
    error: CanaryError | None


@dataclass(slots=True)
class _Recording:
    source_lang: str
    target_lang: str
    starts: list[float] = field(default_factory=list)  # of the windows read so far
    segments: dict[float, Segment] = field(default_factory=dict)
    n_told: int = 0
    duration: float = 0.0
    complete: bool = False
    error: CanaryError | None = None

    @property
    def done(self) -> bool:
        return self.complete and (self.error is not None or len(self.segments) == len(self.starts))

    def next_segments(self) -> Iterator[Segment]:
        """Those that nobody was told of and that have all before them."""
        while self.n_told < len(self.starts) and self.starts[self.n_told] in self.segments:
            yield self.segments[self.starts[self.n_told]]
            self.n_told += 1


class Assembly:
    """Collects the segments of several recordings.

    Args:
        languages: Spoken and written language of each recording.
        on_segment: Told of every segment, in the order of its recording.
    """

    def __init__(self, languages: list[tuple[str, str]], on_segment: Callable[[Segment], None] | None = None) -> None:
        self._recordings = [_Recording(source, target) for source, target in languages]
        self._on_segment = on_segment
        self._n_out = 0

    def expect(self, index: int, start: float, end: float) -> None:
        """A window of a recording was read."""
        self._recordings[index].starts.append(start)
        self._recordings[index].duration = end

    def add(self, index: int, start: float, segment: Segment) -> None:
        """A window was decoded."""
        recording = self._recordings[index]
        recording.segments[start] = segment
        for told in recording.next_segments():
            if self._on_segment is not None:
                self._on_segment(told)

    def close(self, index: int, error: CanaryError | None = None) -> None:
        """A recording was read to its end, or cannot be read further."""
        self._recordings[index].complete = True
        self._recordings[index].error = error

    def outcomes(self) -> Iterator[Outcome]:
        """What is done and was not yet given out, in the order of the recordings."""
        while self._n_out < len(self._recordings) and self._recordings[self._n_out].done:
            yield self._outcome(self._n_out)
            self._n_out += 1

    def _outcome(self, index: int) -> Outcome:
        recording = self._recordings[index]
        if recording.error is not None:
            return Outcome(index, None, recording.error)
        segments = tuple(recording.segments[start] for start in recording.starts)
        recording.segments.clear()
        transcript = Transcript(segments, recording.source_lang, recording.target_lang, recording.duration)
        return Outcome(index, transcript, None)
