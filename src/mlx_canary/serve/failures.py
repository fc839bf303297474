"""What can go wrong with a request, and its answer in the shape of OpenAI's API: {"error": {...}}."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from mlx_canary.errors import CanaryError
from mlx_canary.serve.logs import note

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}

FAULT = "Something went wrong in the server; its log says what."


class RequestError(Exception):
    """A request that gets no text.

    Args:
        status: The HTTP status.
        code: A name for programs, such as "queue_full".
        message: What was found, what was expected, what to do.
        param: The field that is wrong.
        headers: Of the answer.
    """

    def __init__(
        self, status: int, code: str, message: str, param: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param, self.headers = status, code, message, param, headers


class ClientGone(Exception):
    """Nobody waits for the answer any more. Where a client goes during its upload, Starlette says so with its own."""


def busy(code: str, message: str, retry_after: float, status: int = 429) -> RequestError:
    """An error for now, with the seconds after which to try again."""
    return RequestError(status, code, message, headers={"Retry-After": str(max(1, math.ceil(retry_after)))})


def error_body(status: int, code: str | None, message: str, param: str | None = None) -> dict[str, Any]:
    """OpenAI's shape of an error."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def as_request_error(error: CanaryError) -> RequestError:
    """An error of the package: it is always something about the request."""
    code = {"AudioError": "invalid_audio", "PromptError": "invalid_option"}.get(type(error).__name__, "invalid_request")
    return RequestError(400, code, str(error), "file" if code == "invalid_audio" else None)


def response_of(error: RequestError, scope: Scope) -> JSONResponse:
    """The answer; its code is noted for the log."""
    note(scope, code=error.code)
    body = error_body(error.status, error.code, error.message, error.param)
    return JSONResponse(body, error.status, headers=error.headers)


async def refuse(error: RequestError, scope: Scope, receive: Receive, send: Send) -> None:
    """Send the answer, also to a WebSocket that was not accepted yet."""
    response = response_of(error, scope)
    if scope["type"] != "websocket":
        await response(scope, receive, send)
        return
    await receive()  # websocket.connect
    # Older versions of uvicorn add a length of their own, and clients do not take two.
    headers = [(name, value) for name, value in response.raw_headers if name != b"content-length"]
    await send({"type": "websocket.http.response.start", "status": error.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": response.body})


async def on_request_error(request: Request, error: Exception) -> JSONResponse:
    """For FastAPI."""
    assert isinstance(error, RequestError)
    return response_of(error, request.scope)


async def on_http_exception(request: Request, error: Exception) -> JSONResponse:
    """What the framework refuses: no such path, another method, a form that is none."""
    assert isinstance(error, HTTPException)
    known = {404: "not_found", 405: "method_not_allowed", 400: "invalid_form"}
    message = str(error.detail)
    if error.status_code == 404:
        message = f"There is nothing at {request.url.path:.200}."
    if error.status_code == 405:
        message = f"{request.method} is not possible at {request.url.path:.200}."
    code = known.get(error.status_code, "invalid_request")
    return response_of(RequestError(error.status_code, code, message, headers=error.headers), request.scope)


async def on_client_gone(request: Request, error: Exception) -> Response:
    """For the log: nobody gets it."""
    return Response(status_code=499)
