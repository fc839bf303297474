"""`POST /v1/audio/transcriptions` and `/v1/audio/translations`, as OpenAI's clients call them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.types import Receive, Scope, Send

from mlx_canary.errors import CanaryError
from mlx_canary.requests import TranscriptionOptions
from mlx_canary.serve.admission import stopping
from mlx_canary.serve.answers import answer, as_event, delta, done
from mlx_canary.serve.failures import FAULT, RequestError, as_request_error, error_body
from mlx_canary.serve.forms import TranscriptionForm, check_times, options_of, read_form
from mlx_canary.serve.logs import note
from mlx_canary.serve.models import check_model
from mlx_canary.serve.state import State, state_of
from mlx_canary.serve.transcribing import Deadline, disconnected, sound_of, transcribe, while_wanted
from mlx_canary.serve.uploads import FORM, read_upload
from mlx_canary.types import Audio, Segment, Transcript

router = APIRouter(prefix="/v1/audio", tags=["audio"])
Event = Segment | Transcript | Exception
Events = asyncio.Queue[Event]

_KEEP_ALIVE = 15.0  # seconds of silence after which a stream says that it is alive
_LAST_EVENT = 15.0  # seconds in which a client has to read that its time is over

ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The text, in the format asked for.",
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "text/plain": {"schema": {"type": "string"}},
            "application/x-subrip": {"schema": {"type": "string"}},
            "text/vtt": {"schema": {"type": "string"}},
            "text/event-stream": {"schema": {"type": "string"}},
        },
    }
}


@router.post("/transcriptions", openapi_extra=FORM, responses=ANSWERS, response_model=None)
async def transcriptions(request: Request) -> Response:
    """Write down what a recording says; with target_language, in that language."""
    return await _respond(request, translate=False)


@router.post("/translations", openapi_extra=FORM, responses=ANSWERS, response_model=None)
async def translations(request: Request) -> Response:
    """Write down what a recording says in another language: English, or target_language."""
    return await _respond(request, translate=True)


async def _respond(request: Request, translate: bool) -> Response:
    state = state_of(request)
    deadline = Deadline(state.settings.request_timeout)
    async with AsyncExitStack() as stack:
        stack.enter_context(state.requests.enter())
        file, asked = read_form(await read_upload(request, stack))
        check_model(state, asked.model)
        check_times(asked)
        try:
            options = options_of(asked, state.settings.language, state.default_language, translate)

            async def work() -> Response:
                audio = await stack.enter_async_context(sound_of(state, file))
                if asked.stream:
                    return await _stream(request, audio, options, asked, stack, deadline)
                transcript = await transcribe(state, audio, options)
                _note(request, state, transcript)
                return answer(transcript, asked)

            return await while_wanted(request, work(), deadline)
        except CanaryError as error:
            raise as_request_error(error) from error


def _note(request: Request, state: State, transcript: Transcript) -> None:
    """For log and metrics."""
    state.metrics.audio.labels("request").inc(transcript.duration)
    note(request.scope, audio_seconds=round(transcript.duration, 3), language=transcript.target_lang)
    if transcript.warnings:
        note(request.scope, warnings=transcript.warnings)
    if state.settings.log_text:
        note(request.scope, text=transcript.text)


async def _stream(
    request: Request,
    audio: Audio,
    options: TranscriptionOptions,
    form: TranscriptionForm,
    stack: AsyncExitStack,
    deadline: Deadline,
) -> Response:
    """Events, once there is a first one: until then an error is an answer of its own."""
    events: Events = asyncio.Queue()
    state = state_of(request)
    task = asyncio.ensure_future(transcribe(state, audio, options, events.put_nowait))
    task.add_done_callback(lambda task: _settle(task, events))
    task.add_done_callback(lambda task: _note_end(request, state, task))
    try:
        first = await events.get()
    except asyncio.CancelledError:
        task.cancel()
        raise
    if isinstance(first, Exception):
        try:
            raise first
        finally:
            del first, task  # the error leads to this frame, which would lead back to it and keep the sound
    stack.callback(task.cancel)
    return EventStream(_events(first, events, form, deadline), stack.pop_all(), deadline, state.stopping)


def _settle(task: asyncio.Task[Transcript], events: Events) -> None:
    if not task.cancelled():
        events.put_nowait(task.exception() or task.result())  # type: ignore[arg-type]  # no BaseException is raised


def _note_end(request: Request, state: State, task: asyncio.Task[Transcript]) -> None:
    if not task.cancelled() and task.exception() is None:
        _note(request, state, task.result())


async def _events(event: Event, events: Events, form: TranscriptionForm, deadline: Deadline) -> AsyncIterator[bytes]:
    n_told = 0
    while isinstance(event, Segment):
        if (data := delta(event, is_first=n_told == 0)) is not None:
            n_told += 1
            yield as_event(data)
        while (following := await _next(events, deadline)) is None:
            yield b": still at work\n\n"
        event = following
    yield as_event(done(event, form) if isinstance(event, Transcript) else _error_event(event))


async def _next(events: Events, deadline: Deadline) -> Event | None:
    """The next event; None if there was none for a while, and an error when the time is over."""
    if not (left := deadline.seconds_left):
        return deadline.error()
    # Not wait_for: before Python 3.12 it forgets that it was cancelled, if there is an event at the same moment.
    following = asyncio.ensure_future(events.get())
    try:
        await asyncio.wait([following], timeout=min(_KEEP_ALIVE, left))
        return following.result() if following.done() else None
    finally:
        following.cancel()


def _error_event(error: Exception) -> dict[str, Any]:
    """An error after the answer has begun."""
    if isinstance(error, CanaryError):
        error = as_request_error(error)
    if isinstance(error, RequestError):
        return error_body(error.status, error.code, error.message, error.param)
    return error_body(500, "internal_error", FAULT)


class EventStream(Response):
    """Server-sent events.

    What the request holds is held until the last one is sent, the client goes away, or does not read it in time. Where
    the server is stopped before, the last one is that error.
    """

    def __init__(
        self, events: AsyncIterator[bytes], held: AsyncExitStack, deadline: Deadline, server_stops: asyncio.Event
    ) -> None:
        super().__init__(media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        del self.headers["content-length"]
        self._events, self._held, self._deadline, self._server_stops = events, held, deadline, server_stops

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._held:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            sending, gone = asyncio.ensure_future(self._send(send)), asyncio.ensure_future(disconnected(receive))
            try:
                patience = self._deadline.seconds_left + _LAST_EVENT
                await asyncio.wait((sending, gone), timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                if sending.done():
                    sending.result()
            except asyncio.CancelledError:
                if self._server_stops.is_set() and not sending.done():
                    sending.cancel()
                    await asyncio.wait((sending,))
                    await _send_last(send, as_event(_error_event(stopping())))
                raise
            finally:
                sending.cancel()
                gone.cancel()
                await asyncio.wait((sending, gone))

    async def _send(self, send: Send) -> None:
        async for event in self._events:
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await _send_last(send, b"")


async def _send_last(send: Send, event: bytes) -> None:
    await send({"type": "http.response.body", "body": event, "more_body": False})
