"""How a server is set up, as a value: what it serves, to whom, and how much it takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be chosen about a server.

    Attributes:
        host: Address to listen at.
        port: There; 0 for any that is free.
        api_key: What clients have to know; None for anybody.
        allow_hosts: Names, beside localhost, by which browsers may call the server.
        allow_origins: Web pages, beside the server's own, that may use it, such as "https://example.org".
        aliases: Names, beside the model's own, that requests may call the model by.
        language: Spoken where a request does not say; "auto" to find out, None for the model's default.
        batch_size: Windows decoded at once.
        max_queue: Requests in work or waiting, at most.
        max_live: Live sessions at once, at most.
        max_upload_bytes: Of one request.
        max_duration: Seconds of one recording or live session, at most.
        max_held: Seconds of decoded sound that wait for their turn, of all requests together, at most.
        request_timeout: Seconds from a request's beginning to its answer, at most.
        idle_timeout: Seconds that a live session may say nothing, at most.
        shutdown_timeout: Seconds that requests in work get when the server is stopped.
        max_jobs: Jobs that are not done, at most.
        job_days: Days that the results of jobs are kept.
        data_dir: Where jobs are kept; None for no jobs.
        log_text: Whether transcripts may stand in the log.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str | None = None
    allow_hosts: tuple[str, ...] = ()
    allow_origins: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ("whisper-1",)
    language: str | None = None
    batch_size: int = 8
    max_queue: int = 64
    max_live: int = 8
    max_upload_bytes: int = 256 * 10**6
    max_duration: float = 4 * 3600.0
    max_held: float = 12 * 3600.0
    request_timeout: float = 600.0
    idle_timeout: float = 300.0
    shutdown_timeout: float = 60.0
    max_jobs: int = 100
    job_days: float = 7.0
    data_dir: Path | None = None
    log_text: bool = False
