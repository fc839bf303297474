"""Recordings that come and go in, their results out: every recording has its turn, batch after batch.

The same reading, decoding and assembling as in `scheduler`, in another order: one that is fair where many wait. A
batch takes one window from each recording before it takes a second one from any. Recordings that have not had a turn go
first, so that short ones are soon done, but every second batch begins with one that has, so that long ones go on.
Knows nothing about servers or threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from mlx_canary.audio.sources import AudioSource
from mlx_canary.longform.assembly import Assembly, Outcome, Texts
from mlx_canary.longform.journal import Journal
from mlx_canary.reading import Reader
from mlx_canary.requests import TranscriptionOptions
from mlx_canary.scheduler import check_batch_size
from mlx_canary.transcriber import Piece, Transcriber
from mlx_canary.types import Segment

# Windows of one batch differ in length by this factor at most: all are padded to the longest.
_ALIKE = 2.0


@dataclass(eq=False)
class _Recording:
    """A recording that is being decoded.

    Attributes:
        ticket: Its number.
        pieces: Its windows; the next one is in `next` already, None when all were drawn.
        assembly: Of this recording alone.
        journal: Where its finished windows are noted.
        fault: What went wrong when it was read, if that is not the recording's own error.
    """

    ticket: int
    pieces: Iterator[Piece]
    assembly: Assembly
    journal: Journal | None
    next: Piece | None = None
    fault: Exception | None = None

    def read(self) -> None:
        """Read the next window; what goes wrong is kept, for others are drawn in the same batch."""
        try:
            self.next = next(self.pieces, None)
        except Exception as error:
            self.next, self.fault = None, error

    def draw(self) -> Piece:
        """The next window; the one after it is read."""
        piece = self.next
        assert piece is not None
        self.read()
        return piece


class TranscriptionQueue:
    """Recordings that are decoded together while others come and go; made by `CanaryModel.queue`.

    Each gets the text that `CanaryModel.transcribe` would give it. Nothing happens but in `step`. Not more than a
    window of each recording is in memory beside what was given.
    """

    def __init__(self, reader: Reader, transcriber: Transcriber, batch_size: int) -> None:
        check_batch_size(batch_size)
        self._reader, self._transcriber, self._batch_size = reader, transcriber, batch_size
        self._open: dict[int, _Recording] = {}
        self._new: deque[_Recording] = deque()  # not read yet
        self._waiting: deque[_Recording] = deque()  # had a turn
        self._n_added = 0
        self._n_steps = 0
        self.n_windows = 0
        """How many windows were decoded so far."""

    def add(
        self,
        audio: AudioSource,
        options: TranscriptionOptions | None = None,
        *,
        on_segment: Callable[[Segment], None] | None = None,
        journal: Journal | None = None,
    ) -> int:
        """One more recording.

        Args:
            audio: As for `CanaryModel.transcribe`. It is read while it is decoded, and must stay until then.
            options: What is wanted of it.
            on_segment: Called within `step` with each segment as soon as it is known, in order.
            journal: Finished windows are taken from it, and noted in it; not with longform "nemo".

        Returns:
            Its number, which `Outcome.index` and `cancel` name it by.

        Raises:
            PromptError: The checkpoint does not have a language, task or option, or the journal could not be kept.
        """
        asked = options or TranscriptionOptions()
        self._reader.check(asked, journal)
        ticket = self._n_added

        def tell(segment: Segment) -> None:
            if on_segment is not None and ticket in self._open:  # it may cancel between two of them
                on_segment(segment)

        assembly = Assembly(1, tell)
        pieces = self._reader.pieces(0, audio, asked, assembly, journal)
        self._open[ticket] = _Recording(ticket, pieces, assembly, journal)
        self._new.append(self._open[ticket])
        self._n_added += 1
        return ticket

    def cancel(self, ticket: int) -> bool:
        """Forget a recording; False if it was done or cancelled before. There will be no outcome."""
        recording = self._open.pop(ticket, None)
        if recording is None:
            return False
        for line in (self._new, self._waiting):
            if recording in line:
                line.remove(recording)
        return True

    def __len__(self) -> int:
        """How many recordings are not done yet."""
        return len(self._open)

    def __contains__(self, ticket: int) -> bool:
        """Whether a recording is not done yet, nor cancelled, nor forgotten after a fault."""
        return ticket in self._open

    def step(self) -> list[Outcome]:
        """Decode one batch; nothing if there is nothing to do.

        Returns:
            What became of the recordings that are done with it, the first done first.

        Raises:
            Exception: What an `on_segment` raised, or a fault. The recordings that it met are forgotten; others go on.
        """
        batch = self._draw()
        problems: list[Exception] = []
        try:
            texts = self._transcriber([piece for _, piece in batch])
        except Exception:
            for recording, _ in batch:
                self.cancel(recording.ticket)
            raise
        for (recording, piece), found in zip(batch, texts, strict=True):
            if recording.ticket in self._open:  # else it was cancelled by somebody who was told a segment
                try:
                    self._deliver(recording, piece, found)
                except Exception as error:
                    self.cancel(recording.ticket)
                    problems.append(error)
        self.n_windows += len(batch)
        for recording in list(self._open.values()):
            if recording.fault is not None:
                self.cancel(recording.ticket)
                problems.append(recording.fault)
        if problems:
            raise problems[0]
        return self._outcomes()

    def _deliver(self, recording: _Recording, piece: Piece, found: Texts) -> None:
        if recording.journal is not None:
            recording.journal.note(piece.window, found)
        recording.assembly.add(0, piece.window.start, found)

    def _draw(self) -> list[tuple[_Recording, Piece]]:
        """The windows of the next batch."""
        self._n_steps += 1
        lines = [self._new, self._waiting] if self._n_steps % 2 else [self._waiting, self._new]
        batch: list[tuple[_Recording, Piece]] = []
        while len(batch) < self._batch_size:
            drawn = self._round(lines, batch)
            if not drawn:
                break
            batch += drawn
        return batch

    def _round(
        self, lines: list[deque[_Recording]], batch: list[tuple[_Recording, Piece]]
    ) -> list[tuple[_Recording, Piece]]:
        """One window from each recording that has one like those that were drawn before."""
        drawn: list[tuple[_Recording, Piece]] = []
        for recording in [each for line in lines for each in line]:
            if len(batch) + len(drawn) == self._batch_size:
                break
            if recording in self._new and recording.next is None:
                recording.read()  # which may tell somebody a silent segment
            if recording.ticket not in self._open:
                continue
            if recording.next is not None and not _are_alike(recording.next, [p for _, p in (*batch, *drawn)]):
                continue
            (self._new if recording in self._new else self._waiting).remove(recording)
            if recording.next is not None:
                drawn.append((recording, recording.draw()))
            if recording.next is not None:
                self._waiting.append(recording)
        return drawn

    def _outcomes(self) -> list[Outcome]:
        done = [
            replace(outcome, index=recording.ticket)
            for recording in self._open.values()
            for outcome in recording.assembly.outcomes()
        ]
        for outcome in done:
            del self._open[outcome.index]
        return done


def _are_alike(piece: Piece, others: list[Piece]) -> bool:
    lengths = [len(each.window.samples) for each in (piece, *others)]
    return max(lengths) <= _ALIKE * min(lengths)
