"""The one thread that owns the model: coroutines ask it, it works one request after the other.

Knows nothing about the protocol.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mlx_canary.backend import leave_thread
from mlx_canary.config import Dtype, ModelConfig
from mlx_canary.longform.assembly import transcript_of
from mlx_canary.model import CanaryModel, Outcome, TranscriptionOptions
from mlx_canary.types import Segment, Transcript

_log = logging.getLogger(__name__)


class _Stopped(Exception):
    """Nobody waits for it any more."""


class Worker:
    """A model in a thread of its own, which begins to load it at once.

    Args:
        model, dtype: As for `CanaryModel.from_pretrained`. What is wrong with them is told to everybody who asks for
            something.
    """

    def __init__(self, model: str, dtype: Dtype | None = None) -> None:
        self._closing = threading.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mlx")
        self._model = self._thread.submit(CanaryModel.from_pretrained, model, dtype, self._loading)

    def close(self) -> None:
        """End the thread; what it is doing stops after the next windows, or the next part of a model's download."""
        self._closing.set()
        self._thread.submit(leave_thread)
        self._thread.shutdown()

    async def config(self) -> ModelConfig:
        """What the model says about itself, as soon as it is loaded.

        Raises:
            CanaryError: It cannot be loaded.
        """
        return (await asyncio.wrap_future(self._model)).config

    def _loading(self, what: str, done: int, total: int) -> None:
        """A part of the model is downloaded or converted."""
        if self._closing.is_set():
            _log.info("Stopped: %s", what)
            raise _Stopped

    async def transcribe(
        self, path: Path, options: TranscriptionOptions, report: Callable[[float], Awaitable[None]]
    ) -> Transcript:
        """Write a recording down. If the caller is cancelled, the work stops after the next windows.

        Args:
            path: The recording.
            options: What is wanted of it.
            report: Told again and again how many seconds of it are done.

        Raises:
            CanaryError: As for `CanaryModel.transcribe`, or the model cannot be loaded.
        """
        loop, stop = asyncio.get_running_loop(), threading.Event()
        done: asyncio.Queue[float | None] = asyncio.Queue()

        def tell(segment: Segment) -> None:
            loop.call_soon_threadsafe(done.put_nowait, segment.end)

        work = loop.run_in_executor(self._thread, self._transcribe, path, options, tell, stop)
        work.add_done_callback(lambda _: done.put_nowait(None))
        try:
            while (seconds := await done.get()) is not None:
                await report(seconds)
            return await work
        finally:
            stop.set()
            work.cancel()

    def _transcribe(
        self, path: Path, options: TranscriptionOptions, tell: Callable[[Segment], None], stop: threading.Event
    ) -> Transcript:
        queue = self._model.result().queue()
        queue.add(path, options, on_segment=tell)
        _log.info("Transcribing %s", path)
        outcomes: list[Outcome] = []
        while not outcomes:
            if stop.is_set() or self._closing.is_set():
                _log.info("Stopped: %s", path)
                raise _Stopped
            outcomes = queue.step()
        return transcript_of(outcomes[0])
