"""What of a run is left to do, and the notes from which an interrupted run goes on.

A recording's notes (`Journal`) lie beside the outputs. When it is done they say so, and stay until all recordings of
the run are: until then `--resume` leaves alone what is done, and takes no output of another run for one of this one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlx_canary.cli.inputs import Recording
from mlx_canary.cli.jobs import Job
from mlx_canary.cli.terminal import tell
from mlx_canary.conversion.names import WEIGHTS
from mlx_canary.journal_file import JournalFile
from mlx_canary.longform.journal import Journal, read_finished
from mlx_canary.model import CanaryModel
from mlx_canary.requests import is_auto, language_of_text
from mlx_canary.version import __version__
from mlx_canary.writers import OutputSource, OutputTarget, name_outputs, plan_outputs
from mlx_canary.writers.errors import OutputError


@dataclass(frozen=True, slots=True)
class Plan:
    """What is left to do.

    Attributes:
        recordings: To listen to.
        begun: Numbers of those of which an interrupted run wrote some of the outputs.
        n_finished: How many others it finished.
    """

    recordings: tuple[Recording, ...]
    begun: frozenset[int] = frozenset()
    n_finished: int = 0

    def target(self, job: Job, recording: Recording) -> OutputTarget | None:
        """Where a recording's outputs go."""
        if job.target is not None and (job.skip_existing or recording.number in self.begun):
            return replace(job.target, keep_existing=True)
        return job.target


def make_plan(job: Job) -> Plan:
    """Tell and leave out what is done; notice names that clash or exist before the long work.

    Raises:
        OutputError: As for `plan_outputs`.
    """
    recordings, target = job.inputs.recordings, job.target
    if target is None:
        return Plan(recordings)
    plan_outputs(list(_sources(job, recordings)), job.formats, replace(target, overwrite=True))  # do names clash?
    left, begun = [], set()
    for recording in recordings:
        paths = _outputs_before(job, target, recording) if job.resume else []
        there = list(map(os.path.lexists, paths))
        if there and all(there):
            tell(f"{recording.name} was done before: {', '.join(map(str, paths))}")
            continue
        left.append(recording)
        if any(there):
            begun.add(recording.number)
    n_finished = len(recordings) - len(left)
    if job.skip_existing:
        left = _without_outputs(job, target, left)
    new = [recording for recording in left if not (job.skip_existing or recording.number in begun)]
    _check_none_exists(job, target, new)
    plan_outputs(list(_sources(job, new)), job.formats, target)
    return Plan(tuple(left), frozenset(begun), n_finished)


def open_journals(job: Job, plan: Plan, model: CanaryModel) -> list[Journal] | None:
    """Notes beside the outputs, from which an interrupted run can go on; none where there are no such outputs."""
    if job.target is None or job.options.longform == "nemo":
        return None
    conditions = {**_conditions(job), "config": model.config.model_dump(), "weights": model.fingerprint}
    if not job.resume:
        _begin_anew(job, job.target, conditions)
    return [Journal(_journal_path(job.target, recording), conditions, job.resume) for recording in plan.recordings]


def _begin_anew(job: Job, target: OutputTarget, conditions: dict[str, Any]) -> None:
    """Forget what an older run finished: it would count if this one is interrupted.

    What one had begun stays until this run has something to note, for whoever only forgot --resume.
    """
    for recording in job.inputs.recordings:
        path = _journal_path(target, recording)
        if read_finished(path) is not None:
            _delete(path)
        elif not JournalFile(path, conditions).is_of_others() and Journal(path, conditions, resume=True).n_windows:
            tell(f"{recording.name} is begun anew. With --resume it would go on where an interrupted run stopped.")


def finish(job: Job, recording: Recording, journal: Journal, paths: Sequence[Path]) -> None:
    """Note that all of a recording was heard, and which outputs are about to be written."""
    assert job.target is not None
    outputs = [os.path.relpath(path, job.target.folder) for path in paths]
    journal.finish({"asked": _asked(job, recording), "outputs": outputs})


def delete_journals(job: Job) -> None:
    """Nothing is left to resume."""
    if job.target is not None:
        for recording in job.inputs.recordings:
            _delete(_journal_path(job.target, recording))


def _delete(journal: Path) -> None:
    with suppress(OSError):  # one that stays counts for the same command and recording only
        journal.unlink()


def _sources(job: Job, recordings: Sequence[Recording]) -> Iterator[OutputSource]:
    options = job.options
    spoken = None if is_auto(options.language) else options.language
    languages = (language_of_text(options, spoken), *options.also_translate)
    for recording in recordings:
        yield OutputSource(recording.file, languages, recording.number, recording.subfolder)


def _without_outputs(job: Job, target: OutputTarget, recordings: Sequence[Recording]) -> list[Recording]:
    """Those of which an output is missing."""
    plans = plan_outputs(list(_sources(job, recordings)), job.formats, replace(target, keep_existing=True))
    left = [recording for recording, outputs in zip(recordings, plans, strict=True) if outputs]
    if n_left_out := len(recordings) - len(left):
        one = n_left_out == 1
        tell(f"{n_left_out} {'recording is' if one else 'recordings are'} left out: all outputs exist.")
    return left


def _check_none_exists(job: Job, target: OutputTarget, recordings: Sequence[Recording]) -> None:
    """What an earlier run has written is in the way, unless something is said about it."""
    plans = name_outputs(list(_sources(job, recordings)), job.formats, target)
    there = [output.path for plan in plans for output in plan if os.path.lexists(output.path)]
    if there and not target.overwrite and not os.path.isdir(there[0]):
        exist = "exists" if len(there) == 1 else f"and {len(there) - 1} more of the outputs exist"
        raise OutputError(
            f"{there[0]} {exist}. Keep what exists with --skip-existing, replace it with --overwrite, or choose "
            "another --output-dir."
        )


def _outputs_before(job: Job, target: OutputTarget, recording: Recording) -> list[Path]:
    """The outputs that an interrupted run of the same command wrote of a recording, or was about to write."""
    found = read_finished(_journal_path(target, recording))
    if found is None or recording.file == "-":  # which may hold something else each time
        return []
    conditions, result = found
    for known_later in ("config", "weights"):
        conditions.pop(known_later, None)
    names = result.get("outputs")
    if conditions != _conditions(job) or result.get("asked") != _asked(job, recording) or not isinstance(names, list):
        return []
    return [target.folder / str(name) for name in names]


def _conditions(job: Job) -> dict[str, Any]:
    """What must be the same for notes to be used; what is in the model is added when it is loaded."""
    model, decoding = Path(job.model), job.options.decoding
    files = [model / WEIGHTS if model.is_dir() else model]
    if decoding is not None and decoding.language_model is not None:
        files.append(Path(decoding.language_model.path))
    return {
        "version": __version__,
        "model": job.model,
        "files": repr(list(map(_state, files))),
        "dtype": job.dtype,
        "options": repr((job.options, job.own_beam)),
    }


def _state(file: Path) -> tuple[int, int] | None:
    """Tells a file from another one of the same name; None for what is no file, such as a published model's name."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _asked(job: Job, recording: Recording) -> str:
    """What must be the same for outputs to be those that are wanted: their shape, their names, the recording itself."""
    assert job.target is not None
    template = job.target.template
    number = recording.number if template is not None and "{n}" in template else None
    shape = (job.formats, job.subtitles, template, job.target.bilingual, number)
    return repr((shape, _state(Path(recording.file))))


def _journal_path(target: OutputTarget, recording: Recording) -> Path:
    """Tells recordings of one name in different folders apart, and those that are named twice."""
    file = recording.file
    name = "stdin" if file == "-" else Path(recording.name.rstrip("/")).name
    which = f"{file}\0{recording.subfolder}\0{recording.occurrence}".encode("utf-8", "surrogateescape")
    return target.folder / f".{name[:40]}.{hashlib.sha256(which).hexdigest()[:8]}.unfinished.jsonl"
