"""`mlx-canary align`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlx_canary.cli.options import as_language, dtype_option, model_option, usage_errors
from mlx_canary.cli.shape import OF_SUBTITLES, check_formats, shape, shape_options

if TYPE_CHECKING:
    from mlx_canary.config import Dtype


@click.command(name="align")
@click.argument("file", metavar="FILE")
@click.argument("text_file", metavar="TEXT", type=click.Path(path_type=Path, allow_dash=True))
@model_option
@click.option("--language", "-l", metavar="CODE", callback=as_language, help="Language spoken.  [default: the model's]")
@click.option(
    "--format",
    "-f",
    "formats",
    multiple=True,
    default=("srt",),
    show_default=True,
    metavar="FORMAT",
    help="srt, vtt, tsv, json, lrc, ass or all; several with commas or by repeating it.",
)
@click.option("--output-dir", "-o", type=click.Path(path_type=Path), help="Write NAME.FORMAT here.  [default: stdout]")
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
@shape_options
@dtype_option
def command(
    file: str,
    text_file: Path,
    model: str,
    language: str | None,
    formats: tuple[str, ...],
    output_dir: Path | None,
    overwrite: bool,
    dtype: Dtype | None,
    **given: Any,
) -> None:
    """Find when the words of a TEXT that you have are spoken in a recording.

    TEXT is a file, or - for standard input. canary-1b-v2 aligns up to about an hour at once, the other models up to 40
    seconds.

    \b
    Example:
      mlx-canary align speech.wav speech.txt -m canary-1b-v2 -f srt -o subtitles
    """
    from mlx_canary.audio.sources import describe
    from mlx_canary.cli.doubts import reader_warnings
    from mlx_canary.cli.progress import loading_progress
    from mlx_canary.cli.terminal import write_utf8
    from mlx_canary.model import CanaryModel
    from mlx_canary.writers import (
        OutputSource,
        OutputTarget,
        Provenance,
        parse_formats,
        plan_outputs,
        render,
        write_outputs,
    )

    with usage_errors():
        names, subtitles = parse_formats(formats), shape(given)
        check_formats(names, OF_SUBTITLES)
    target = None if output_dir is None else OutputTarget(output_dir, overwrite=overwrite)
    if target is None and len(names) > 1:
        raise click.UsageError("Only one format fits on stdout. Say where to write the others with --output-dir.")
    if target is None and overwrite:
        raise click.UsageError("--overwrite is for files; say where they are with --output-dir.")
    if file == str(text_file) == "-":
        raise click.UsageError("Standard input ('-') can be read once.")
    if target is not None:
        plan_outputs([OutputSource(file, (language,))], names, target)
    text = _read(text_file)
    with loading_progress(model) as loading:
        loaded = CanaryModel.from_pretrained(model, dtype=dtype, progress=loading)
    with reader_warnings() as warnings:
        transcript = loaded.align(file, text, language=language)
    name = describe(file)
    asked = {"file": name, "text": str(text_file), **({} if language is None else {"language": language})}
    provenance = Provenance(loaded.config.name, asked, tuple(warnings.about(name)))
    transcript = replace(transcript, warnings=())  # they were logged, and are among those about the recording
    if target is None:
        write_utf8()
        click.echo(render(transcript, names[0], subtitles, provenance), nl=False)
        return
    for path in write_outputs(transcript, names, target, file, subtitles=subtitles, provenance=provenance):
        click.echo(str(path), err=True)


def _read(path: Path) -> str:
    from mlx_canary.errors import AlignmentError

    try:
        text = (sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise AlignmentError(f"The text {path} cannot be read: {error}.") from error
    if not text.strip():
        raise AlignmentError(f"The text {path} is empty. Give the words that are spoken in the recording.")
    return text
