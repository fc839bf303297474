"""What a run is to listen to: the arguments of a command in, recordings out, and what is wrong with the others.

Folders stand for the media files in them. Looks at names and first bytes only, before the long work.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlx_canary.audio.containers import SUFFIXES
from mlx_canary.audio.decode import estimated_duration
from mlx_canary.audio.download import is_url
from mlx_canary.audio.sources import describe, open_source
from mlx_canary.errors import AudioError


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording of a run.

    Attributes:
        file: Path, address, or "-" for standard input.
        number: In the run, from 1.
        subfolder: In which it lies, below the folder that was given; its outputs lie so too.
        occurrence: How often the same file was named before, in the same subfolder.
    """

    file: str
    number: int
    subfolder: Path = Path()
    occurrence: int = 0

    @property
    def name(self) -> str:
        """What to call it in messages and in JSON: of an address only what is no secret."""
        return describe(self.file)


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that was asked for.

    Attributes:
        recordings: Those that can be opened.
        problems: What is wrong with the others.
    """

    recordings: tuple[Recording, ...]
    problems: tuple[AudioError, ...]

    def __len__(self) -> int:
        return len(self.recordings) + len(self.problems)


def find_inputs(arguments: Sequence[str]) -> Inputs:
    """The recordings that the arguments name, folders in the order of their names."""
    recordings: list[Recording] = []
    problems: list[AudioError] = []
    seen: Counter[tuple[str, Path]] = Counter()
    for argument in arguments:
        try:
            for file, subfolder in _expanded(argument, problems):
                number = len(recordings) + len(problems) + 1
                recordings.append(Recording(file, number, subfolder, seen[file, subfolder]))
                seen[file, subfolder] += 1
        except AudioError as error:
            problems.append(error)
    return Inputs(tuple(recordings), tuple(problems))


def estimated_seconds(recordings: Sequence[Recording]) -> float | None:
    """About how long a single recording is, for the progress; None for several, and where it is not known."""
    if len(recordings) != 1 or not os.path.isfile(file := recordings[0].file):
        return None
    try:
        with open_source(file, file) as opened:
            return estimated_duration(opened, file)
    except AudioError:  # which is told when the recording is read
        return None


def _expanded(argument: str, problems: list[AudioError]) -> Iterator[tuple[str, Path]]:
    """The recordings of an argument; what is wrong inside of a folder is added to the problems."""
    if argument and os.path.isdir(argument):
        n_problems = len(problems)
        found = sorted(_media_in(Path(argument), problems))
        if not found and len(problems) == n_problems:
            raise AudioError(f"{argument} is a folder without recordings. Name its files one by one to try them all.")
        yield from ((str(path), path.relative_to(argument).parent) for path in found)
        return
    # What is no file yet exists, such as a pipe, can be read only once.
    if argument != "-" and not is_url(argument) and (os.path.isfile(argument) or not os.path.exists(argument)):
        with open_source(argument, argument):
            pass
    yield argument, Path()


def _media_in(folder: Path, problems: list[AudioError]) -> Iterator[Path]:
    """Hidden files and folders are left out, as are links to folders: they may lead in circles."""

    def note(error: OSError) -> None:
        problems.append(AudioError(f"{error.filename} cannot be read: {error.strerror or error}."))

    for parent, folders, names in os.walk(folder, onerror=note):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield Path(parent, name)
