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

from mlx_canary import Audio, CanaryModel, Segment, Transcript, Word, render
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


def test_how_a_job_s_text_is_wanted(store):
    """Options that nobody would obey were ignored, and one that was wrong had an error of another shape."""
    words = (Word("Good", 0.0, 0.4), Word("morning.", 0.4, 1.0))
    transcript = Transcript((Segment("Good morning.", 0.0, 1.0, words),), "en", "en", 1.0)
    with store.new() as id:
        store.upload(id).touch()
        store.add(id, {"model": "demo", "language": "en"})
    store.finish(id, status="done", result=render(transcript, "json"))
    path, granularities = f"/v1/jobs/{id}/result", "timestamp_granularities[]"

    async def ask(client: httpx.AsyncClient) -> None:
        assert (await client.get(path)).json()["text"] == "Good morning."
        assert (await client.get(path, params={"response_format": "srt"})).text == render(transcript, "srt")
        both = {"response_format": "verbose_json", granularities: ["word", "segment"]}
        found = (await client.get(path, params=both)).json()
        assert found["words"] == [{"word": w.text, "start": w.start, "end": w.end} for w in words]
        assert len(found["segments"]) == 1
        for wrong, code, message in [
            ({"response_format": "docx"}, "invalid_value", "response_format"),
            ({"format": "srt"}, "unknown_field", "Known are: response_format, timestamp_granularities[]"),
            ({"response_format": ["srt", "vtt"]}, "invalid_form", "given twice"),
            ({granularities: "letter"}, "invalid_value", granularities),
            ({granularities: "word"}, "invalid_option", "needs response_format=verbose_json"),
        ]:
            answer = await client.get(path, params=wrong)
            assert answer.status_code == 400
            assert answer.json()["error"]["code"] == code
            assert message in answer.json()["error"]["message"]

    asked(ask, Watched(), store)
