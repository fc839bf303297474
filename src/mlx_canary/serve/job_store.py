"""Jobs on disk: a row for each, in SQLite, and its files beside it.

SQLAlchemy's Core writes the SQL: well kept, typed, without the rest of an ORM, and it hands connections to threads in
the way that SQLite needs. A row is changed in one transaction, so that a power cut leaves the old one or the new one.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sql
from filelock import FileLock, Timeout

from mlx_canary.errors import ServerError

Status = Literal["queued", "running", "done", "failed"]

_TABLES = sql.MetaData()
_JOBS = sql.Table(
    "jobs",
    _TABLES,
    sql.Column("id", sql.String, primary_key=True),
    sql.Column("created", sql.Float, nullable=False),
    sql.Column("finished", sql.Float),
    sql.Column("status", sql.String, nullable=False),
    sql.Column("starts", sql.Integer, nullable=False),
    sql.Column("form", sql.Text, nullable=False),
    sql.Column("duration", sql.Float),
    sql.Column("error_code", sql.String),
    sql.Column("error_message", sql.Text),
    sql.Column("result", sql.Text),
)
_BRIEF = [column for column in _JOBS.columns if column.name != "result"]
# The folder may be one that somebody had before: what is not named like this is not ours to remove.
_FILE = re.compile(r"(?P<id>job_[0-9a-f]{24})(\.jsonl(\.part)?)?")


@dataclass(frozen=True, slots=True)
class Job:
    """A job without its result.

    Attributes:
        id: Its name.
        created, finished: Seconds since 1970.
        status: How far it is.
        starts: How often work on it was begun.
        form: The fields that it was sent with.
        duration: Seconds of the recording, once it is known.
        error_code, error_message: Why it failed.
    """

    id: str
    created: float
    finished: float | None
    status: Status
    starts: int
    form: dict[str, Any]
    duration: float | None
    error_code: str | None
    error_message: str | None


class JobStore:
    """All jobs of one server, in one folder.

    Raises:
        ServerError: The folder cannot be used, or another server uses it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = FileLock(folder / "lock")
        database = folder / "jobs.sqlite"
        self._engine = sql.create_engine(sql.URL.create("sqlite", database=os.fspath(database)))
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (folder / "uploads").mkdir(mode=0o700, exist_ok=True)
            (folder / "journals").mkdir(mode=0o700, exist_ok=True)
            self._lock.acquire(timeout=0)
            database.touch(mode=0o600)
            _TABLES.create_all(self._engine)
            self._sweep()
        except Timeout as error:
            raise ServerError(f"Another server keeps its jobs in {folder}. Choose another --data-dir.") from error
        except (OSError, ValueError, sql.exc.DatabaseError) as error:
            self.close()
            # SQLAlchemy's own words are its statement and an address.
            own = error.orig if isinstance(error, sql.exc.DatabaseError) else getattr(error, "strerror", None)
            raise ServerError(f"Jobs cannot be kept in {folder}: {own or error}. Choose another --data-dir.") from error

    def close(self) -> None:
        """Let another server have the folder."""
        self._engine.dispose()
        self._lock.release()

    def upload(self, id: str) -> Path:
        """Where the recording of a job lies."""
        return self._folder / "uploads" / id

    def journal(self, id: str) -> Path:
        """Where a job's finished windows are noted."""
        return self._folder / "journals" / f"{id}.jsonl"

    @contextmanager
    def new(self) -> Iterator[str]:
        """The id of a new job; its upload is removed again if something goes wrong before `add`."""
        id = f"job_{secrets.token_hex(12)}"
        try:
            yield id
        except BaseException:
            self.upload(id).unlink(missing_ok=True)
            raise

    def add(self, id: str, form: Mapping[str, Any]) -> Job:
        """A job whose upload is there."""
        values = {"id": id, "created": time.time(), "status": "queued", "starts": 0, "form": json.dumps(form)}
        with self._engine.begin() as connection:
            connection.execute(sql.insert(_JOBS).values(values))
        job = self.get(id)
        assert job is not None
        return job

    def get(self, id: str) -> Job | None:
        """A job, if there is one of that id."""
        found = self._select(sql.select(*_BRIEF).where(_JOBS.c.id == id))
        return found[0] if found else None

    def latest(self, n: int) -> list[Job]:
        """The jobs that were sent last, the newest first."""
        return self._select(sql.select(*_BRIEF).order_by(_JOBS.c.created.desc()).limit(n))

    def open(self) -> list[Job]:
        """Those that are neither done nor failed, the oldest first."""
        return self._select(
            sql.select(*_BRIEF).where(_JOBS.c.status.in_(["queued", "running"])).order_by(_JOBS.c.created)
        )

    def result(self, id: str) -> str | None:
        """The transcript of a job that is done, as the json format writes it."""
        with self._engine.begin() as connection:
            return connection.execute(sql.select(_JOBS.c.result).where(_JOBS.c.id == id)).scalar()

    def change(self, id: str, **values: Any) -> None:
        """Other values of a job's columns."""
        with self._engine.begin() as connection:
            connection.execute(sql.update(_JOBS).where(_JOBS.c.id == id).values(values))

    def finish(self, id: str, **values: Any) -> None:
        """The same for the last time: its recording and notes are not needed any more."""
        self.change(id, finished=time.time(), **values)
        self._remove_files(id)

    def delete(self, id: str) -> None:
        """Forget a job, with all that belongs to it."""
        with self._engine.begin() as connection:
            connection.execute(sql.delete(_JOBS).where(_JOBS.c.id == id))
        self._remove_files(id)

    def expire(self, before: float) -> None:
        """Forget the jobs that were finished before a time."""
        for job in self._select(sql.select(*_BRIEF).where(_JOBS.c.finished < before)):
            self.delete(job.id)

    def _select(self, query: sql.Select[Any]) -> list[Job]:
        with self._engine.begin() as connection:
            rows = connection.execute(query).mappings().all()
        return [Job(**{**row, "form": json.loads(row["form"])}) for row in rows]

    def _sweep(self) -> None:
        """Remove what a crash left: files of jobs that are done, or that were never added."""
        needed = {job.id for job in self.open()}
        for folder in ("uploads", "journals"):
            for path in (self._folder / folder).iterdir():
                if (found := _FILE.fullmatch(path.name)) and found["id"] not in needed:
                    path.unlink()

    def _remove_files(self, id: str) -> None:
        self.upload(id).unlink(missing_ok=True)
        self.journal(id).unlink(missing_ok=True)
