"""Requests that end by no answer of theirs: a fault of ours, or the time of a server that is being stopped is over.

ASGI middleware, inside the log, so that such an answer has an id and a code as every other has.
"""

from __future__ import annotations

import asyncio
import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mlx_canary.serve.admission import stopping
from mlx_canary.serve.failures import FAULT, RequestError, refuse
from mlx_canary.serve.logs import note
from mlx_canary.serve.state import State

_log = logging.getLogger(__name__)


class Faults:
    """Answers in their place. Where an answer has begun, it breaks off."""

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app, self._state = app, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noted)
            return
        except asyncio.CancelledError:
            if not self._state.stopping.is_set():
                raise
            error = stopping()
        except Exception:
            error = RequestError(500, "internal_error", FAULT)
            _log.exception("A request failed", extra={"facts": {"request_id": scope["state"]["facts"]["request_id"]}})
        note(scope, code=error.code)
        if not begun:
            await refuse(error, scope, receive, send)
