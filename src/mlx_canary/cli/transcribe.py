"""`mlx-canary transcribe`."""

from __future__ import annotations

from typing import Any

import click

from mlx_canary.cli.options import as_language, recording_options


@click.command(name="transcribe")
@click.option(
    "--language",
    "-l",
    metavar="CODE",
    callback=as_language,
    help="Language spoken, such as en or de; auto to find out, auto:en,de among these.  [default: the model's]",
)
@click.option(
    "--task",
    type=click.Choice(["transcribe", "translate"]),
    default="transcribe",
    show_default=True,
    help="Write down what is said, or a translation.",
)
@click.option(
    "--target-lang",
    metavar="CODE",
    callback=as_language,
    help="With --task translate: language of the text.  [default: en]",
)
@recording_options
def command(**options: Any) -> None:
    """Write down what recordings say.

    FILE is a recording in any format and of any length: a path, an http(s) address, or - for standard input. A folder
    stands for the sound and video files in it and below it. The text goes to stdout, progress to stderr.

    \b
    Examples:
      mlx-canary transcribe talk.m4a --model canary-180m-flash
      mlx-canary transcribe interviews -m my-canary -l de -f srt,txt -o subtitles
      ffmpeg -i film.mkv -f wav - | mlx-canary transcribe - -m my-canary -l fr
    """
    from mlx_canary.cli.jobs import make_job
    from mlx_canary.cli.recordings import run

    run(make_job(options))
