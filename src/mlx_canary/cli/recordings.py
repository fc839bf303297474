"""The work of `transcribe` and `translate`: recordings in, texts on stdout or in files, progress on stderr.

One recording that fails does not stop the others; its error is told, and the exit code is 1.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from itertools import groupby
from pathlib import Path

from mlx_canary.backend import mx
from mlx_canary.cli.jobs import Job
from mlx_canary.cli.progress import RecordingProgress, loading_progress, recording_progress
from mlx_canary.decoding.options import DecodingOptions
from mlx_canary.errors import CanaryError
from mlx_canary.longform.guards import describe
from mlx_canary.longform.journal import Journal
from mlx_canary.model import CanaryModel, Outcome
from mlx_canary.requests import TranscriptionOptions, own_decoding
from mlx_canary.types import Segment, Transcript
from mlx_canary.writers import OutputSource, Provenance, plan_outputs, render, write_outputs


def run(job: Job) -> None:
    """Do it; exits with 1 if a recording failed."""
    _plan(job)
    if job.memory_limit is not None:
        mx.set_memory_limit(job.memory_limit)
    if job.cache_limit is not None:
        mx.set_cache_limit(job.cache_limit)
    with loading_progress(job.model, enabled=not job.quiet) as loading:
        model = CanaryModel.from_pretrained(job.model, dtype=job.dtype, progress=loading)
    with recording_progress(len(job.files), enabled=not job.quiet) as progress:
        job = _with_own_beam(job, model)
        if job.options.language is None:
            progress.note(f"Language: {model.prompt(job.options).source_lang} (say another with --language)")
        progress.say("Listening")
        journals = _journals(job, model)
        requests = [(file, job.options) for file in job.files]
        outcomes = model.transcribe_each(
            requests, batch_size=job.batch_size, on_segment=progress.heard, journals=journals
        )
        try:
            failed = _deliver_all(job, outcomes, model, journals, progress)
        except KeyboardInterrupt:
            if any(journal.n_windows for journal in journals or ()):
                progress.note("What was finished is kept; the same command with --resume goes on from there.")
            raise
    if failed:
        sys.exit(1)


def _deliver_all(
    job: Job,
    outcomes: Iterator[Outcome],
    model: CanaryModel,
    journals: Sequence[Journal] | None,
    progress: RecordingProgress,
) -> bool:
    """Write every recording's transcript; true if one failed."""
    failed = False
    for outcome in outcomes:
        try:
            _deliver(job, outcome, model, progress)
        except CanaryError as error:
            failed = True
            file = job.files[outcome.index]
            progress.note(f"Error: {error}" if file in str(error) else f"Error: {file}: {error}")
        else:
            if journals is not None:
                journals[outcome.index].delete()
        progress.finished()
    return failed


def _plan(job: Job) -> None:
    """Notice names that clash or exist before the long work."""
    if job.target is None:
        return
    options = job.options
    spoken = None if options.language in (None, "auto") else options.language
    first = (options.target_lang or "en") if options.task == "translate" else spoken
    languages = (first, *options.also_translate)
    sources = [OutputSource(file, languages, number) for number, file in enumerate(job.files, start=1)]
    plan_outputs(sources, job.formats, job.target)


def _with_own_beam(job: Job, model: CanaryModel) -> Job:
    """The model's own number of beams also where something else about the search was asked for."""
    decoding = job.options.decoding
    if not job.own_beam or decoding is None:
        return job
    own = own_decoding(model.config)
    decoding = replace(decoding, beam_size=own.beam_size, length_penalty=own.length_penalty)
    return replace(job, options=replace(job.options, decoding=decoding))


def _journals(job: Job, model: CanaryModel) -> list[Journal] | None:
    """Notes beside the outputs, from which an interrupted run can go on."""
    if job.target is None or job.options.longform == "nemo":
        return None
    conditions = {
        "model": job.model,
        "config": model.config.model_dump(),
        "dtype": job.dtype,
        "options": repr(job.options),
    }
    return [Journal(job.target.folder / _journal_name(file), conditions, job.resume) for file in job.files]


def _journal_name(file: str) -> str:
    """Tells recordings of one name in different folders apart."""
    name = "stdin" if file == "-" else Path(file.rstrip("/")).name
    digest = hashlib.sha256(file.encode("utf-8", "surrogateescape")).hexdigest()
    return f".{name[:40]}.{digest[:8]}.unfinished.jsonl"


def _deliver(job: Job, outcome: Outcome, model: CanaryModel, progress: RecordingProgress) -> None:
    """Write one recording's transcript, and its translations, where they belong."""
    if outcome.error is not None:
        raise outcome.error
    assert outcome.transcript is not None
    file, transcript = job.files[outcome.index], outcome.transcript
    texts = [transcript, *transcript.translations]
    _warn(file, transcript.segments, progress)
    provenance = Provenance(model.config.name, {"file": file, **_stated(job.options)})
    if job.target is not None:
        number, subtitles = outcome.index + 1, job.subtitles
        paths = write_outputs(
            texts, job.formats, job.target, file, number=number, subtitles=subtitles, provenance=provenance
        )
        progress.note(f"{file} -> {', '.join(map(str, paths))}")
    else:
        progress.print(_on_stdout(job, file, texts, provenance))


def _on_stdout(job: Job, file: str, texts: list[Transcript], provenance: Provenance) -> str:
    (format,) = job.formats
    if format not in ("txt", "json"):
        return render(texts, format, job.subtitles, provenance)
    parts = []
    for text in texts:
        named = [file] * (len(job.files) > 1) + [text.target_lang] * (len(texts) > 1)
        title = f"== {', '.join(named)} ==\n" if named and format == "txt" else ""
        parts.append(title + render(text, format, job.subtitles, provenance).rstrip("\n") + "\n")
    return "".join(parts)


def _warn(file: str, segments: Sequence[Segment], progress: RecordingProgress) -> None:
    """Once for a stretch, not for each of its sentences."""
    for flags, group in groupby(segments, key=lambda segment: segment.flags):
        stretch = list(group)
        for flag in flags:
            start, end = stretch[0].start, stretch[-1].end
            progress.note(f"Warning: {file}, {start:.0f} to {end:.0f} s: {describe(flag)}.")


def _changed(decoding: DecodingOptions) -> dict[str, object]:
    default = DecodingOptions()
    names = [field.name for field in fields(decoding)]
    changed = {name: getattr(decoding, name) for name in names if getattr(decoding, name) != getattr(default, name)}
    return {name: asdict(value) if is_dataclass(value) else value for name, value in changed.items()}  # type: ignore[arg-type]


def _stated(options: TranscriptionOptions) -> dict[str, object]:
    """The options that are not what they are by default."""
    default, stated = TranscriptionOptions(), {}
    for field in fields(options):
        value = getattr(options, field.name)
        if value != getattr(default, field.name):
            stated[field.name] = _changed(value) if isinstance(value, DecodingOptions) else value
    return stated
