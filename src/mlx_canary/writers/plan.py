"""Which files a run will write: recordings, formats and a target in, paths out, before the long work.

Reads the file system, to notice early what would fail later; writes nothing.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from mlx_canary.audio.sources import describe
from mlx_canary.writers.errors import OutputError
from mlx_canary.writers.names import describe_recording, fill_template
from mlx_canary.writers.registry import SubtitleWriter, find_writer, parse_formats

UNKNOWN_LANGUAGE = "und"
"""Stands in planned names for a language that is not known yet."""

_ADVICE = (
    "Tell them apart by an --output-template (in Python: template) with {parent}, {name}, {n}, {lang} or {ext} in it, "
    "such as '{name}.{ext}'."
)


@dataclass(frozen=True, slots=True)
class OutputTarget:
    """Where outputs go.

    Attributes:
        folder: Made where it does not exist.
        template: Their names, with the placeholders of `names.PLACEHOLDERS`. None for "{stem}.{ext}", or
            "{stem}.{lang}.{ext}" where a recording gives several texts.
        overwrite: Whether files that exist are replaced.
        bilingual: Whether subtitles hold all languages of a recording, rather than a file for each.
        day: For the placeholder {date}; by default the day on which this value was made.
        keep_existing: Whether files that exist stay as they are, and only the others are written.
    """

    folder: Path = Path()
    template: str | None = None
    overwrite: bool = False
    bilingual: bool = False
    day: date = field(default_factory=date.today)
    keep_existing: bool = False


@dataclass(frozen=True, slots=True)
class OutputSource:
    """A recording whose outputs are to be named.

    Attributes:
        recording: Its path, URL, or "-" for standard input.
        languages: Of its texts, the spoken language's first; None for one that is not known yet.
        number: Of the recording in this run.
        subfolder: Of the target's folder, in which its outputs lie.
    """

    recording: str | Path
    languages: tuple[str | None, ...]
    number: int = 1
    subfolder: Path = Path()


@dataclass(frozen=True, slots=True)
class PlannedOutput:
    """One file to write.

    Attributes:
        path: Where.
        format: Its format.
        texts: Which of the recording's texts it holds.
    """

    path: Path
    format: str
    texts: tuple[int, ...]


def plan_outputs(
    sources: Sequence[OutputSource], formats: str | Iterable[str], target: OutputTarget
) -> list[list[PlannedOutput]]:
    """Name the outputs of a whole run.

    Where a language is not known yet, names show `und`; whether such a file exists is seen only when it is written.

    Args:
        sources: All recordings of the run.
        formats: As for `parse_formats`.
        target: Where they go.

    Returns:
        For each recording its outputs; with `keep_existing` those that do not exist.

    Raises:
        OutputError: A format or placeholder is not known; two outputs would have one name; one would replace a
            recording, or a file that exists without `overwrite`; or the folder cannot be written to.
    """
    names = parse_formats(formats)
    plans = name_outputs(sources, names, target)
    _check_different(sources, names, target)
    if target.keep_existing:
        plans = [[output for output in plan if not os.path.lexists(output.path)] for plan in plans]
    for plan in plans:
        for output in plan:
            check_writable(output.path, overwrite=target.overwrite)
    return plans


def name_outputs(
    sources: Sequence[OutputSource], formats: str | Iterable[str], target: OutputTarget
) -> list[list[PlannedOutput]]:
    """The same names, whether or not they can be written.

    Raises:
        OutputError: A format or placeholder is not known, or a name leads out of the folder.
    """
    names = parse_formats(formats)
    return [_plan(source, names, target) for source in sources]


def _plan(source: OutputSource, formats: Sequence[str], target: OutputTarget) -> list[PlannedOutput]:
    everything = tuple(range(len(source.languages)))
    outputs = []
    for format in formats:
        together = target.bilingual and isinstance(find_writer(format), SubtitleWriter)
        for texts in [everything] if together else [(number,) for number in everything]:
            outputs.append(PlannedOutput(_path(source, format, texts, target), format, texts))
    return outputs


def _path(source: OutputSource, format: str, texts: Sequence[int], target: OutputTarget) -> Path:
    several = len(source.languages) > 1
    template = target.template or ("{stem}.{lang}.{ext}" if several else "{stem}.{ext}")
    values = {
        **describe_recording(source.recording),
        "n": str(source.number),
        "lang": _languages(source, texts),
        "format": format,
        "ext": format,
        "date": target.day.isoformat(),
    }
    path = target.folder / source.subfolder / fill_template(template, values)
    if not Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(target.folder)):
        raise OutputError(f"{path} leads out of the output folder {target.folder} through a link.")
    return path


def _languages(source: OutputSource, texts: Sequence[int]) -> str:
    return "-".join(source.languages[number] or UNKNOWN_LANGUAGE for number in texts)


def _check_different(sources: Sequence[OutputSource], formats: Sequence[str], target: OutputTarget) -> None:
    """No two outputs, and no output and recording, may be the same file."""
    if any(None in source.languages for source in sources):  # a name that waits for its language may become any
        sources = [replace(source, languages=(None, *source.languages[1:])) for source in sources]
    taken = {_file_key(source.recording): f"the recording {describe(source.recording)}" for source in sources}
    for source in sources:
        for output in _plan(source, formats, target):
            user = f"the {output.format} output of {describe(source.recording)} in {_languages(source, output.texts)}"
            other = taken.setdefault(_file_key(output.path), user)
            if other is not user:
                raise OutputError(f"{output.path} would be both {other} and {user}. {_ADVICE}")


def _file_key(path: str | Path) -> str:
    """Equal for names that are the same file on a Mac, which tells neither case nor composition of letters apart."""
    return unicodedata.normalize("NFC", os.path.realpath(path)).casefold()


def already_exists(path: Path) -> OutputError:
    """What is said where an output may not be replaced."""
    return OutputError(
        f"{path} exists. Choose another folder or name, or replace it with --overwrite (in Python: overwrite=True)."
    )


def check_writable(path: Path, *, overwrite: bool) -> None:
    """Notice before the long work that a file could not be written.

    Raises:
        OutputError: It exists and `overwrite` is false, is a folder, or lies where nothing can be written.
    """
    if os.path.isdir(path):
        raise OutputError(f"{path} is a folder; a file cannot take its place.")
    if os.path.lexists(path) and not overwrite:
        raise already_exists(path)
    folder = next(parent for parent in path.parents if os.path.exists(parent) or parent == parent.parent)
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{path} cannot be written: {folder} is not a folder that may be written to.")
