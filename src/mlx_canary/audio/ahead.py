"""Blocks of recordings in, the same blocks out, read by a thread while whoever takes them does other work.

Only for files: reading a pipe or an address may take for ever, and nothing could end the thread that waits.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from mlx_canary.audio.samples import Samples
from mlx_canary.audio.sources import AudioSource


def is_at_hand(source: AudioSource) -> bool:
    """Whether reading a source takes time, but is not waiting: a file, or one in memory."""
    if isinstance(source, str | os.PathLike):
        return source != "-" and os.path.isfile(source)
    return isinstance(source, bytes | bytearray | memoryview)


@dataclass(slots=True, eq=False)
class _Recording:
    blocks: Generator[Samples, None, None]
    ready: deque[Samples] = field(default_factory=deque)
    ended: bool = False
    error: Exception | None = None


class ReadAhead:
    """Reads recordings one after the other.

    Args:
        recordings: The blocks of each; nothing of them has been read.
        n_blocks: How many may lie ready.
    """

    def __init__(self, recordings: Sequence[Generator[Samples, None, None]], n_blocks: int) -> None:
        self._recordings = [_Recording(blocks) for blocks in recordings]
        self._n_blocks = n_blocks
        self._n_ready = 0
        self._first = 0  # nobody wants the recordings before this one any more
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="read ahead", daemon=True)

    def __enter__(self) -> ReadAhead:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._drop(len(self._recordings))
        self._thread.join()

    def blocks(self, number: int) -> Iterator[Samples]:
        """A recording's blocks, and its error if it has one. Taking them gives up the recordings before."""
        self._drop(number)
        recording = self._recordings[number]
        while True:
            with self._changed:
                self._changed.wait_for(lambda: recording.ready or recording.ended)
                if not recording.ready:
                    break
                block = recording.ready.popleft()
                self._n_ready -= 1
                self._changed.notify_all()
            yield block
        if recording.error is not None:
            raise recording.error

    def _drop(self, first: int) -> None:
        """Give up the recordings before this one."""
        with self._changed:
            for recording in self._recordings[self._first : first]:
                self._n_ready -= len(recording.ready)
                recording.ready.clear()
            self._first = max(self._first, first)
            self._changed.notify_all()

    def _read(self) -> None:
        for number, recording in enumerate(self._recordings):
            try:
                with closing(recording.blocks):
                    while number >= self._first and (block := next(recording.blocks, None)) is not None:
                        self._put(number, block)
            except Exception as error:  # whoever takes the blocks gets it
                recording.error = error
            with self._changed:
                recording.ended = True
                self._changed.notify_all()

    def _put(self, number: int, block: Samples) -> None:
        """Lay a block ready, when there is room for it."""
        with self._changed:
            self._changed.wait_for(lambda: number < self._first or self._n_ready < self._n_blocks)
            if number >= self._first:
                self._recordings[number].ready.append(block)
                self._n_ready += 1
                self._changed.notify_all()
