"""`mlx-canary translate`."""

from __future__ import annotations

from typing import Any

import click

from mlx_canary.cli.options import as_language, recording_options


@click.command(name="translate")
@click.option(
    "--from", "language", required=True, metavar="CODE", callback=as_language, help="Language spoken, such as de."
)
@click.option(
    "--to",
    "target_lang",
    default="en",
    show_default=True,
    metavar="CODE",
    callback=as_language,
    help="Language of the text.",
)
@recording_options
def command(**options: Any) -> None:
    """Write down what recordings say, in another language.

    \b
    Example:
      mlx-canary translate vortrag.mp3 --from de --to en --model canary-180m-flash
    """
    from mlx_canary.cli.jobs import make_job
    from mlx_canary.cli.recordings import run

    run(make_job({"task": "translate", **options}))
