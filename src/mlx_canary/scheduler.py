"""Recordings that are all known from the start in, their results out, window after window.

Goes through them in order and decodes windows of several recordings together, sorted by length: what is fastest for
all. Not more than a few batches of sound are in memory, one of them read while others are decoded. For recordings that
come and go there is `turns`. Those that are done by NeMo's way have no windows here, and are done one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, groupby, islice

from mlx_canary.audio.ahead import ReadAhead, is_at_hand
from mlx_canary.audio.sources import AudioSource
from mlx_canary.errors import PromptError
from mlx_canary.longform.assembly import Assembly
from mlx_canary.longform.journal import Journal
from mlx_canary.reading import Reader
from mlx_canary.requests import TranscriptionOptions
from mlx_canary.transcriber import Piece, Transcriber

# Windows are sorted by length within so many batches, so that a batch's windows are alike. All of them are in memory:
# with twice as many, three hours took a third more of it than ten minutes.
_LOOK_AHEAD = 4
# So many of 10 s make the longest window.
_BLOCKS_OF_A_WINDOW = 4


class Scheduler:
    """Decides what is decoded when, with one loaded model."""

    def __init__(self, reader: Reader, transcriber: Transcriber) -> None:
        self._reader = reader
        self._transcriber = transcriber

    def run(
        self,
        requests: Sequence[tuple[AudioSource, TranscriptionOptions]],
        assembly: Assembly,
        batch_size: int,
        journals: Sequence[Journal] | None,
    ) -> Iterator[None]:
        """Decode window after window; between them the caller can take what is known from the assembly.

        Raises:
            PromptError: The checkpoint does not have a language, task or option, or a journal is given that could not
                be kept. What is wrong with a recording is told to the assembly instead.
        """
        check_batch_size(batch_size)
        notes: Sequence[Journal | None] = [None] * len(requests) if journals is None else journals
        for (_, options), journal in zip(requests, notes, strict=True):
            self._reader.check(options, journal)
        ahead = [n for n, request in enumerate(requests) if is_at_hand(request[0]) and not _is_whole(request)]
        recordings = [self._reader.blocks(*requests[n]) for n in ahead]
        with ReadAhead(recordings, batch_size * _BLOCKS_OF_A_WINDOW) as reading:
            sounds = {n: reading.blocks(place) for place, n in enumerate(ahead)}
            for whole, group in groupby(range(len(requests)), lambda n: _is_whole(requests[n])):
                each = (self._reader.pieces(n, *requests[n], assembly, notes[n], sounds.get(n)) for n in group)
                yield from _one_by_one(each) if whole else self._together(each, assembly, batch_size, notes)

    def _together(
        self, each: Iterator[Iterator[Piece]], assembly: Assembly, batch_size: int, notes: Sequence[Journal | None]
    ) -> Iterator[None]:
        """Windows of several recordings in each batch."""
        batches = _sorted_batches(chain.from_iterable(each), batch_size)
        for piece, texts in self._transcriber.each(batches, batch_size):
            if (journal := notes[piece.recording]) is not None:
                journal.note(piece.window, texts)
            assembly.add(piece.recording, piece.window.start, texts)
            yield


def _is_whole(request: tuple[AudioSource, TranscriptionOptions]) -> bool:
    """Whether a recording is decoded as it is read, by NeMo's way, and has no windows to share a batch."""
    return request[1].longform == "nemo"


def _one_by_one(each: Iterator[Iterator[Piece]]) -> Iterator[None]:
    """Recordings without windows."""
    for pieces in each:
        list(pieces)  # none, but this is what decodes it
        yield


def _sorted_batches(pieces: Iterator[Piece], batch_size: int) -> Iterator[list[Piece]]:
    """Windows of like lengths together."""
    n_ahead = 1  # little at first, so that something is seen soon
    while ahead := list(islice(pieces, batch_size * n_ahead)):
        ahead.sort(key=lambda piece: len(piece.window.samples))
        for start in range(0, len(ahead), batch_size):
            yield ahead[start : start + batch_size]
        n_ahead = min(2 * n_ahead, _LOOK_AHEAD)


def check_batch_size(batch_size: int) -> None:
    """Refuse what is no number of windows.

    Raises:
        PromptError: It is not.
    """
    if not isinstance(batch_size, int) or batch_size < 1:
        raise PromptError(f"batch_size={batch_size!r} must be a whole number, at least 1.")
