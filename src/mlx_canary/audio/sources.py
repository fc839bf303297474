"""Where a recording comes from: path, bytes, file object, standard input or URL in, a seekable file out.

Knows nothing about what is inside the file.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeAlias, cast

from mlx_canary.audio.download import download, is_url, public_part
from mlx_canary.errors import AudioError
from mlx_canary.types import Audio

FileSource: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]
AudioSource: TypeAlias = FileSource | Audio

MAX_STREAM_BYTES = 4 * 2**30
"""Most bytes taken from a URL or a pipe, where nothing else says when it ends."""

_IN_MEMORY_BYTES = 64 * 2**20
_BLOCK_BYTES = 2**20


def describe(source: AudioSource) -> str:
    """What to call a source in messages."""
    if isinstance(source, Audio):
        return "The array"
    if isinstance(source, str) and source == "-":
        return "Standard input"
    if isinstance(source, str) and is_url(source):
        return public_part(source)
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return f"The recording ({len(source)} bytes)"
    return "The file object"


@contextmanager
def open_source(source: FileSource, name: str) -> Iterator[IO[bytes]]:
    """Open a source for reading from its start.

    A file object that can seek is read from its start whatever its position, and stays open afterwards. What
    cannot seek (pipes, sockets) is copied first: in memory, or to an anonymous temporary file when it is
    large.

    Args:
        source: Path, bytes, binary file object, "-" for standard input, or http(s) URL.
        name: What to call it in messages.

    Raises:
        AudioError: It is missing, unreadable, empty, too large for a stream, or nothing of the above.
    """
    try:
        with _open(source, name) as file:
            if not file.read(1):
                raise AudioError(f"{name} is empty: it has 0 bytes, so it is not a recording.")
            file.seek(0)
            yield file
    except FileNotFoundError as error:
        raise AudioError(f"{name}: no such file. Check the path.") from error
    except IsADirectoryError as error:
        raise AudioError(f"{name} is a folder. Give the recordings in it one by one.") from error
    except PermissionError as error:
        raise AudioError(f"{name} cannot be read: permission denied.") from error
    except OSError as error:
        raise AudioError(f"{name} cannot be read: {error.strerror or error}.") from error


@contextmanager
def _open(source: FileSource, name: str) -> Iterator[IO[bytes]]:
    if isinstance(source, str) and is_url(source):
        with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as copy:
            download(source, cast(IO[bytes], copy), max_bytes=MAX_STREAM_BYTES)
            copy.seek(0)
            yield cast(IO[bytes], copy)
    elif isinstance(source, str) and source == "-":
        with _seekable(_standard_input(), name) as file:
            yield file
    elif isinstance(source, str | os.PathLike):
        with _open_path(source, name) as opened, _seekable(opened, name) as file:
            yield file
    elif isinstance(source, bytes | bytearray | memoryview):
        yield io.BytesIO(source)
    elif hasattr(source, "read"):
        with _seekable(source, name) as file:
            yield file
    else:
        raise AudioError(_not_a_source(source))


def _open_path(source: str | os.PathLike[str], name: str) -> IO[bytes]:
    if not os.fspath(source):
        raise AudioError("A recording has no name: its path is empty.")
    path = Path(source)
    scheme, separator, _ = str(source).partition("://")
    if separator and scheme.isalnum() and not path.exists():
        raise AudioError(f"{name}: {scheme} addresses are not read; only http and https are.")
    try:
        return path.open("rb")
    except ValueError as error:  # a null character
        raise AudioError(f"{name!r} is not a path: {error}.") from error


def _standard_input() -> IO[bytes]:
    stdin = getattr(sys.stdin, "buffer", None)
    if stdin is None or stdin.closed:
        raise AudioError("Standard input is not open. Pipe a recording into it, or give a file.")
    if stdin.isatty():
        raise AudioError("Standard input is a terminal. Pipe a recording into it, or give a file.")
    return cast(IO[bytes], stdin)


@contextmanager
def _seekable(file: IO[bytes], name: str) -> Iterator[IO[bytes]]:
    """The file itself, at its start, or a copy of what is left in it."""
    if getattr(file, "closed", False):
        raise AudioError(f"{name} is closed.")
    if isinstance(file, io.TextIOBase):
        raise AudioError(f"{name} is open as text. Open it in binary mode: open(path, 'rb').")
    seekable = getattr(file, "seekable", None)
    if seekable is not None and seekable():
        file.seek(0)
        yield file
        return
    with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as copy:
        for block in _limited(file, name):
            copy.write(block)
        copy.seek(0)
        yield cast(IO[bytes], copy)


def _limited(file: IO[bytes], name: str) -> Iterator[bytes]:
    """What is left in a stream, up to `MAX_STREAM_BYTES`."""
    n_bytes = 0
    while block := file.read(_BLOCK_BYTES):
        if not isinstance(block, bytes):
            raise AudioError(f"{name} gives {type(block).__name__}, not bytes. Open it in binary mode.")
        n_bytes += len(block)
        if n_bytes > MAX_STREAM_BYTES:
            limit = f"{MAX_STREAM_BYTES / 2**30:g} GiB"
            raise AudioError(f"{name} did not end after {limit}. Save the recording to a file first.")
        yield block


def _not_a_source(source: object) -> str:
    if hasattr(source, "__dlpack__") or hasattr(source, "__array__") or isinstance(source, list | tuple):
        return (
            f"A {type(source).__name__} does not say its sample rate. "
            "Give the array with its rate in Hz: Audio(samples, sample_rate=16_000)."
        )
    return (
        f"A {type(source).__name__} is not a recording. Give a path, bytes, a binary file object, "
        "'-' for standard input, an http(s) URL, or Audio(samples, sample_rate)."
    )
