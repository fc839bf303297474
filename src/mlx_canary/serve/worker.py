"""The one thread that owns MLX: recordings and live sessions in, results out by callbacks.

Recordings that wait are decoded together, a batch at a time; between two batches every live session has a turn.
Callbacks are called on this thread and must be quick. Knows nothing about HTTP.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from mlx_canary.backend import leave_thread
from mlx_canary.errors import CanaryError
from mlx_canary.longform.journal import Journal
from mlx_canary.model import CanaryModel, Outcome, TranscriptionOptions
from mlx_canary.types import Audio, Segment, Transcript

_log = logging.getLogger(__name__)


class Live(Protocol):
    """A live session, as the worker sees it."""

    @property
    def waiting(self) -> bool:
        """Whether there is something to do."""

    def turn(self, model: CanaryModel) -> None:
        """Do a little of it."""

    def fail(self) -> None:
        """It cannot go on."""


@dataclass(eq=False, slots=True)
class Work:
    """One recording.

    Attributes:
        audio: One channel at the model's rate.
        options: What is wanted of it.
        on_segment: Told each segment.
        on_done: Told the transcript, or what went wrong; not if the work was cancelled.
        journal: Where finished windows are kept.
        ticket: Its number in the queue.
        over: Whether it was done or cancelled.
    """

    audio: Audio
    options: TranscriptionOptions
    on_segment: Callable[[Segment], None]
    on_done: Callable[[Transcript | Exception], None]
    journal: Journal | None = None
    ticket: int | None = None
    over: bool = False


class Worker:
    """Runs a model in a thread of its own.

    Args:
        load: Makes the model; called in the thread, because MLX's arrays belong to the thread that made them.
        batch_size: Windows decoded at once.
        on_batch: Told how many windows each batch had.
    """

    def __init__(
        self, load: Callable[[], CanaryModel], batch_size: int, on_batch: Callable[[int], None] = lambda n: None
    ) -> None:
        self._load, self._batch_size, self._on_batch = load, batch_size, on_batch
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._works: dict[int, Work] = {}
        self._lives: list[Live] = []
        self._stopping = False
        self._loaded: Future[CanaryModel] = Future()
        self._thread = threading.Thread(target=self._run, name="mlx", daemon=True)

    def start(self) -> CanaryModel:
        """Load the model. Other threads may read its configuration, and nothing else.

        Raises:
            CanaryError: It cannot be loaded, or the batch size is none.
        """
        self._thread.start()
        return self._loaded.result()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Give up what is not done, and end the thread."""
        self._inbox.put(self._give_up)
        self._thread.join()

    def submit(self, work: Work) -> None:
        """Have a recording decoded."""
        self._inbox.put(lambda: self._add(work))

    def cancel(self, work: Work) -> None:
        """Forget it; nothing if it is done."""
        self._inbox.put(lambda: self._forget(work))

    def attach(self, live: Live) -> None:
        """Give a live session its turns."""
        self._inbox.put(lambda: self._lives.append(live))

    def detach(self, live: Live) -> None:
        """No more turns."""
        self._inbox.put(lambda: self._lives.remove(live) if live in self._lives else None)

    def wake(self) -> None:
        """A live session has something to do."""
        self._inbox.put(lambda: None)

    def _run(self) -> None:
        try:
            self._work()
        finally:
            leave_thread()

    def _work(self) -> None:
        try:
            model = self._load()
            self._queue = model.queue(batch_size=self._batch_size)
        except BaseException as error:
            self._loaded.set_exception(error)
            return
        self._loaded.set_result(model)
        while not self._stopping:
            self._read_inbox(patient=not self._queue and not any(live.waiting for live in self._lives))
            self._give_turns(model)
            self._step()

    def _read_inbox(self, patient: bool) -> None:
        """Do what was asked; with nothing else to do, wait until something is."""
        try:
            self._inbox.get(block=patient)()
            while True:
                self._inbox.get_nowait()()
        except queue.Empty:
            return

    def _give_turns(self, model: CanaryModel) -> None:
        for live in [live for live in self._lives if live.waiting]:
            try:
                live.turn(model)
            except Exception:  # one session's failure must not end the others
                _log.exception("A live session failed")
                self._lives.remove(live)
                live.fail()

    def _step(self) -> None:
        if not self._queue:
            return
        n_before = self._queue.n_windows
        try:
            outcomes = self._queue.step()
        except Exception as error:
            # Something that no recording should be able to cause. The server goes on with the recordings that the queue
            # still holds; where that is all of them, with none: the fault would come again in every step.
            _log.exception("A batch failed")
            for ticket in [ticket for ticket in self._works if ticket not in self._queue] or list(self._works):
                self._queue.cancel(ticket)
                _finish(self._works.pop(ticket), error)
            return
        self._on_batch(self._queue.n_windows - n_before)
        for outcome in outcomes:
            _finish(self._works.pop(outcome.index), _result(outcome))

    def _add(self, work: Work) -> None:
        if work.over:
            return
        try:
            work.ticket = self._queue.add(work.audio, work.options, on_segment=work.on_segment, journal=work.journal)
        except Exception as error:  # mostly a CanaryError, which is the request's; the server goes on in any case
            _finish(work, error)
            return
        self._works[work.ticket] = work

    def _forget(self, work: Work) -> None:
        if work.over:
            return
        work.over = True
        if work.ticket is not None and self._works.pop(work.ticket, None) is not None:
            self._queue.cancel(work.ticket)

    def _give_up(self) -> None:
        self._stopping = True


def _result(outcome: Outcome) -> Transcript | Exception:
    return outcome.transcript if outcome.transcript is not None else outcome.error or RuntimeError("no outcome")


def _finish(work: Work, result: Transcript | Exception) -> None:
    work.over = True
    if isinstance(result, CanaryError):
        _forget_frames(result)
    work.on_done(result)


def _forget_frames(error: BaseException | None) -> None:
    """Where an error came from leads to the recording's sound, and back to the error, in circles."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
