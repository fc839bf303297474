"""`WebSocket /v1/realtime`: live sound in, text out while it is being spoken, in the shape of OpenAI's Realtime API."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import secrets
import time
from contextlib import suppress
from typing import Any

import numpy as np
from fastapi import APIRouter, WebSocket
from pydantic import ValidationError

from mlx_canary.audio.samples import to_float
from mlx_canary.errors import CanaryError
from mlx_canary.serve.failures import RequestError, refuse
from mlx_canary.serve.live import Clear, Commit, Configure, Finish, LiveSession, Sound
from mlx_canary.serve.logs import note
from mlx_canary.serve.models import check_model
from mlx_canary.serve.realtime_events import (
    CLIENT_EVENT,
    Append,
    OldSessionUpdate,
    Session,
    SessionUpdate,
    failed,
    merged,
)
from mlx_canary.serve.realtime_events import Clear as ClearEvent
from mlx_canary.serve.state import State, state_of

router = APIRouter()
PROTOCOL = "realtime"
# A client for which more waits than this is not read until there is room again.
_MOST_SECONDS, _MOST_ORDERS, _MOST_EVENTS = 30.0, 1_000, 4_096
_MOST_WRONG = 100  # events, one after the other
_PAUSE = 0.05  # seconds
_NORMAL, _GOING_AWAY, _POLICY, _FAULT = 1000, 1001, 1008, 1011


@router.websocket("/v1/realtime")
async def realtime(websocket: WebSocket) -> None:
    """One session."""
    state = state_of(websocket)
    try:
        _check_query(state, websocket)
        with state.lives.enter():
            asked = websocket.scope.get("subprotocols", [])
            await websocket.accept(subprotocol=PROTOCOL if PROTOCOL in asked else None)
            conversation = _Conversation(state, websocket)
            try:
                await conversation.run()
            finally:
                note(websocket.scope, audio_seconds=round(conversation.received, 3))
                state.metrics.audio.labels("live").inc(conversation.received)
    except RequestError as error:  # before the session began
        await refuse(error, websocket.scope, websocket.receive, websocket.send)


def _check_query(state: State, websocket: WebSocket) -> None:
    query = websocket.query_params
    if query.get("intent", "transcription") != "transcription":
        raise RequestError(400, "invalid_option", "Here a session only transcribes: intent=transcription.", "intent")
    if "model" in query:
        check_model(state, query["model"])


class _Conversation:
    """One session's traffic.

    Attributes:
        received: Seconds of sound.
    """

    def __init__(self, state: State, websocket: WebSocket) -> None:
        self._state, self._websocket = state, websocket
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._session, self._half = Session(), b""
        self._n_wrong = 0  # events since the last one that was right
        self._began, self.received = time.monotonic(), 0.0
        self._live = LiveSession(state.default_language, self._session, self._tell)

    async def run(self) -> None:
        """Until the client goes, says nothing for long, or the server stops."""
        self._state.worker.attach(self._live)
        sending = asyncio.ensure_future(self._send())
        receiving = asyncio.ensure_future(self._receive())
        stopping = asyncio.ensure_future(self._state.stopping.wait())
        created = {"id": f"sess_{secrets.token_hex(10)}", "expires_at": int(time.time() + self._left())}
        self._events.put_nowait({"type": "session.created", "session": {**self._session.model_dump(), **created}})
        tasks = (sending, receiving, stopping)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():  # the client is gone, or the session has failed
                reason = _FAILED if sending.exception() is None else _GONE
            else:
                reason = _STOPPED if stopping.done() else receiving.result()
            if reason not in (_GONE, _FAILED):
                self._live.put(Finish())
                self._state.worker.wake()
                await asyncio.wait([sending], timeout=self._state.settings.shutdown_timeout)
            if reason != _GONE:
                with suppress(asyncio.TimeoutError):  # a client that reads nothing does not get this either
                    await asyncio.wait_for(self._websocket.close(*reason), self._state.settings.shutdown_timeout)
        finally:
            self._state.worker.detach(self._live)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _left(self) -> float:
        """Seconds: without sound too a session ends, or a client could keep its place for ever."""
        return self._state.settings.max_duration - max(self.received, time.monotonic() - self._began)

    def _tell(self, event: dict[str, Any]) -> None:
        """From the worker's thread."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    async def _send(self) -> None:
        while event := await self._events.get():
            await self._websocket.send_text(
                json.dumps({"event_id": f"event_{secrets.token_hex(10)}", **event}, ensure_ascii=False)
            )

    async def _receive(self) -> tuple[int, str]:
        """Until it ends; how to close the connection then."""
        while True:
            try:
                message = await asyncio.wait_for(self._websocket.receive(), self._state.settings.idle_timeout)
            except asyncio.TimeoutError:
                return _NORMAL, "Nothing was heard for long."
            if message["type"] == "websocket.disconnect":
                return _GONE
            self._take(message.get("text"))
            if self._n_wrong >= _MOST_WRONG:
                return _POLICY, "Too many events were wrong."
            if self._left() < 0:
                return _POLICY, "This session is as long as the server allows."
            if not await self._room():
                return _POLICY, "The events of this session are not read."

    async def _room(self) -> bool:
        """Wait until more can be taken; False if that does not happen because the client reads nothing."""
        unread = 0.0
        while self._live.seconds_waiting > _MOST_SECONDS or self._live.n_waiting > _MOST_ORDERS or self._is_unread():
            if unread > self._state.settings.idle_timeout:
                return False
            await asyncio.sleep(_PAUSE)
            unread = unread + _PAUSE if self._is_unread() else 0.0
        return True

    def _is_unread(self) -> bool:
        return self._events.qsize() > _MOST_EVENTS

    def _take(self, text: str | None) -> None:
        n_wrong = self._n_wrong
        if text is None:
            self._refuse("invalid_event", "Events are JSON in text messages.")
        else:
            self._obey(text)
        if self._n_wrong == n_wrong:
            self._n_wrong = 0

    def _refuse(self, code: str, message: str, event_id: str | None = None, param: str | None = None) -> None:
        self._n_wrong += 1
        self._events.put_nowait(failed(code, message, event_id, param))

    def _obey(self, text: str) -> None:
        try:
            event = CLIENT_EVENT.validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            param = ".".join(map(str, first["loc"]))[:100] or None
            self._refuse("invalid_event", f"{first['msg']:.300}.", _event_id(text), param)
            return
        if isinstance(event, SessionUpdate | OldSessionUpdate):
            self._update(event)
        elif isinstance(event, Append):
            self._append(event)
        else:
            self._half = b""  # nothing is left of what was sent, half a sample neither
            self._live.put(Clear() if isinstance(event, ClearEvent) else Commit(event.event_id))
        self._state.worker.wake()

    def _update(self, event: SessionUpdate | OldSessionUpdate) -> None:
        session = merged(self._session, event)
        name = session.audio.input.transcription.model
        try:
            if name is not None:
                check_model(self._state, name)
            self._live.check(self._state.model, session)
        except RequestError as error:
            self._refuse(error.code, error.message, event.event_id, "session")
        except CanaryError as error:
            self._refuse("invalid_option", str(error), event.event_id, "session")
        else:
            if session != self._session:  # a new item begins, and with a whole sample
                self._session, self._half = session, b""
            old = isinstance(event, OldSessionUpdate)
            self._live.put(Configure(session, "transcription_session.updated" if old else "session.updated"))

    def _append(self, event: Append) -> None:
        try:
            data = self._half + base64.b64decode(event.audio, validate=True)
        except (binascii.Error, ValueError):
            self._refuse("invalid_audio", "audio is not base64.", event.event_id, "audio")
            return
        n_whole = len(data) // 2 * 2
        self._half = data[n_whole:]
        rate = self._session.audio.input.format.rate
        sound = Sound(to_float(np.frombuffer(data[:n_whole], "<i2")), rate)
        self.received += sound.seconds
        if n_whole:
            self._live.put(sound)


_GONE = (0, "")
_FAILED = (_FAULT, "The session has failed.")
_STOPPED = (_GOING_AWAY, "The server is being stopped.")


def _event_id(text: str) -> str | None:
    """The id of an event that is otherwise wrong."""
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        return None
    found = event.get("event_id") if isinstance(event, dict) else None
    # Half of a surrogate pair, which JSON can hold, cannot be sent.
    return found[:512].encode("utf-8", "replace").decode() if isinstance(found, str) else None
