"""How much of a request's body is read, and for how long: ASGI middleware, before anything is parsed."""

from __future__ import annotations

import asyncio
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mlx_canary.serve.failures import RequestError, response_of
from mlx_canary.serve.settings import Settings

_DRAIN_BYTES, _DRAIN_SECONDS = 64 * 10**6, 10.0


class BodyLimits:
    """Refuses bodies that are too large or too slow.

    Clients read an answer after they have sent all. So before an early one is sent, the rest of the body is read and
    thrown away, within bounds; otherwise they would see a broken connection instead of the reason.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._most, self._timeout = app, settings.max_upload_bytes, settings.request_timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body, headers = _Body(receive, self._most, self._timeout), Headers(scope=scope)
        # Without a body there is nothing to read, and whoever sends a file waits for the client's end at the same time.
        has_body = "content-length" in headers or "transfer-encoding" in headers

        async def send_when_read(message: Message) -> None:
            if message["type"] == "http.response.start" and has_body:
                await body.drain()
            await send(message)

        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._most:
            await response_of(_too_large(self._most), scope)(scope, receive, send_when_read)
        else:
            await self._app(scope, body.receive, send_when_read)


class _Body:
    """A request's body on its way in."""

    def __init__(self, receive: Receive, most: int, timeout: float) -> None:
        self._receive, self._most, self._timeout = receive, most, timeout
        self._deadline = time.monotonic() + timeout
        self._n_bytes, self._whole = 0, False

    async def receive(self) -> Message:
        """The next message, as ASGI has it."""
        if self._whole:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self._deadline - time.monotonic()))
        except asyncio.TimeoutError:
            raise RequestError(
                408, "upload_timeout", f"The upload took longer than this server's limit of {self._timeout:g} s."
            ) from None
        self._n_bytes += len(message.get("body", b""))
        self._whole = message["type"] != "http.request" or not message.get("more_body", False)
        if self._n_bytes > self._most:
            raise _too_large(self._most)
        return message

    async def drain(self) -> None:
        """Read what is left, and throw it away."""
        deadline, n_bytes = time.monotonic() + _DRAIN_SECONDS, 0
        while not self._whole and n_bytes < _DRAIN_BYTES and time.monotonic() < deadline:
            try:
                message = await asyncio.wait_for(self._receive(), max(0.0, deadline - time.monotonic()))
            except asyncio.TimeoutError:
                return
            n_bytes += len(message.get("body", b""))
            self._whole = message["type"] != "http.request" or not message.get("more_body", False)


def _too_large(most: int) -> RequestError:
    limit = f"{most / 1e6:g} MB"
    return RequestError(413, "upload_too_large", f"The upload is larger than this server's limit of {limit}.")
