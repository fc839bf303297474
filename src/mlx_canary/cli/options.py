"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

model_option = click.option(
    "--model",
    "-m",
    required=True,
    envvar="MLX_CANARY_MODEL",
    show_envvar=True,
    metavar="MODEL",
    help="Folder of a converted model, .nemo file, 'demo', a name from `mlx-canary models`, or a hub repository.",
)

_RECORDING_OPTIONS = (
    click.argument("files", nargs=-1, required=True, metavar="FILE..."),
    model_option,
    click.option("--no-pnc", is_flag=True, help="Leave punctuation and capitals out."),
    click.option("--itn", is_flag=True, help="Write numbers as digits, where the model learned that."),
    click.option("--context", default="", metavar="TEXT", help="Text that came before, or names to expect."),
    click.option("--channel", default="mix", show_default=True, metavar="N|mix", help="One channel, from 0, or all."),
    click.option(
        "--format",
        "-f",
        "formats",
        multiple=True,
        default=("txt",),
        show_default=True,
        metavar="FORMAT",
        help="txt, json, srt, vtt, tsv, ..., or all; several with commas or by repeating it.",
    ),
    click.option(
        "--output-dir",
        "-o",
        type=click.Path(path_type=Path),
        help="Write NAME.FORMAT here; without it the text goes to stdout.",
    ),
    click.option("--output-template", metavar="NAME", help="Names of outputs, such as '{stem}.{lang}.{ext}'."),
    click.option("--overwrite", is_flag=True, help="Replace outputs that exist."),
    click.option(
        "--batch-size",
        type=click.IntRange(1, 256),
        default=4,
        show_default=True,
        help="Windows of sound decoded at once; more is faster on a GPU and takes more memory.",
    ),
    click.option(
        "--dtype",
        type=click.Choice(["float32", "float16", "bfloat16"]),
        help="Compute in this type instead of the model's own.",
    ),
    click.option("--quiet", "-q", is_flag=True, help="No progress."),
)


def recording_options(command: Command) -> Command:
    """The options that `transcribe` and `translate` have in common."""
    for option in reversed(_RECORDING_OPTIONS):
        command = option(command)
    return command
