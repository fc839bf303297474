"""A running server: the model in its thread, the application on its socket, and an end that loses nothing."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import math
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

import uvicorn

from mlx_canary.errors import ServerError
from mlx_canary.model import CanaryModel, TranscriptionOptions
from mlx_canary.serve.admission import Admission
from mlx_canary.serve.app import make_app
from mlx_canary.serve.connections import Protocol
from mlx_canary.serve.guards import api_key_of, host_name, origin_of
from mlx_canary.serve.job_runner import JobRunner
from mlx_canary.serve.job_store import JobStore
from mlx_canary.serve.metrics import Metrics
from mlx_canary.serve.settings import Settings
from mlx_canary.serve.sound import SoundReader
from mlx_canary.serve.state import State
from mlx_canary.serve.worker import Worker

_log = logging.getLogger(__name__)

_MOST_CONNECTIONS = 512
_KEEP_ALIVE = 30  # seconds: more than clients let pass between two looks at a job, also on a busy machine
_LAST_WORDS = 5.0  # seconds that requests get to say that they were cut off
_LARGEST_MESSAGE = 16 * 2**20  # bytes of a WebSocket message; OpenAI's limit for sound is 15 MiB


def serve(load: Callable[[], CanaryModel], settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM; then finish what was begun.

    Args:
        load: Makes the model; called in the thread that will own it.
        settings: How.

    Raises:
        ServerError: The address is taken, or would let others in without a key; or settings contradict each other.
        CanaryError: The model cannot be loaded, or does not know the language that is to be the default.
    """
    check_exposure(settings)
    _check_limits(settings)
    settings = replace(
        settings,
        api_key=None if settings.api_key is None else api_key_of(settings.api_key),
        allow_hosts=tuple(map(host_name, settings.allow_hosts)),
        allow_origins=tuple(map(origin_of, settings.allow_origins)),
    )
    metrics = Metrics()
    with _bind(settings) as listening, _store(settings) as store:
        worker = Worker(load, settings.batch_size, metrics.batch)
        model = worker.start()
        sound = SoundReader(model.config.preprocessor.sample_rate, settings.max_duration, settings.max_held)
        try:
            if settings.language is not None:
                model.check(TranscriptionOptions(language=settings.language))
            asyncio.run(_run(_state(settings, model, worker, sound, metrics), store, listening))
        finally:
            sound.close()
            worker.stop()


def _state(settings: Settings, model: CanaryModel, worker: Worker, sound: SoundReader, metrics: Metrics) -> State:
    requests = Admission("requests", settings.max_queue, settings.batch_size)
    lives = Admission("live sessions", settings.max_live, max(1, settings.max_live))
    metrics.watch("requests_in_work", "Requests in work or waiting.", lambda: requests.n_inside)
    metrics.watch("live_sessions", "Live sessions.", lambda: lives.n_inside)
    metrics.watch("held_audio_seconds", "Decoded sound that waits or is in work.", lambda: sound.held)
    return State(settings, model, worker, sound, requests, lives, metrics)


@contextmanager
def _store(settings: Settings) -> Iterator[JobStore | None]:
    """The jobs, if they are to be kept."""
    if settings.data_dir is None:
        yield None
        return
    store = JobStore(settings.data_dir)
    try:
        yield store
    finally:
        store.close()


def check_exposure(settings: Settings) -> None:
    """Refuse to let a network in without a key.

    Raises:
        ServerError: Others than this machine could use the server, and nobody would be asked for a key.
    """
    if settings.api_key is None and not _is_loopback(settings.host):
        raise ServerError(
            f"At {settings.host} everybody who reaches this machine could use the server. Give an --api-key (or set "
            "MLX_CANARY_API_KEY), or listen at 127.0.0.1."
        )


def _check_limits(settings: Settings) -> None:
    if settings.max_duration > settings.max_held:
        raise ServerError(
            f"max_duration={settings.max_duration:g} is more than the {settings.max_held:g} s of sound that the server "
            "holds at once. Give less."
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bind(settings: Settings) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=128)
    except OSError as error:
        raise ServerError(
            f"The server cannot listen at {settings.host}:{settings.port}: {error.strerror or error}. "
            "Choose another --host or --port."
        ) from error


async def _run(state: State, store: JobStore | None, listening: socket.socket) -> None:
    runner = None if store is None else JobRunner(state, store)
    config = uvicorn.Config(
        make_app(state, runner),
        http=Protocol,
        loop="asyncio",
        ws="websockets-sansio",
        ws_max_size=_LARGEST_MESSAGE,
        # A client that sends faster than its sound is heard is not read for a while, nor are its answers to pings. One
        # that is gone is found out by --idle-timeout.
        ws_ping_timeout=None,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE,
    )
    server = _Server(config, state)
    jobs = asyncio.ensure_future(runner.run()) if runner is not None else None
    await server.serve(sockets=[listening])
    if jobs is not None:
        jobs.cancel()
        await asyncio.wait([jobs])


class _Server(uvicorn.Server):
    """Ends gently: live sessions get their last text before connections are closed."""

    def __init__(self, config: uvicorn.Config, state: State) -> None:
        super().__init__(config)
        self._state = state

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        assert sockets is not None
        host, port = sockets[0].getsockname()[:2]
        address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        _log.info("Serving %s at %s", self._state.model_id, address)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal asks, the second one insists. Unlike uvicorn's own, it is not raised again at the end."""
        self.force_exit = self.should_exit
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        state = self._state
        state.requests.closed = state.lives.closed = True
        state.stopping.set()
        end = time.monotonic() + state.settings.shutdown_timeout
        while state.lives.n_inside and not self.force_exit and time.monotonic() < end:
            await asyncio.sleep(0.1)
        self.config.timeout_graceful_shutdown = max(1, math.ceil(end - time.monotonic()))
        await super().shutdown(sockets)
        if self.server_state.tasks and not self.force_exit:  # they were cancelled, and have to say so
            await asyncio.wait(self.server_state.tasks, timeout=_LAST_WORDS)
