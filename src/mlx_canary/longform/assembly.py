"""Windows' results in any order in, transcripts in the order of the recordings out.

Windows of several recordings are decoded together and finish as they will; here they find back to their places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from mlx_canary.errors import CanaryError
from mlx_canary.types import Segment, Transcript

Texts = tuple[tuple[Segment, ...], ...]
"""The segments of one window, for each of its texts: the first, then translations beside it."""


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


def transcript_of(outcome: Outcome) -> Transcript:
    """The transcript of an outcome, or its error raised."""
    if outcome.error is not None:
        raise outcome.error
    assert outcome.transcript is not None
    return outcome.transcript


@dataclass(slots=True)
class _Recording:
    languages: tuple[tuple[str, str], ...] = ()
    starts: list[float] = field(default_factory=list)  # of the windows read so far
    windows: dict[float, Texts] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    n_told: int = 0
    duration: float = 0.0
    complete: bool = False
    error: CanaryError | None = None

    @property
    def done(self) -> bool:
        return self.complete and len(self.windows) == len(self.starts)

    def next_segments(self) -> Iterator[Segment]:
        """Those of the first text that nobody was told of and that have all before them."""
        while self.n_told < len(self.starts) and self.starts[self.n_told] in self.windows:
            yield from self.windows[self.starts[self.n_told]][0]
            self.n_told += 1

    def transcript(self) -> Transcript:
        texts = [self._text(n) for n in range(len(self.languages))]
        return replace(texts[0], translations=tuple(texts[1:]))

    def _text(self, n: int) -> Transcript:
        segments = tuple(segment for start in self.starts for segment in self.windows[start][n])
        return Transcript(segments, *self.languages[n], self.duration, warnings=tuple(self.warnings))


class Assembly:
    """Collects the results of several recordings.

    Args:
        n_recordings: How many there are.
        on_segment: Told of every segment of the first text, in the order of its recording.
        on_warning: Told which recording is doubtful as a whole, and why.
    """

    def __init__(
        self,
        n_recordings: int,
        on_segment: Callable[[Segment], None] | None = None,
        on_warning: Callable[[int, str], None] | None = None,
    ) -> None:
        self._recordings = [_Recording() for _ in range(n_recordings)]
        self._on_segment, self._on_warning = on_segment, on_warning
        self._n_out = 0

    def describe(self, index: int, languages: tuple[tuple[str, str], ...]) -> None:
        """The spoken and written language of each of a recording's texts are known."""
        self._recordings[index].languages = languages

    def warn(self, index: int, warning: str) -> None:
        """Something about a whole recording is doubtful; its transcript will say so."""
        self._recordings[index].warnings.append(warning)
        if self._on_warning is not None:
            self._on_warning(index, warning)

    def expect(self, index: int, start: float, end: float) -> None:
        """A window of a recording was read, and will be added; the outcome waits for it, also after an error."""
        self._recordings[index].starts.append(start)
        self._recordings[index].duration = end

    def add(self, index: int, start: float, texts: Texts) -> None:
        """A window was decoded."""
        recording = self._recordings[index]
        recording.windows[start] = texts
        for segment in recording.next_segments():
            if self._on_segment is not None:
                self._on_segment(segment)

    def close(self, index: int, error: CanaryError | None = None) -> None:
        """A recording was read to its end, or cannot be read further."""
        self._recordings[index].complete = True
        self._recordings[index].error = error

    def outcomes(self) -> Iterator[Outcome]:
        """What is done and was not yet given out, in the order of the recordings."""
        while self._n_out < len(self._recordings) and self._recordings[self._n_out].done:
            recording = self._recordings[self._n_out]
            transcript = recording.transcript() if recording.error is None else None
            recording.windows.clear()
            yield Outcome(self._n_out, transcript, recording.error)
            self._n_out += 1
