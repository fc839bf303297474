"""`/v1/jobs`: long recordings, sent now and asked for later. They survive a restart of the server."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import AsyncExitStack
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.datastructures import UploadFile

from mlx_canary.errors import CanaryError
from mlx_canary.serve.answers import answer
from mlx_canary.serve.failures import RequestError, as_request_error, busy
from mlx_canary.serve.forms import TranscriptionForm, as_asked, options_of_job, query_schema, read_form, read_query
from mlx_canary.serve.job_runner import JobRunner
from mlx_canary.serve.job_store import Job, JobStore
from mlx_canary.serve.models import check_model
from mlx_canary.serve.state import state_of
from mlx_canary.serve.uploads import FORM, read_upload
from mlx_canary.writers import read_json

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
_MOST_LISTED = 100
_NO_JOB: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such job."}}


@router.post("", status_code=202, openapi_extra=FORM)
async def submit(request: Request) -> dict[str, Any]:
    """Send a recording, with the fields of /v1/audio/transcriptions; the answer says how to ask for its text."""
    state, runner = state_of(request), _runner(request)
    async with AsyncExitStack() as stack:
        stack.enter_context(state.requests.enter())
        file, form = read_form(await read_upload(request, stack))
        check_model(state, form.model)
        _check(form)
        try:
            options = options_of_job(form, state.settings.language, state.default_language)
            state.model.check(options)  # refuses now what would fail later
        except CanaryError as error:
            raise as_request_error(error) from error
        async with runner.adding:
            n_open = len(await asyncio.to_thread(runner.store.open))
            if n_open >= state.settings.max_jobs:
                raise busy("too_many_jobs", f"There are {n_open} jobs to do already. Try again later.", retry_after=60)
            job = await asyncio.to_thread(_keep, runner.store, file, form)
        runner.wake()
        return _shown(runner, job)


def _check(form: TranscriptionForm) -> None:
    if form.stream:
        raise RequestError(400, "invalid_option", "The text of a job is asked for later; it is not streamed.", "stream")


def _keep(store: JobStore, file: UploadFile, form: TranscriptionForm) -> Job:
    with store.new() as id:
        with store.upload(id).open("xb") as copy:
            shutil.copyfileobj(file.file, copy, 2**20)
        return store.add(id, form.model_dump(by_alias=True))


@router.get("")
async def list_jobs(request: Request) -> dict[str, Any]:
    """The jobs that were sent last."""
    runner = _runner(request)
    latest = await asyncio.to_thread(runner.store.latest, _MOST_LISTED)
    return {"object": "list", "data": [_shown(runner, job) for job in latest]}


@router.get("/{id}", responses=_NO_JOB)
async def show(request: Request, id: str) -> dict[str, Any]:
    """How far a job is."""
    runner = _runner(request)
    return _shown(runner, await _job(runner, id))


@router.get(
    "/{id}/result",
    openapi_extra={"parameters": query_schema()},
    responses={**_NO_JOB, 409: {"description": "It is not done."}},
    response_model=None,
)
async def result(request: Request, id: str) -> Response:
    """The text, in the format that the job was sent with or another one."""
    runner, query = _runner(request), read_query(request.query_params)
    job = await _job(runner, id)
    found = await asyncio.to_thread(runner.store.result, id)
    if job.status == "failed":
        raise RequestError(409, "job_failed", f"The job has failed: {job.error_message}")
    if found is None:
        raise RequestError(409, "job_not_done", f"The job is {job.status}. Ask again later.")
    return answer(read_json(found), as_asked(TranscriptionForm.model_validate(job.form), query))


@router.delete("/{id}", responses=_NO_JOB)
async def delete(request: Request, id: str) -> dict[str, Any]:
    """Stop a job, and forget it and its text."""
    runner = _runner(request)
    await _job(runner, id)
    await runner.delete(id)
    return {"id": id, "object": "transcription.job", "deleted": True}


def _runner(request: Request) -> JobRunner:
    runner = request.app.state.jobs
    if runner is None:
        raise RequestError(404, "no_jobs", "This server keeps no jobs. Start it with --data-dir FOLDER.")
    assert isinstance(runner, JobRunner)
    return runner


async def _job(runner: JobRunner, id: str) -> Job:
    job = await asyncio.to_thread(runner.store.get, id)
    if job is None:
        raise RequestError(404, "job_not_found", f"There is no job {id!r:.60}.")
    return job


def _shown(runner: JobRunner, job: Job) -> dict[str, Any]:
    done = job.duration if job.status == "done" else runner.progress(job.id)
    return {
        "id": job.id,
        "object": "transcription.job",
        "status": job.status,
        "created_at": int(job.created),
        "finished_at": None if job.finished is None else int(job.finished),
        "duration": job.duration,
        "progress": min(1.0, (done or 0.0) / job.duration) if job.duration else float(job.status == "done"),
        "error": None if job.error_code is None else {"code": job.error_code, "message": job.error_message},
    }
