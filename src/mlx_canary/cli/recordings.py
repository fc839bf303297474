"""The work of `transcribe` and `translate`: recordings in, texts on stdout or in files, progress on stderr.

One recording that fails does not stop the others; its error is told, and the exit code is 1.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlx_canary.errors import AudioError, CanaryError

if TYPE_CHECKING:
    from mlx_canary.model import Outcome
    from mlx_canary.requests import TranscriptionOptions
    from mlx_canary.writers.files import OutputTarget


@dataclass(frozen=True, slots=True)
class Job:
    """What a command was asked to do.

    Attributes:
        files: Paths, addresses, or "-" for standard input.
        model: As for `CanaryModel.from_pretrained`.
        dtype: As there.
        options: For every file.
        formats: Of the outputs.
        target: Where outputs go; None for stdout.
        batch_size: Windows decoded at once.
        quiet: No progress.
    """

    files: Sequence[str]
    model: str
    dtype: Any
    options: TranscriptionOptions
    formats: tuple[str, ...]
    target: OutputTarget | None
    batch_size: int
    quiet: bool


def make_job(
    files: Sequence[str],
    model: str,
    formats: Sequence[str],
    output_dir: Path | None,
    output_template: str | None,
    overwrite: bool,
    batch_size: int,
    dtype: str | None,
    quiet: bool,
    channel: str,
    **asked: Any,
) -> Job:
    """A job of a command's options; refuses combinations that make no sense, before anything is loaded."""
    from mlx_canary.requests import TranscriptionOptions
    from mlx_canary.writers import OutputTarget, parse_formats

    names = parse_formats(formats)
    target = None
    if output_dir is not None or output_template is not None:
        target = OutputTarget(output_dir or Path(), output_template, overwrite)
    elif len(names) > 1 or (len(files) > 1 and names[0] not in ("txt", "json")):
        raise click.UsageError("Only one text fits on stdout. Say where to write the others with --output-dir.")
    elif overwrite:
        raise click.UsageError("--overwrite is for files; say where they are with --output-dir.")
    if list(files).count("-") > 1:
        raise click.UsageError("Standard input ('-') can be read once.")
    options = TranscriptionOptions(channel=_channel(channel), **asked)
    return Job(files, model, dtype, options, names, target, batch_size, quiet)


def run(job: Job) -> None:
    """Do it; exits with 1 if a recording failed."""
    from mlx_canary.cli.progress import recording_progress
    from mlx_canary.model import CanaryModel
    from mlx_canary.writers import OutputSource, plan_outputs

    if job.target is not None:
        plan_outputs([OutputSource(file, (None,), n + 1) for n, file in enumerate(job.files)], job.formats, job.target)
    failed = False
    with recording_progress(len(job.files), enabled=not job.quiet) as progress:
        progress.say(f"Loading {job.model}")
        model = CanaryModel.from_pretrained(job.model, dtype=job.dtype)
        requests = [(_source(file), job.options) for file in job.files]
        if job.options.language is None:
            progress.note(f"Language: {model.prompt(job.options).source_lang} (say another with --language)")
        progress.say("Listening")
        outcomes = model.transcribe_each(requests, batch_size=job.batch_size, on_segment=progress.heard)
        for outcome in outcomes:
            try:
                _deliver(job, outcome, model.config.name, progress)
            except CanaryError as error:
                failed = True
                progress.note(f"Error: {job.files[outcome.index]}: {error}")
            progress.finished()
    if failed:
        sys.exit(1)


def _deliver(job: Job, outcome: Outcome, model: str, progress: Any) -> None:
    """Write one recording's transcript where it belongs."""
    from mlx_canary.writers import Provenance, render, write_outputs

    if outcome.error is not None:
        raise outcome.error
    assert outcome.transcript is not None
    file = job.files[outcome.index]
    for segment in outcome.transcript.segments:
        if "unfinished" in segment.flags:
            progress.note(
                f"Warning: {file}, {segment.start:.0f} to {segment.end:.0f} s: the text reached the model's limit "
                "before its end; the rest may be missing."
            )
    provenance = Provenance(model, {"file": file, **_stated(job.options)})
    if job.target is not None:
        paths = write_outputs(
            outcome.transcript, job.formats, job.target, file, number=outcome.index + 1, provenance=provenance
        )
        progress.note(f"{file} -> {', '.join(map(str, paths))}")
        return
    text = render(outcome.transcript, job.formats[0], provenance=provenance)
    if len(job.files) > 1 and job.formats[0] == "txt":
        text = f"== {file} ==\n{text}"
    progress.print(text)


def _stated(options: TranscriptionOptions) -> dict[str, object]:
    return {name: getattr(options, name) for name in options.__slots__ if getattr(options, name) not in (None, "")}


def _channel(value: str) -> Any:
    if value == "mix":
        return value
    if not value.isdigit():
        raise AudioError(f"--channel {value!r} is neither 'mix' nor the number of a channel, from 0.")
    return int(value)


def _source(file: str) -> str | Path:
    """A path, unless it is standard input or an address."""
    return file if file == "-" or file.startswith(("http://", "https://")) else Path(file)
