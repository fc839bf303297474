"""The work of `transcribe` and `translate`: recordings in, texts on stdout or in files, progress on stderr.

One recording that fails does not stop the others; its error is told, and the exit code is 1.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields, is_dataclass, replace

from mlx_canary.cli.doubts import ReaderWarnings, doubts, reader_warnings
from mlx_canary.cli.inputs import Recording, estimated_seconds
from mlx_canary.cli.jobs import Job
from mlx_canary.cli.languages import check_published
from mlx_canary.cli.planning import Plan, delete_journals, finish, make_plan, open_journals
from mlx_canary.cli.progress import RecordingProgress, loading_progress, recording_progress
from mlx_canary.cli.terminal import tell, write_utf8
from mlx_canary.decoding.options import DecodingOptions
from mlx_canary.errors import CanaryError
from mlx_canary.longform.assembly import transcript_of
from mlx_canary.longform.journal import Journal
from mlx_canary.memory import limit_memory
from mlx_canary.model import CanaryModel, Outcome
from mlx_canary.requests import TranscriptionOptions, is_auto, own_decoding
from mlx_canary.types import Segment, Transcript
from mlx_canary.writers import OutputSource, OutputTarget, Provenance, name_outputs, render, write_outputs


def run(job: Job) -> None:
    """Do it; exits with 1 if a recording failed."""
    for problem in job.inputs.problems:
        tell(f"Error: {problem}")
    check_published(job.model, job.options)
    if job.target is None and job.formats != ("txt",):
        write_utf8()
    plan = make_plan(job)
    all_well = _work(job, plan) if plan.recordings else not job.inputs.problems
    if not all_well:
        sys.exit(1)
    delete_journals(job)


def _work(job: Job, plan: Plan) -> bool:
    """Listen to what is left; true if all is done then."""
    limit_memory(job.memory_limit, job.cache_limit)
    with loading_progress(job.model, enabled=not job.quiet) as loading:
        model = CanaryModel.from_pretrained(job.model, dtype=job.dtype, progress=loading)
    journals = open_journals(job, plan, model)
    duration = None if job.quiet else estimated_seconds(plan.recordings)
    known_until = journals[0].end if journals is not None and duration is not None else 0.0
    with (
        recording_progress(len(plan.recordings), not job.quiet, duration, known_until) as progress,
        reader_warnings() as warnings,
    ):
        options = _with_own_beam(job, model)
        if options.language is None:
            progress.note(f"Language: {model.prompt(options).source_lang} (say another with --language)")
        progress.say("Listening")
        delivery = _Delivery(job, options, model.config.name, progress, warnings)
        outcomes = model.transcribe_each(
            [(recording.file, options) for recording in plan.recordings],
            batch_size=job.batch_size,
            on_segment=delivery.heard,
            journals=journals,
        )
        all_well = False
        try:
            all_well = _deliver_all(delivery, outcomes, plan, journals) and not job.inputs.problems
        finally:
            if not all_well and (plan.n_finished or any(journal.n_windows for journal in journals or ())):
                progress.note("What was finished is kept; the same command with --resume does the rest.")
    return all_well


def _deliver_all(
    delivery: _Delivery, outcomes: Iterator[Outcome], plan: Plan, journals: Sequence[Journal] | None
) -> bool:
    """Write every recording's transcript; true if none failed."""
    all_well = True
    for outcome in outcomes:
        recording = plan.recordings[outcome.index]
        journal = journals[outcome.index] if journals is not None else None
        try:
            delivery.deliver(recording, outcome, plan.target(delivery.job, recording), journal)
        except CanaryError as error:
            all_well = False
            told = str(error)
            delivery.progress.note(f"Error: {told}" if recording.name in told else f"Error: {recording.name}: {told}")
        delivery.progress.finished()
    return all_well


def _with_own_beam(job: Job, model: CanaryModel) -> TranscriptionOptions:
    """The model's own number of beams also where something else about the search was asked for."""
    decoding = job.options.decoding
    if not job.own_beam or decoding is None:
        return job.options
    own = own_decoding(model.config)
    decoding = replace(decoding, beam_size=own.beam_size, length_penalty=own.length_penalty)
    return replace(job.options, decoding=decoding)


class _Delivery:
    """Brings transcripts to where they belong.

    Args:
        job: What was asked for.
        options: The same, with what the model itself decides.
        model: Its name.
        progress: Where notes and texts are shown.
        warnings: Collects what is wrong with recordings.
    """

    def __init__(
        self, job: Job, options: TranscriptionOptions, model: str, progress: RecordingProgress, warnings: ReaderWarnings
    ) -> None:
        self.job = job
        self.progress = progress
        self._options = options
        self._model = model
        self._warnings = warnings
        # A single text needs no end to be seen.
        self._at_once = job.target is None and job.formats == ("txt",)
        self._at_once &= len(job.inputs) == 1 and not options.also_translate
        self._printed = ""

    def heard(self, segment: Segment) -> None:
        """Another segment of a recording's first text is known."""
        self.progress.heard(segment)
        if self._at_once and (line := render(Transcript((segment,), "", "", segment.end), "txt")):
            self.progress.print(line)
            self._printed += line

    def deliver(
        self, recording: Recording, outcome: Outcome, target: OutputTarget | None, journal: Journal | None
    ) -> None:
        """Write one recording's transcript, and its translations.

        Raises:
            CanaryError: It failed, or cannot be written.
        """
        job, transcript = self.job, transcript_of(outcome)
        if is_auto(self._options.language):
            self.progress.note(f"Language: {transcript.source_lang} (found out in {recording.name})")
        # Their warnings were logged, and are among those about the recording.
        texts = [replace(text, warnings=()) for text in (transcript, *transcript.translations)]
        doubtful = list(doubts(recording.name, transcript))
        for doubt in doubtful:
            self.progress.note(f"Warning: {doubt}")
        warnings = [*self._warnings.about(recording.name), *doubtful]
        asked = {"file": recording.name, **_stated(self._options)}
        provenance = Provenance(self._model, asked, tuple(warnings))
        if target is None:
            text = self._on_stdout(recording.name, texts, provenance)
            if not self._printed or text != self._printed:
                self.progress.print(text.removeprefix(self._printed))
            return
        if journal is not None:
            languages = tuple(text.target_lang for text in texts)
            source = OutputSource(recording.file, languages, recording.number, recording.subfolder)
            [outputs] = name_outputs([source], job.formats, target)
            finish(job, recording, journal, [output.path for output in outputs])
        paths = write_outputs(
            texts,
            job.formats,
            target,
            recording.file,
            number=recording.number,
            subfolder=recording.subfolder,
            subtitles=job.subtitles,
            provenance=provenance,
        )
        self.progress.note(f"{recording.name} -> {', '.join(map(str, paths))}")

    def _on_stdout(self, name: str, texts: list[Transcript], provenance: Provenance) -> str:
        job = self.job
        (format,) = job.formats
        if format not in ("txt", "json"):
            return render(texts, format, job.subtitles, provenance)
        parts = []
        for text in texts:
            named = [name] * (len(job.inputs) > 1) + [text.target_lang] * (len(texts) > 1)
            title = f"== {', '.join(named)} ==\n" if named and format == "txt" else ""
            parts.append(title + render(text, format, job.subtitles, provenance).rstrip("\n") + "\n")
        return "".join(parts)


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
