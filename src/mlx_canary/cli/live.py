"""`mlx-canary live`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mlx_canary.cli.options import (
    as_language,
    context_option,
    dtype_option,
    itn_option,
    model_option,
    no_pnc_option,
)


def _list_devices(context: click.Context, parameter: click.Parameter, asked: bool) -> None:
    """Before other options are looked at: it needs no model."""
    if asked and not context.resilient_parsing:
        from mlx_canary.cli.live_sources import device_names

        click.echo("\n".join(device_names()) or "There is no microphone.")
        context.exit()


@click.command(name="live")
@model_option
@click.option(
    "--language",
    "-l",
    metavar="CODE",
    callback=as_language,
    help="Language spoken, such as en.  [default: the model's]",
)
@click.option(
    "--to", "target_lang", metavar="CODE", callback=as_language, help="Show a translation into this language too."
)
@click.option(
    "--file", metavar="FILE", help="Hear a recording instead; - for raw sound on stdin, 16 bits, 16 kHz, mono."
)
@click.option("--fast", is_flag=True, help="With --file: as fast as possible, instead of in real time.")
@click.option("--device", metavar="NAME|N", help="Microphone: part of its name, or its number.")
@click.option(
    "--list-devices",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_devices,
    help="List the microphones, and stop.",
)
@click.option(
    "--policy",
    type=click.Choice(["windowed", "alignatt", "waitk"]),
    default="windowed",
    show_default=True,
    help="When text is written.",
)
@click.option("--chunk", type=float, default=1.0, show_default=True, help="Seconds from one decoding to the next.")
@dtype_option
@no_pnc_option
@itn_option
@context_option
@click.option(
    "--format",
    "-f",
    "formats",
    multiple=True,
    default=("txt",),
    show_default=True,
    metavar="FORMAT",
    help="Of what is saved: txt, srt, vtt, tsv, json, lrc, ass or all; several with commas or by repeating it.",
)
@click.option(
    "--output-dir", "-o", type=click.Path(path_type=Path), help="Save the text here at the end, also after Ctrl-C."
)
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
def command(**options: Any) -> None:
    """Write down what is being said: the microphone, a recording in real time, or raw sound from another program.

    On a terminal the text that may still change is dim, and redrawn in place. Elsewhere each segment is a line, written
    when it has ended. Ctrl-C ends it.

    \b
    Examples:
      mlx-canary live -m canary-180m-flash -l en --to de
      mlx-canary live -m demo --file talk.m4a -f srt -o subtitles
      ffmpeg -i a.ts -ac 1 -ar 16000 -f s16le - | mlx-canary live -m demo --file -
    """
    from mlx_canary.cli.live_work import run

    run(options)
