"""Jobs without a server around them: what is left of one that is deleted, and what happens when things go wrong."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import DATA, WAVS

from mlx_canary import CanaryModel
from mlx_canary.serve import job_runner
from mlx_canary.serve.admission import Admission
from mlx_canary.serve.job_runner import JobRunner
from mlx_canary.serve.job_store import Job, JobStore
from mlx_canary.serve.metrics import Metrics
from mlx_canary.serve.settings import Settings
from mlx_canary.serve.sound import SoundReader
from mlx_canary.serve.state import State
from mlx_canary.serve.worker import Worker
from mlx_canary.transcriber import Transcriber

SPEECH = DATA / "audio" / WAVS["speech"]


@pytest.fixture
def store(tmp_path):
    store = JobStore(tmp_path)
    yield store
    store.close()


def during(store: JobStore, what: Callable[[JobRunner, Job], Coroutine[Any, Any, None]]) -> None:
    """Do something while one job is being done."""
    worker = Worker(lambda: CanaryModel.from_pretrained(DATA / "models/canary2-flash.nemo"), batch_size=2)
    model, settings, sound = worker.start(), Settings(), SoundReader(16_000, 100, 100)

    async def main() -> None:
        places = Admission("requests", 1, 1)
        runner = JobRunner(State(settings, model, worker, sound, places, places, Metrics()), store)
        running = asyncio.ensure_future(runner.run())
        await what(runner, add(store))
        running.cancel()
        await asyncio.wait([running])

    try:
        asyncio.run(main())
    finally:
        sound.close()
        worker.stop()


def add(store: JobStore) -> Job:
    with store.new() as id:
        store.upload(id).write_bytes(SPEECH.read_bytes())
        return store.add(id, {"model": "demo", "language": "en"})


async def settled(store: JobStore, id: str) -> Job:
    while (job := store.get(id)).status not in ("done", "failed"):
        await asyncio.sleep(0.02)
    return job


def files(folder: Path) -> list[str]:
    return [path.name for name in ("uploads", "journals") for path in (folder / name).iterdir()]


def test_nothing_is_left_of_a_job_that_is_deleted_while_it_is_decoded(store, tmp_path, monkeypatch):
    """The batch under way noted its window in a file that had just been removed, and the text stayed on disk."""
    decoding, go_on, decode = threading.Event(), threading.Event(), Transcriber.__call__

    def slowly(*arguments):
        decoding.set()
        assert go_on.wait(300)
        return decode(*arguments)

    async def deleted(runner: JobRunner, job: Job) -> None:
        assert await asyncio.to_thread(decoding.wait, 300)
        await runner.delete(job.id)
        assert store.get(job.id) is None
        go_on.set()

    monkeypatch.setattr(Transcriber, "__call__", slowly)
    during(store, deleted)
    assert files(tmp_path) == []


def test_a_job_that_ends_while_the_jobs_are_read_is_not_begun_again(store, monkeypatch):
    """Its recording was gone by then: a job that was done had failed in the end, and its text could not be had."""
    read, decode = store.open, Transcriber.__call__
    decoding, reading = threading.Event(), threading.Event()

    def decode_when_read(*arguments):
        decoding.set()
        assert reading.wait(300)
        return decode(*arguments)

    def read_slowly() -> list[Job]:
        jobs = read()
        if decoding.is_set() and not reading.is_set():
            reading.set()
            while store.get(jobs[0].id).status == "running":
                time.sleep(0.01)
            time.sleep(0.2)  # the server's thread hears of it, too
        return jobs

    async def look_meanwhile(runner: JobRunner, job: Job) -> None:
        assert await asyncio.to_thread(decoding.wait, 300)
        runner.wake()
        await settled(store, job.id)
        async with runner._choosing:  # that look has ended
            pass
        while runner._tasks:
            await asyncio.sleep(0.01)
        found = store.get(job.id)
        assert (found.status, found.starts) == ("done", 1)

    monkeypatch.setattr(Transcriber, "__call__", decode_when_read)
    monkeypatch.setattr(store, "open", read_slowly)
    monkeypatch.setattr(job_runner, "_PATIENCE", 0.01)
    during(store, look_meanwhile)


def test_a_server_that_is_stopped_just_when_there_is_a_new_job_ends(store):
    """It went on with the jobs, and waited for their end for ever."""

    async def main() -> None:
        for n_steps in range(8):
            runner = JobRunner(SimpleNamespace(settings=Settings()), store)
            running = asyncio.ensure_future(runner.run())
            await asyncio.sleep(0.1)
            runner.wake()
            for _ in range(n_steps):
                await asyncio.sleep(0)
            running.cancel()
            done, _ = await asyncio.wait([running], timeout=30)
            assert done, n_steps

    asyncio.run(main())


@pytest.mark.parametrize(("n_faults", "status", "starts"), [(2, "done", 3), (3, "failed", 3)])
def test_a_job_outlives_two_faults(store, monkeypatch, n_faults, status, starts):
    """One batch that fails takes all jobs in it along; whose fault it was is not known."""
    faults, decode = ["a fault of ours"] * n_faults, Transcriber.__call__

    def faulty(*arguments):
        if faults:
            raise MemoryError(faults.pop())
        return decode(*arguments)

    async def wait(runner: JobRunner, job: Job) -> None:
        found = await settled(store, job.id)
        assert (found.status, found.starts) == (status, starts)

    monkeypatch.setattr(Transcriber, "__call__", faulty)
    monkeypatch.setattr(job_runner, "_PATIENCE", 0.01)
    during(store, wait)
    assert not faults


def test_a_database_that_cannot_be_written(store, tmp_path, monkeypatch, caplog):
    """It was tried again at once, hundreds of times a second. Now that takes patience, and is told once."""
    monkeypatch.setattr(job_runner, "_PATIENCE", 0.2)
    change, tries = store.change, []

    def unwritable(id: str, **values: Any) -> None:
        tries.append(values)
        with store._engine.begin() as connection:
            connection.exec_driver_sql("PRAGMA query_only = ON")
            try:
                connection.exec_driver_sql("UPDATE jobs SET starts = starts")
            finally:
                connection.exec_driver_sql("PRAGMA query_only = OFF")

    async def wait(runner: JobRunner, job: Job) -> None:
        began = time.monotonic()
        runner.wake()
        while len(tries) < 3:
            assert len(tries) <= 2 + (time.monotonic() - began) / 0.2
            await asyncio.sleep(0.01)
        monkeypatch.setattr(store, "change", change)
        assert (await settled(store, job.id)).status == "done"

    monkeypatch.setattr(store, "change", unwritable)
    with caplog.at_level(logging.ERROR):
        during(store, wait)
    assert [record.message for record in caplog.records if record.name == job_runner.__name__] == [
        "Jobs cannot be read or written; this is tried again every 0.2 s"
    ]


def test_what_a_crash_left_is_removed_at_the_next_start(tmp_path):
    """Files of jobs that were never added, or are done; what others put there is not touched."""
    store = JobStore(tmp_path)
    waiting, done = add(store), add(store)
    store.finish(done.id, status="done", result="{}")
    store.close()
    for name in (f"journals/{waiting.id}.jsonl", "uploads/notes.txt"):
        (tmp_path / name).touch()
    kept = sorted(files(tmp_path))
    unknown = f"job_{'0' * 24}"
    for name in (f"uploads/{unknown}", f"journals/{unknown}.jsonl", f"journals/{done.id}.jsonl.part"):
        (tmp_path / name).touch()
    JobStore(tmp_path).close()
    assert sorted(files(tmp_path)) == kept
