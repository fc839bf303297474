"""`mlx-canary serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mlx_canary.cli.memory import as_bytes, memory_options
from mlx_canary.cli.options import as_language, dtype_option, model_option


@click.command(name="serve")
@model_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 for any free one.")
@click.option(
    "--api-key",
    envvar="MLX_CANARY_API_KEY",
    show_envvar=True,
    metavar="KEY",
    help="What clients must know. Better in the environment: other programs can read command lines.",
)
@click.option(
    "--allow-host", multiple=True, metavar="NAME", help="A name that clients may call the server by; may be repeated."
)
@click.option(
    "--allow-origin", multiple=True, metavar="URL", help="A web page's origin that may use the server; may be repeated."
)
@click.option(
    "--language",
    "-l",
    metavar="CODE",
    callback=as_language,
    help="Spoken where a request does not say; auto to find out, auto:en,de among these.  [default: the model's]",
)
@click.option(
    "--alias",
    "aliases",
    multiple=True,
    default=("whisper-1",),
    show_default=True,
    metavar="NAME",
    help="What requests may call the model, beside its own name; may be repeated.",
)
@click.option(
    "--batch-size", type=click.IntRange(1, 256), default=8, show_default=True, help="Windows decoded at once."
)
@click.option(
    "--max-queue", type=click.IntRange(1, 10_000), default=64, show_default=True, help="Requests that wait, at most."
)
@click.option("--max-live", type=click.IntRange(0, 1_000), default=8, show_default=True, help="Live sessions, at most.")
@click.option(
    "--max-upload-mb", type=click.FloatRange(0.001), default=256, show_default=True, help="MB of one upload, at most."
)
@click.option(
    "--max-duration", type=click.FloatRange(1), default=14_400, show_default=True, help="Seconds of sound, at most."
)
@click.option(
    "--request-timeout", type=click.FloatRange(1), default=600, show_default=True, help="Seconds for one answer."
)
@click.option(
    "--idle-timeout",
    type=click.FloatRange(1),
    default=300,
    show_default=True,
    help="Seconds that a live session may say nothing.",
)
@click.option(
    "--shutdown-timeout",
    type=click.FloatRange(1),
    default=60,
    show_default=True,
    help="Seconds that begun requests get at the end.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep jobs and their texts here, for long recordings.  [default: no jobs]",
)
@click.option(
    "--max-jobs", type=click.IntRange(1), default=100, show_default=True, help="Jobs that are not done, at most."
)
@click.option(
    "--job-days", type=click.FloatRange(0.01), default=7, show_default=True, help="Days that jobs' texts are kept."
)
@click.option("--log-text", is_flag=True, help="Write transcripts into the log too.")
@dtype_option
@memory_options
def command(**given: Any) -> None:
    """Serve a model over HTTP, in the shapes of OpenAI's API.

    \b
    Example:
      mlx-canary serve --model demo
      curl http://127.0.0.1:8000/v1/audio/transcriptions \\
          -F file=@talk.m4a -F model=demo -F language=en
    """
    from mlx_canary.serve.packages import require_all

    require_all()
    from mlx_canary import CanaryModel
    from mlx_canary.cli.progress import loading_progress
    from mlx_canary.memory import limit_memory
    from mlx_canary.serve.logs import log_to_stderr
    from mlx_canary.serve.run import serve
    from mlx_canary.serve.settings import Settings

    settings = Settings(
        host=given["host"],
        port=given["port"],
        api_key=given["api_key"],
        allow_hosts=given["allow_host"],
        allow_origins=given["allow_origin"],
        aliases=given["aliases"],
        language=given["language"],
        batch_size=given["batch_size"],
        max_queue=given["max_queue"],
        max_live=given["max_live"],
        max_upload_bytes=round(given["max_upload_mb"] * 1e6),
        max_duration=given["max_duration"],
        request_timeout=given["request_timeout"],
        shutdown_timeout=given["shutdown_timeout"],
        idle_timeout=given["idle_timeout"],
        data_dir=given["data_dir"],
        max_jobs=given["max_jobs"],
        job_days=given["job_days"],
        log_text=given["log_text"],
    )

    def load() -> CanaryModel:
        with loading_progress(given["model"]) as loading:
            return CanaryModel.from_pretrained(given["model"], dtype=given["dtype"], progress=loading)

    limit_memory(as_bytes(given["memory_limit"]), as_bytes(given["cache_limit"]))
    log_to_stderr()
    serve(load, settings)
