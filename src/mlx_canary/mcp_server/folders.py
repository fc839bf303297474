"""The folders that a server may read: names from a client in, paths that lie inside out.

Knows nothing about the protocol and does not open recordings.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlx_canary.audio.containers import SUFFIXES
from mlx_canary.errors import AudioError


@dataclass(frozen=True, slots=True)
class Found:
    """A recording in an allowed folder.

    Attributes:
        path: Without links and "..".
        n_bytes: Its size.
        modified: Seconds since 1970.
    """

    path: Path
    n_bytes: int
    modified: float


class Folders:
    """What may be read.

    Args:
        folders: Links in their own paths are followed once, here; "~" is the user's own folder.

    Raises:
        AudioError: One is no folder.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(dict.fromkeys(Path(os.path.realpath(os.path.expanduser(folder))) for folder in folders))
        for folder in self._folders:
            if not folder.is_dir():
                raise AudioError(f"{folder} is not a folder. Name one that exists, or make it.")

    def __str__(self) -> str:
        return ", ".join(map(str, self._folders))

    def find(self, name: str) -> Path:
        """The file that a client means.

        Args:
            name: An absolute path, or one that begins in an allowed folder.

        Raises:
            AudioError: It lies outside, perhaps by ".." or a link; or it is no file.
        """
        inside = [path for path in self._meant(name) if self._allows(path)]
        if not inside:
            raise AudioError(f"{name} lies outside the folders that may be read here: {self}.")
        for path in inside:
            if os.path.isfile(path):
                return path
        raise AudioError(f"{name}: there is no such file in the folders that may be read here: {self}.")

    def recordings(self) -> list[Found]:
        """Files that are named like sound or video, the newest first; any other may be asked for too.

        Hidden ones are left out, and those whose name is not UTF-8: the protocol cannot say it.
        """
        found = {path: _look_at(path) for folder in self._folders for path in self._named_like_sound(folder)}
        return sorted(filter(None, found.values()), key=lambda recording: (-recording.modified, recording.path))

    def _meant(self, name: str) -> list[Path]:
        """What a name can mean, with all links followed; an absolute one means one thing."""
        given = os.path.expanduser(name)
        try:
            return [Path(os.path.realpath(folder / given)) for folder in self._folders]
        except ValueError as error:  # null characters, or no Unicode
            raise AudioError(f"{name!r:.200} is not a path: {error}.") from error

    def _allows(self, path: Path) -> bool:
        return any(path.is_relative_to(folder) for folder in self._folders)

    def _named_like_sound(self, top: Path) -> Iterator[Path]:
        for folder, subfolders, names in os.walk(top):
            subfolders[:] = [name for name in subfolders if not name.startswith(".")]
            for name in names:
                path = Path(os.path.realpath(os.path.join(folder, name)))
                named_so = Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")
                if named_so and self._allows(path) and _is_utf8(path):
                    yield path


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _look_at(path: Path) -> Found | None:
    """None for what is no plain file, or gone by now."""
    if not os.path.isfile(path):
        return None
    try:
        status = path.stat()
    except OSError:
        return None
    return Found(path, status.st_size, status.st_mtime)
