"""The application: routes, guards and limits put together. Knows nothing about sockets and signals."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mlx_canary.serve import health, jobs, metrics, models, realtime, transcriptions
from mlx_canary.serve.failures import (
    ClientGone,
    RequestError,
    on_client_gone,
    on_http_exception,
    on_request_error,
)
from mlx_canary.serve.faults import Faults
from mlx_canary.serve.guards import Guards
from mlx_canary.serve.job_runner import JobRunner
from mlx_canary.serve.limits import BodyLimits
from mlx_canary.serve.logs import RequestLog
from mlx_canary.serve.state import State
from mlx_canary.version import __version__

PAGE = Path(__file__).parent / "page"
"""What a browser gets: index.html and what belongs to it."""


# The rest of its policy the page says itself.
_PAGE_HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def make_app(state: State, runner: JobRunner | None) -> FastAPI:
    """The application of a server whose parts are ready."""
    app = FastAPI(
        title="Canary MLX",
        version=__version__,
        # The documents' pages would load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        middleware=_middleware(state),
        exception_handlers={
            RequestError: on_request_error,
            HTTPException: on_http_exception,
            ClientGone: on_client_gone,
            ClientDisconnect: on_client_gone,
        },
    )
    app.state.canary, app.state.jobs = state, runner
    for room in (transcriptions, jobs, models, realtime, health, metrics):
        app.include_router(room.router)
    if PAGE.is_dir():
        app.router.default = _Page(StaticFiles(directory=PAGE, html=True), app.router.default)
    return app


class _Page:
    """Files for browsers, where no route has the path; a mount would also hide that a path has another method."""

    def __init__(self, files: ASGIApp, otherwise: ASGIApp) -> None:
        self._files, self._otherwise = files, otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_PAGE_HEADERS)
            await send(message)

        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            await self._files(scope, receive, send_guarded)
        else:
            await self._otherwise(scope, receive, send)


def _middleware(state: State) -> list[Middleware]:
    """The first is the outermost."""
    settings = state.settings
    cors = Middleware(
        CORSMiddleware,
        allow_origins=list(settings.allow_origins),
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["*"],  # OpenAI's client for JavaScript sends several of its own
        expose_headers=["x-request-id", "Retry-After"],
    )
    return [
        Middleware(RequestLog, metrics=state.metrics),
        *([cors] if settings.allow_origins else []),
        Middleware(Faults, state=state),
        Middleware(BodyLimits, settings=settings),
        Middleware(Guards, settings=settings),
    ]
