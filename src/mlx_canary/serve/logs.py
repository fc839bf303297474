"""The log: a JSON object on each line of stderr. What was said stands in it only where that was asked for."""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
from datetime import datetime, timezone
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mlx_canary.serve.metrics import Metrics

_log = logging.getLogger(__name__)

_LOGGERS = ("", "mlx_canary", "uvicorn")  # the first is that of all others, as of what reads forms
# uvicorn says so of every WebSocket that is refused with a status; the request's own line says why it was.
_NOISE = "ASGI callable returned without completing handshake."
# Terminals obey these, and paths and texts come from anybody. JSON itself escapes those below 32 alone.
_CONTROL = re.compile(r"[\x7f-\x9f]")
_ID = re.compile(r"^[A-Za-z0-9_.-]{1,64}$")


class JsonLines(logging.Formatter):
    """A record as a line; `extra={"facts": {...}}` become keys of their own."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(line, ensure_ascii=False, default=str))


def log_to_stderr() -> None:
    """From now on everything that the server and its parts have to say goes to stderr as JSON."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    handler.addFilter(lambda record: record.msg != _NOISE)
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers[:], logger.propagate = [handler], False
    logging.getLogger("mlx_canary").setLevel(logging.INFO)


def note(scope: Scope, **facts: Any) -> None:
    """Something that the request's line in the log should say."""
    scope.setdefault("state", {}).setdefault("facts", {}).update(facts)


class RequestLog:
    """ASGI middleware: a line in the log for each request and live session, the same counted, and an id for each."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        started, status = time.monotonic(), 500
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _ID.match(given) else f"req_{secrets.token_hex(12)}"

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            if message["type"] == "websocket.accept":
                status = 101
            await send(message)

        note(scope, request_id=request_id)
        try:
            await self._app(scope, receive, noted)
        finally:
            self._tell(scope, status, time.monotonic() - started)

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        facts = scope["state"]["facts"]
        route = getattr(scope.get("route"), "path", "other")
        method = scope.get("method", "WEBSOCKET")
        self._metrics.count(route, method, status, seconds, facts.get("code"))
        told = {"method": method, "path": scope["path"][:200], "status": status, "seconds": round(seconds, 3), **facts}
        _log.info("%s %s %d", method, told["path"], status, extra={"facts": told})
