"""An uploaded file in, its sound out: decoded before it waits for its turn.

So what is no recording, or too long a one, is refused at once. Files are decoded a block at a time, in turns, so that a
short one does not wait for long ones. The samples lie in an anonymous temporary file, mapped into memory.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO, cast

import numpy as np

from mlx_canary.audio.load import iter_audio
from mlx_canary.errors import AudioError
from mlx_canary.serve.failures import RequestError, busy
from mlx_canary.types import Audio

_MOST_FILES = 128  # that are being decoded; each has a thread, which mostly waits
_AT_ONCE = 2  # blocks decoded at the same time
_BLOCK = 10.0  # seconds


class SoundReader:
    """Decodes uploads in threads of its own.

    Args:
        sample_rate: Wanted rate in Hz.
        max_duration: Seconds of one recording.
        max_held: Seconds of all that are held at once.
    """

    def __init__(self, sample_rate: int, max_duration: float, max_held: float) -> None:
        self._rate, self._max_duration, self._max_held = sample_rate, max_duration, max_held
        self._pool = ThreadPoolExecutor(_MOST_FILES, thread_name_prefix="sound")
        self._turns = _Turns(_AT_ONCE)
        self._lock = threading.Lock()
        self._n_held = 0

    @property
    def held(self) -> float:
        """Seconds that are held now."""
        return self._n_held / self._rate

    async def read(self, file: IO[bytes]) -> Audio:
        """The sound of a file, one channel at the wanted rate; `release` it when it is not needed any more.

        Raises:
            AudioError: It is no recording.
            RequestError: It is too long, or too much sound is held already.
        """
        stop = threading.Event()
        work = self._pool.submit(self._decode, file, stop)
        sound = asyncio.wrap_future(work)
        try:
            return await asyncio.shield(sound)
        except asyncio.CancelledError:
            stop.set()
            if not work.cancel():  # the thread still reads the file, which the caller is about to close
                await asyncio.wait([sound])
                if sound.exception() is None:
                    self.release(sound.result())
            raise

    def release(self, audio: Audio) -> None:
        """The sound is not needed any more."""
        self._keep(-len(audio.samples))

    def close(self) -> None:
        """No more files."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _decode(self, file: IO[bytes], stop: threading.Event) -> Audio:
        n_samples = 0
        with tempfile.TemporaryFile(prefix="mlx-canary-") as samples:
            try:
                guarded = _Guarded(file, stop)
                source = cast(IO[bytes], guarded)
                blocks = iter_audio(source, sample_rate=self._rate, block_seconds=_BLOCK, name="The upload")
                while True:
                    with self._turns.one():
                        block = next(blocks, None)
                        if block is None:
                            break
                        guarded.check()
                        if n_samples + len(block) > self._max_duration * self._rate:
                            raise _too_long(self._max_duration)
                        self._keep(len(block))
                        n_samples += len(block)
                        samples.write(block.tobytes())
                samples.flush()
                # An empty file cannot be mapped.
                mapped = np.memmap(samples, np.float32, "r") if n_samples else np.zeros(0, np.float32)
                return Audio(mapped, self._rate)
            except BaseException:
                self._keep(-n_samples)
                raise

    def _keep(self, n_samples: int) -> None:
        with self._lock:
            if n_samples > 0 and (self._n_held + n_samples) > self._max_held * self._rate:
                raise busy(
                    "too_much_sound", "The server holds as much sound as it may. Try again later.", retry_after=30
                )
            self._n_held += n_samples


class _Turns:
    """Lets a few threads work at a time, in the order in which they asked; with a semaphore they overtake."""

    def __init__(self, n: int) -> None:
        self._n_free = n
        self._lock = threading.Lock()
        self._waiting: deque[threading.Event] = deque()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Wait for a turn, and have it."""
        mine = threading.Event()
        with self._lock:
            self._waiting.append(mine)
            self._call()
        mine.wait()
        try:
            yield
        finally:
            with self._lock:
                self._n_free += 1
                self._call()

    def _call(self) -> None:
        while self._n_free and self._waiting:
            self._n_free -= 1
            self._waiting.popleft().set()


class _Guarded:
    """A file that can be taken away from whoever reads it."""

    def __init__(self, file: IO[bytes], stop: threading.Event) -> None:
        self._file, self._stop = file, stop
        self.closed = False

    def check(self) -> None:
        if self._stop.is_set():
            raise AudioError("The upload is not needed any more.")

    def read(self, size: int = -1) -> bytes:
        self.check()
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        self.check()
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True


def _too_long(limit: float) -> RequestError:
    return RequestError(
        413, "audio_too_long", f"The upload is longer than this server's limit of {limit:g} s. Cut it.", "file"
    )
