"""Text on its way to a terminal. Names and texts may come from anybody, and terminals obey control characters."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import click

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and line feed


def visible(text: str, stream: TextIO) -> str:
    """What a stream may get: a terminal no control characters, everything else the text as it is."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text) if stream.isatty() else text


def say(text: str) -> None:
    """A line on stdout."""
    click.echo(visible(text, sys.stdout))


def wants_colour() -> bool | None:
    """False where the user or the terminal wants none (no-color.org), None where the terminal decides."""
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


def tell(text: str) -> None:
    """A line on stderr."""
    with never_stopped_by_stderr():
        click.echo(visible(text, sys.stderr), err=True)


@contextmanager
def never_stopped_by_stderr() -> Iterator[None]:
    """The work goes on where what is told about it cannot be written: nobody reads it, or a disk is full."""
    try:
        yield
    except OSError:
        _abandon(sys.stderr)


class _Closed(io.TextIOBase):
    """A stream that this process was started without."""

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, "it is closed")


def replace_missing_streams() -> None:
    """Python has None for streams that were closed before it started, as by `>&-`."""
    if sys.stdout is None:
        sys.stdout = _Closed()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - until the end of the process


def never_refuse_text() -> None:
    """Write what stdout's encoding lacks as an escape, where Python would stop in the middle of the work."""
    # Python's own ways, the second one in the locale C; any other is somebody's choice.
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors in ("strict", "surrogateescape"):
        sys.stdout.reconfigure(errors="backslashreplace")


def write_utf8() -> None:
    """Have stdout get UTF-8 from now on, whatever the locale: for formats that are nothing else."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # The escape for file names that are no Unicode is JSON's, too.
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")


def abandon_stdout() -> None:
    """What is still to be written cannot be; otherwise Python would try, and complain, once more at its end."""
    if not isinstance(sys.stdout, _Closed):
        _abandon(sys.stdout)


def _abandon(stream: TextIO) -> None:
    """Let what the stream still holds, and gets from now on, go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
