"""Does the jobs in the store, one or two at a time, in the same queue as all other requests.

What a job has found is noted window by window, so that after a restart it goes on where it was.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress

from sqlalchemy.exc import SQLAlchemyError

from mlx_canary.errors import CanaryError
from mlx_canary.longform.journal import Journal
from mlx_canary.serve.failures import FAULT, RequestError, as_request_error
from mlx_canary.serve.forms import TranscriptionForm, options_of_job
from mlx_canary.serve.job_store import Job, JobStore
from mlx_canary.serve.state import State
from mlx_canary.serve.transcribing import transcribe
from mlx_canary.types import Segment
from mlx_canary.version import __version__
from mlx_canary.writers import render

_log = logging.getLogger(__name__)

_AT_ONCE = 2
_MOST_STARTS = 3  # a job during which the server ended or failed so often may be the reason
_PATIENCE = 5.0  # seconds until something is tried again for which there was no room, or that went wrong
_EXPIRY = 3600.0  # seconds from one look for old results to the next


class JobRunner:
    """Works as long as the server runs.

    Args:
        state: The server's parts.
        store: Its jobs.

    Attributes:
        adding: Held by whoever counts the jobs to add one, or several at once would all find room.
    """

    def __init__(self, state: State, store: JobStore) -> None:
        self._state, self.store = state, store
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._heard: dict[str, float] = {}
        self._more = asyncio.Event()
        self._choosing, self.adding = asyncio.Lock(), asyncio.Lock()
        self._in_trouble = False

    def wake(self) -> None:
        """There is a new job."""
        self._more.set()

    def progress(self, id: str) -> float:
        """Seconds of a running job's recording that are done."""
        return self._heard.get(id, 0.0)

    async def delete(self, id: str) -> None:
        """Stop work on a job, and forget it with all that belongs to it."""
        async with self._choosing:  # or it would be begun again before it is gone
            await self._cancel(id)
            await asyncio.to_thread(self.store.delete, id)

    async def _cancel(self, id: str) -> None:
        task = self._tasks.get(id)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def run(self) -> None:
        """Until cancelled; then the jobs in work are left to the next start."""
        try:
            while True:
                self._more.clear()
                patience = _EXPIRY if await self._look() else _PATIENCE
                # Not wait_for: before Python 3.12 it forgets that it was cancelled, if its time comes or its event.
                timer = asyncio.get_running_loop().call_later(patience, self._more.set)
                await self._more.wait()
                timer.cancel()
        finally:
            for id in list(self._tasks):
                await self._cancel(id)

    async def _look(self) -> bool:
        """Forget what is old, and begin what there is room for; False if the jobs cannot be read."""
        async with self._choosing:
            in_work = set(self._tasks)  # also those that end while the jobs are read, which may tell them as open
            try:
                await asyncio.to_thread(self.store.expire, time.time() - self._state.settings.job_days * 86_400)
                waiting = await asyncio.to_thread(self.store.open)
            except Exception:  # a full disk, say: told to whoever asks for a job, and tried again later
                self._tell_trouble()
                return False
            for job in waiting:
                if len(self._tasks) < _AT_ONCE and job.id not in in_work:
                    self._begin(job)
            return True

    def _tell_trouble(self) -> None:
        """Once, until it is over."""
        if not self._in_trouble:
            _log.exception("Jobs cannot be read or written; this is tried again every %g s", _PATIENCE)
        self._in_trouble = True

    def _begin(self, job: Job) -> None:
        task = self._tasks[job.id] = asyncio.ensure_future(self._do(job))
        task.add_done_callback(lambda _: self._ended(job.id))

    def _ended(self, id: str) -> None:
        self._tasks.pop(id, None)
        self._heard.pop(id, None)
        self._more.set()

    async def _do(self, job: Job) -> None:
        try:
            await self._settle(job)
            self._in_trouble = False
        except Exception:  # what became of the job cannot be noted
            self._tell_trouble()
            await asyncio.sleep(_PATIENCE)

    async def _settle(self, job: Job) -> None:
        try:
            result = await self._transcribed(job)
        except asyncio.CancelledError:
            with suppress(SQLAlchemyError):
                self.store.change(job.id, status="queued", starts=job.starts)  # it was stopped in order
            raise
        except (RequestError, CanaryError) as error:
            known = as_request_error(error) if isinstance(error, CanaryError) else error
            if known.status == 429:  # too much sound is held: wait a little, and let the others go on
                await self._put_back(job, starts=job.starts)
            else:
                await self._finish(job, status="failed", error_code=known.code, error_message=known.message)
        except SQLAlchemyError:
            raise
        except Exception:  # perhaps another's fault: a batch that needs too much memory takes all its jobs with it
            _log.exception("Job %s failed", job.id)
            if job.starts + 1 < _MOST_STARTS:
                await self._put_back(job, starts=job.starts + 1)
            else:
                await self._finish(job, status="failed", error_code="internal_error", error_message=FAULT)
        else:
            await self._finish(job, status="done", result=result)

    async def _put_back(self, job: Job, starts: int) -> None:
        await asyncio.to_thread(lambda: self.store.change(job.id, status="queued", starts=starts))
        await asyncio.sleep(_PATIENCE)

    async def _finish(self, job: Job, **values: str) -> None:
        await asyncio.to_thread(lambda: self.store.finish(job.id, **values))
        _log.info("Job %s is %s", job.id, values["status"], extra={"facts": {"code": values.get("error_code")}})

    async def _transcribed(self, job: Job) -> str:
        """The transcript as JSON."""
        if job.starts >= _MOST_STARTS:
            raise RequestError(500, "interrupted", f"The server ended {job.starts} times during this job.")
        await asyncio.to_thread(lambda: self.store.change(job.id, status="running", starts=job.starts + 1))
        form, state = TranscriptionForm.model_validate(job.form), self._state
        options = options_of_job(form, state.settings.language, state.default_language)
        model = self._state.model
        same_model = {"config": model.config.model_dump(), "weights": model.fingerprint}
        conditions = {"version": __version__, **same_model, "options": repr(options)}
        journal = Journal(self.store.journal(job.id), conditions, resume=True)
        with self.store.upload(job.id).open("rb") as file:
            audio = await self._state.sound.read(file)
        try:
            await asyncio.to_thread(lambda: self.store.change(job.id, duration=audio.duration))

            def told(segment: Segment) -> None:
                self._heard[job.id] = segment.end

            transcript = await transcribe(self._state, audio, options, told, journal)
        finally:
            journal.close()  # or a batch that is under way would write it anew after the job was deleted
            self._state.sound.release(audio)
        self._state.metrics.audio.labels("job").inc(transcript.duration)
        return render(transcript, "json")
