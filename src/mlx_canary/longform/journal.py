"""What was finished before a run was interrupted: a file that grows with every window, and is read when it goes on.

One line of JSON for each window, and a last one when the recording is finished.
"""

from __future__ import annotations

import json
import logging
import threading
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlx_canary.journal_file import Entry, JournalFile
from mlx_canary.longform.assembly import Texts
from mlx_canary.longform.windows import Window

_log = logging.getLogger(__name__)

# A window's times, and a checksum of its sound: standard input, an address or an edited file may hold something else.
_Key = tuple[float, float, int]
_FINISHED = "finished"  # the key of a finished recording's last line


class Journal:
    """The finished windows of one recording.

    Args:
        path: The file; its folder is made when the first window is noted.
        conditions: What must be the same for old results to be used: model and options. Compared as JSON.
        resume: Whether to go on with what the file holds; otherwise it starts anew.
    """

    def __init__(self, path: Path, conditions: Mapping[str, Any], resume: bool) -> None:
        self.path = path
        self._file = JournalFile(path, conditions)
        self._windows = _read(self._file) if resume else {}
        if resume and self._file.is_of_others():
            _log.warning("%s is of another model or other options; its recording is begun anew.", path)
        self._started = False
        self._writable = True
        self._lock = threading.Lock()

    @property
    def n_windows(self) -> int:
        """How many windows are noted in the file."""
        return len(self._windows)

    @property
    def end(self) -> float:
        """Up to where windows are noted, in seconds."""
        return max((end for _, end, _ in self._windows), default=0.0)

    def find(self, window: Window) -> Texts | None:
        """What was found in a window with exactly these times and samples."""
        return self._windows.get(_key(window))

    def note(self, window: Window, texts: Texts) -> None:
        """Write a finished window down. Where that is not possible the run goes on, with a warning."""
        if self._append(_entry(_key(window), texts)):
            self._windows[_key(window)] = texts

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write down that the whole recording is done, and what came of it, for `read_finished`."""
        self._append({_FINISHED: result})

    def close(self) -> None:
        """Write nothing more, whatever is still noted; any thread. The file can be removed then, and stays so."""
        with self._lock:
            self._writable = False

    def delete(self) -> None:
        """The run is done; nothing is left to resume. A file that cannot be deleted stays, with a warning."""
        self._file.delete()

    def _append(self, line: dict[str, Any]) -> bool:
        """Whether the line is written."""
        with self._lock:
            if not self._writable:
                return False
            try:
                if not self._started:
                    # All anew, because the last line of what was resumed may be cut off.
                    self._file.start(_entry(key, texts) for key, texts in self._windows.items())
                    self._started = True
                self._file.append(line)
            except OSError as error:
                self._writable = False
                reason = error.strerror or error
                _log.warning(
                    "%s cannot be written (%s). If this run is interrupted, the next one cannot go on where it "
                    "stopped.",
                    self.path,
                    reason,
                )
            return self._writable


def read_finished(path: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The conditions and the result of a recording that a run finished; None where it did not."""
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
        conditions, result = json.loads(lines[0]), json.loads(lines[-1])[_FINISHED]
    except (OSError, ValueError, RecursionError, IndexError, KeyError, TypeError):
        return None
    return (conditions, result) if isinstance(conditions, dict) and isinstance(result, dict) else None


def _key(window: Window) -> _Key:
    return window.start, window.end, zlib.crc32(window.samples.tobytes())


def _entry(key: _Key, texts: Texts) -> dict[str, Any]:
    return {"window": key, "texts": [[asdict(segment) for segment in text] for text in texts]}


def _read(file: JournalFile) -> dict[_Key, Texts]:
    """The windows in a journal that was written under the same conditions."""
    try:
        return {entry.window: entry.texts for entry in file.read(_Entry)}
    except OSError as error:
        _log.warning("%s cannot be read (%s); the run starts anew.", file.path, error.strerror or error)
        return {}


class _Entry(Entry):
    window: _Key
    texts: Texts
