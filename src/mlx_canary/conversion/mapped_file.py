"""Plain files as memory maps: a path or an open file in, windows on its bytes out.

Knows nothing about archives.
"""

import mmap
import os
import stat
from pathlib import Path
from typing import IO

from mlx_canary.errors import ConversionError, ModelNotFoundError


class MappedFile:
    """A file whose bytes are read when touched. It is mapped on first use.

    As with every map, a file that somebody cuts short meanwhile ends the process (SIGBUS).
    """

    def __init__(self, path: Path, opened: IO[bytes] | None = None) -> None:
        self._path = path
        self._map = _map(opened) if opened else None

    def view(self) -> memoryview:
        """All bytes, read-only. The map lives as long as a view or an array on it."""
        if self._map is None:
            with open_regular(self._path) as file:
                self._map = _map(file)
        return memoryview(self._map)

    def release_pages(self) -> None:
        """Give back the memory of pages that were read; touching them again reads them again."""
        if isinstance(self._map, mmap.mmap):
            self._map.madvise(mmap.MADV_DONTNEED)


class Member:
    """A part of a mapped file; all of it where no span is given."""

    def __init__(self, file: MappedFile, offset: int = 0, size: int | None = None) -> None:
        self.file = file
        self._window = slice(offset, None if size is None else offset + size)

    def view(self) -> memoryview:
        """The member's bytes, read-only."""
        return self.file.view()[self._window]


def path_mode(path: Path) -> int:
    """The type and permission bits of what is at `path`.

    Raises:
        ModelNotFoundError: Nothing is there.
    """
    try:
        return path.stat().st_mode
    # ValueError: a name with a zero byte in it.
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise ModelNotFoundError(f"There is no file or folder {str(path)!r}.") from None


def open_regular(path: Path) -> IO[bytes]:
    """Open a plain file; a named pipe would block, and a device has no end.

    Raises:
        ConversionError: It is something else.
    """
    if not stat.S_ISREG(path_mode(path)):
        raise ConversionError(f"{path} is neither a plain file nor a folder.")
    return path.open("rb")


def _map(file: IO[bytes]) -> "mmap.mmap | bytes":
    # An empty file cannot be mapped.
    if not os.fstat(file.fileno()).st_size:
        return b""
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
