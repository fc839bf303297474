"""Whole requests without sockets."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable, Iterator
from typing import IO

import httpx
import numpy as np
import pytest
from conftest import DATA, WAVS

from mlx_canary import Audio, CanaryModel
from mlx_canary.serve.admission import Admission
from mlx_canary.serve.app import make_app
from mlx_canary.serve.job_runner import JobRunner
from mlx_canary.serve.job_store import JobStore
from mlx_canary.serve.metrics import Metrics
from mlx_canary.serve.settings import Settings
from mlx_canary.serve.sound import SoundReader
from mlx_canary.serve.state import State
from mlx_canary.serve.worker import Worker

SPEECH = (DATA / "audio" / WAVS["speech"]).read_bytes()


class Watched(SoundReader):
    """Remembers the samples that it gave, without keeping them."""

    def __init__(self) -> None:
        super().__init__(16_000, 100, 100)
        self.given: list[weakref.ref[np.ndarray]] = []

    async def read(self, file: IO[bytes]) -> Audio:
        audio = await super().read(file)
        self.given.append(weakref.ref(audio.samples))
        return audio


def asked(
    what: Callable[[httpx.AsyncClient], Awaitable[None]],
    sound: SoundReader,
    store: JobStore | None = None,
    settings: Settings = Settings(),  # noqa: B008  # a value
) -> None:
    """Ask a server, which does not begin the jobs in its store."""
    worker = Worker(lambda: CanaryModel.from_pretrained(DATA / "models/canary2-flash.nemo"), batch_size=2)
    model = worker.start()

    async def main() -> None:
        places = Admission("requests", 9, 9)
        state = State(settings, model, worker, sound, places, places, Metrics())
        app = httpx.ASGITransport(make_app(state, None if store is None else JobRunner(state, store)))
        async with httpx.AsyncClient(transport=app, base_url="http://localhost", timeout=300) as client:
            await what(client)

    try:
        asyncio.run(main())
    finally:
        sound.close()
        worker.stop()


@pytest.fixture
def store(tmp_path) -> Iterator[JobStore]:
    store = JobStore(tmp_path)
    yield store
    store.close()


@pytest.mark.parametrize("stream", ["false", "true"])
@pytest.mark.parametrize("wrong", [{"language": "ja"}, {"language": "auto"}])
def test_nothing_is_left_of_the_sound_of_a_request_that_failed(stream, wrong):
    """It stayed on disk, up to gigabytes of it, until Python happened to look for objects that hold each other."""
    sound = Watched()

    async def fail(client: httpx.AsyncClient) -> None:
        form = {"model": "whisper-1", "stream": stream, **wrong}
        answer = await client.post("/v1/audio/transcriptions", files={"file": SPEECH}, data=form)
        assert answer.json()["error"]["code"] == "invalid_option", answer.text
        (samples,) = sound.given
        for _ in range(100):  # until the worker's thread has done with it
            if samples() is None:
                return
            await asyncio.sleep(0.1)
        raise AssertionError("the sound is still there")

    gc.collect()
    gc.disable()
    try:
        asked(fail, sound)
    finally:
        gc.enable()


def test_no_more_jobs_than_allowed(store):
    """Those that came at the same time were counted before any of them was kept, and all were."""

    async def send(client: httpx.AsyncClient) -> None:
        form = {"model": "whisper-1", "language": "en"}
        sent = [client.post("/v1/jobs", files={"file": SPEECH}, data=form) for _ in range(8)]
        answers = await asyncio.gather(*sent)
        assert sorted(answer.status_code for answer in answers) == [202, 202, *[429] * 6]
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json()["error"]["code"] == "too_many_jobs"

    asked(send, Watched(), store, Settings(max_jobs=2))
    assert len(store.open()) == 2
