"""The thread that owns MLX: what it survives."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import DATA, clip, loaded

from mlx_canary import Audio, CanaryModel, PromptError, TranscriptionOptions
from mlx_canary.errors import ModelNotFoundError
from mlx_canary.network.canary import CanaryNetwork
from mlx_canary.serve.worker import Work, Worker

ENGLISH = TranscriptionOptions(language="en", channel=0)


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker(lambda: CanaryModel.from_pretrained(DATA / "models/canary2-flash.nemo"), batch_size=2)
    worker.start()
    yield worker
    worker.stop()
    assert not worker.alive


def work(
    results: queue.Queue, options: TranscriptionOptions = ENGLISH, on_segment=lambda segment: None, seconds: int = 8
) -> Work:
    return Work(Audio(clip("speech")[: seconds * 16_000], 16_000), options, on_segment, results.put)


def test_a_recording(worker, flash):
    results = queue.Queue()
    worker.submit(work(results))
    assert results.get(timeout=300) == flash.transcribe(Audio(clip("speech"), 16_000), language="en")


def test_an_option_that_is_wrong_is_that_request_s_alone(worker):
    results, others = queue.Queue(), queue.Queue()
    worker.submit(work(results, TranscriptionOptions(language="ja")))
    worker.submit(work(others))
    assert isinstance(results.get(timeout=300), PromptError)
    assert others.get(timeout=300).text


def test_a_fault_in_a_batch_is_told_and_survived(worker, caplog):
    def faulty(segment):
        raise ZeroDivisionError("a fault of ours")

    results, others = queue.Queue(), queue.Queue()
    worker.submit(work(results, on_segment=faulty))
    assert isinstance(results.get(timeout=300), ZeroDivisionError)
    assert "A batch failed" in caplog.text
    worker.submit(work(others))
    assert others.get(timeout=300).text


def test_a_fault_in_a_batch_is_not_told_to_others(worker, monkeypatch):
    """One window that failed was the end of all recordings in the server."""
    encode = CanaryNetwork.encode

    def fail_if_long(network, features):
        if max(features.lengths) > 500:
            raise ZeroDivisionError("a fault of ours")
        return encode(network, features)

    monkeypatch.setattr(CanaryNetwork, "encode", fail_if_long)
    first, failing, other, ready = queue.Queue(), queue.Queue(), queue.Queue(), threading.Event()
    worker.submit(work(first, on_segment=lambda segment: ready.wait(300), seconds=1))
    worker.submit(work(failing))
    worker.submit(work(other, seconds=3))  # in no batch with one so much longer or shorter
    ready.set()
    assert isinstance(failing.get(timeout=300), ZeroDivisionError)
    assert other.get(timeout=300).text


def test_what_was_cancelled_gives_no_result(worker):
    """Cancelled before its turn, and while another is in work."""
    results, others = queue.Queue(), queue.Queue()
    blocked = threading.Event()
    worker.submit(work(others, on_segment=lambda segment: blocked.wait(300)))
    unwanted = work(results)
    worker.submit(unwanted)
    worker.cancel(unwanted)
    blocked.set()
    assert others.get(timeout=300).text
    worker.submit(work(others))
    assert others.get(timeout=300).text
    assert results.empty()


def test_a_live_session_that_fails_ends_alone(worker):
    class Faulty:
        waiting = True
        done = threading.Event()

        def turn(self, model):
            raise ZeroDivisionError("a fault of ours")

        def fail(self):
            self.done.set()

    live, results = Faulty(), queue.Queue()
    worker.attach(live)
    assert live.done.wait(60)
    worker.submit(work(results))
    assert results.get(timeout=300).text


def test_a_model_that_is_not_there():
    with pytest.raises(ModelNotFoundError, match="nowhere"):
        Worker(lambda: CanaryModel.from_pretrained("nowhere"), batch_size=1).start()


def test_a_batch_size_that_is_none():
    """Its thread ended, and whoever started it waited for ever."""
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(Worker(lambda: CanaryModel(loaded("canary2-flash")), batch_size=0).start)
        with pytest.raises(PromptError, match="batch_size=0"):
            starting.result(60)
