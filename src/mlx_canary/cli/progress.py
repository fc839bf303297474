"""Progress on stderr, and only where somebody sees it."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from mlx_canary.cli.console import PatientConsole
from mlx_canary.cli.terminal import never_stopped_by_stderr, visible

if TYPE_CHECKING:
    from mlx_canary.types import Segment


@contextmanager
def byte_progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that counts bytes; call it with how many are done and how many there are."""
    columns = (TextColumn(title), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    console = PatientConsole(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_interactive) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def loading_progress(model: str, enabled: bool = True) -> Iterator[Callable[[str, int, int], None]]:
    """A line while a model is loaded, and a bar while it is downloaded and converted; notes about that stay to read."""
    title = TextColumn("{task.description}", markup=False)
    line = (SpinnerColumn(), title, TimeElapsedColumn())
    counting = (title, BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    console = PatientConsole(stderr=True)
    visible = enabled and console.is_terminal
    with (
        _notes("mlx_canary.hub", visible),
        Progress(*line, console=console, transient=True, disable=not visible, redirect_stdout=False) as bar,
    ):
        task = bar.add_task(f"Loading {model}", total=None)

        def tell(what: str, done: int, total: int) -> None:
            if bar.tasks[0].description != what:
                bar.columns = counting if total else line
                bar.reset(task, description=what, completed=done, total=total or None)
            bar.update(task, completed=done)

        yield tell


@contextmanager
def _notes(logger: str, enabled: bool) -> Iterator[None]:
    """Let the notes of a logger appear on stderr, not its warnings alone."""
    noisy = logging.getLogger(logger)
    before = noisy.level
    if enabled:
        noisy.setLevel(logging.INFO)
    try:
        yield
    finally:
        noisy.setLevel(before)


class RecordingProgress:
    """What is told while recordings are written down."""

    def __init__(self, bar: Progress, n_recordings: int, duration: float | None, known_until: float) -> None:
        self._bar = bar
        self._duration = duration
        self._known_until = known_until
        self._task = bar.add_task("", total=n_recordings)
        self._heard = 0.0
        self._started = time.monotonic()

    def say(self, what: str) -> None:
        """What is being done."""
        self._started = time.monotonic()
        self._bar.update(self._task, description=what)

    def heard(self, segment: Segment) -> None:
        """Another segment is done."""
        if segment.end <= self._known_until:  # found in notes, which says nothing about the speed
            self.say(f"{_clock(segment.end)} known already")
            return
        self._heard += segment.end - segment.start
        speed = self._heard / max(time.monotonic() - self._started, 1e-3)
        done = f"{_clock(self._heard)} of sound"
        if self._duration is not None and 0 < segment.end <= self._duration:
            n_seconds_left, n_seconds_done = self._duration - segment.end, segment.end - self._known_until
            left = (time.monotonic() - self._started) * n_seconds_left / n_seconds_done
            done = f"{_clock(segment.end)} of {_clock(self._duration)}, about {_clock(left)} left"
        self._bar.update(self._task, description=f"{done}, {speed:.0f}x real time")

    def finished(self) -> None:
        """Another recording is done."""
        self._bar.advance(self._task)

    def note(self, line: str) -> None:
        """A line on stderr that stays."""
        line = visible(line, sys.stderr)
        with never_stopped_by_stderr():
            self._bar.console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)

    def print(self, text: str) -> None:
        """A result on stdout."""
        if not self._bar.disable:
            self._bar.stop()  # or the text would begin behind the bar, where both are on one terminal
        sys.stdout.write(visible(text if text.endswith("\n") else f"{text}\n", sys.stdout))
        sys.stdout.flush()
        self._bar.start()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


@contextmanager
def recording_progress(
    n_recordings: int, enabled: bool, duration: float | None = None, known_until: float = 0.0
) -> Iterator[RecordingProgress]:
    """A line with what is done, how much was heard and how fast; gone at the end.

    Args:
        n_recordings: How many there are.
        enabled: Whether it is wanted.
        duration: Of the only one in seconds, as far as that is known.
        known_until: Seconds of it that an interrupted run has heard.
    """
    description = TextColumn("{task.description}", markup=False)
    columns = (SpinnerColumn(), description, MofNCompleteColumn(), TimeElapsedColumn())
    console = PatientConsole(stderr=True)
    shown = enabled and console.is_interactive
    # rich would otherwise take stdout over, and with it the results.
    with Progress(*columns, console=console, transient=True, disable=not shown, redirect_stdout=False) as bar:
        yield RecordingProgress(bar, n_recordings, duration, known_until)
