"""From a form to a transcript: read the file, wait for its turn, stop when nobody waits for the answer any more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TypeVar

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.types import Receive

from mlx_canary.longform.journal import Journal
from mlx_canary.requests import TranscriptionOptions
from mlx_canary.serve.failures import ClientGone, RequestError
from mlx_canary.serve.state import State
from mlx_canary.serve.worker import Work
from mlx_canary.types import Audio, Segment, Transcript

T = TypeVar("T")


@asynccontextmanager
async def sound_of(state: State, file: UploadFile) -> AsyncIterator[Audio]:
    """The upload's sound, for as long as it is needed."""
    audio = await state.sound.read(file.file)
    try:
        yield audio
    finally:
        state.sound.release(audio)


async def transcribe(
    state: State,
    audio: Audio,
    options: TranscriptionOptions,
    on_segment: Callable[[Segment], None] = lambda segment: None,
    journal: Journal | None = None,
) -> Transcript:
    """Wait for a recording's turn and its text; when the waiting is cancelled, so is the work.

    Raises:
        CanaryError: It cannot be decoded as asked.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Transcript] = loop.create_future()
    work = Work(
        audio,
        options,
        on_segment=partial(_tell, loop, on_segment),
        on_done=partial(_tell, loop, partial(_settle, future)),
        journal=journal,
    )
    state.worker.submit(work)
    try:
        return await future
    finally:
        state.worker.cancel(work)
        del future, work  # an error leads to this frame, which would lead back to it and keep the sound


def _settle(future: asyncio.Future[Transcript], result: Transcript | Exception) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


def _tell(loop: asyncio.AbstractEventLoop, call: Callable[[T], None], what: T) -> None:
    """From the worker's thread to the server's, unless that has ended."""
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(call, what)


class Deadline:
    """When the time of a request is over.

    Args:
        limit: Seconds from now.
    """

    def __init__(self, limit: float) -> None:
        self._limit, self._end = limit, time.monotonic() + limit

    @property
    def seconds_left(self) -> float:
        """Until then; 0 from then on."""
        return max(0.0, self._end - time.monotonic())

    def error(self) -> RequestError:
        """What the client is told then."""
        return RequestError(504, "timeout", f"The answer took longer than this server's limit of {self._limit:g} s.")


async def while_wanted(request: Request, work: Awaitable[T], deadline: Deadline) -> T:
    """Do it as long as the client is there, within its time.

    Raises:
        ClientGone: The client went away; the work was cancelled.
        RequestError: The time is over; the work was cancelled.
    """
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(disconnected(request.receive))
    try:
        await asyncio.wait((task, gone), timeout=deadline.seconds_left, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if gone.done():
            raise ClientGone
        raise deadline.error()
    finally:
        gone.cancel()
        task.cancel()
        await asyncio.wait((task, gone))
        del task  # as above


async def disconnected(receive: Receive) -> None:
    """Returns when the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
