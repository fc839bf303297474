"""Recordings that are all known from the start in, their results out, window after window.

Goes through them in order and decodes windows of several recordings together, sorted by length: what is fastest for
all. Not more than a few batches of sound are in memory, one of them read while others are decoded. For recordings that
come and go there is `turns`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice

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
            PromptError: The checkpoint does not have a language, task or option. What is wrong with a recording is told
                to the assembly instead.
        """
        check_batch_size(batch_size)
        for _, options in requests:
            self._reader.check(options)
        ahead = [n for n, (audio, options) in enumerate(requests) if is_at_hand(audio) and options.longform != "nemo"]
        recordings = [self._reader.blocks(*requests[n]) for n in ahead]
        with ReadAhead(recordings, batch_size * _BLOCKS_OF_A_WINDOW) as reading:
            sounds = {n: reading.blocks(place) for place, n in enumerate(ahead)}
            pieces = chain.from_iterable(
                self._reader.pieces(n, *request, assembly, None if journals is None else journals[n], sounds.get(n))
                for n, request in enumerate(requests)
            )
            for piece, texts in self._transcriber.each(_sorted_batches(pieces, batch_size), batch_size):
                if journals is not None:
                    journals[piece.recording].note(piece.window, texts)
                assembly.add(piece.recording, piece.window.start, texts)
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
