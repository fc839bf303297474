"""What was finished before a run was interrupted: a file that grows with every window, and is read when it goes on.

One line of JSON for each window; a line that was cut off by the interruption is as if it had not been written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlx_canary.longform.assembly import Texts
from mlx_canary.types import Segment, Word


class Journal:
    """The finished windows of one recording.

    Args:
        path: The file; its folder is made when the first window is noted.
        conditions: What must be the same for old results to be used: recording, model, options. Compared as JSON.
        resume: Whether to go on with what the file holds; otherwise it starts anew.
    """

    def __init__(self, path: Path, conditions: Mapping[str, Any], resume: bool) -> None:
        self.path = path
        self._conditions = json.loads(json.dumps(conditions, default=str))
        self._windows = _read(path, self._conditions) if resume else {}
        self._started = False

    @property
    def n_windows(self) -> int:
        """How many windows are noted."""
        return len(self._windows)

    def find(self, start: float, end: float) -> Texts | None:
        """What was found in a window with exactly these times, in seconds."""
        return self._windows.get((start, end))

    def note(self, start: float, end: float, texts: Texts) -> None:
        """Write a finished window down."""
        self._windows[start, end] = texts
        new = [_entry(start, end, texts)]
        if not self._started:
            # Written anew, because the last line of what was resumed may be cut off.
            new = [self._conditions, *(_entry(*times, found) for times, found in self._windows.items())]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a" if self._started else "w", encoding="utf-8") as file:
            file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in new)
        self._started = True

    def delete(self) -> None:
        """The recording is done; nothing is left to resume."""
        self.path.unlink(missing_ok=True)


def _entry(start: float, end: float, texts: Texts) -> dict[str, Any]:
    return {"start": start, "end": end, "texts": [[asdict(segment) for segment in text] for text in texts]}


def _read(path: Path, conditions: Any) -> dict[tuple[float, float], Texts]:
    """The windows in a journal that was written under the same conditions; none if it was not, or is damaged."""
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    windows: dict[tuple[float, float], Texts] = {}
    try:
        if not lines or json.loads(lines[0]) != conditions:
            return {}
        for line in lines[1:]:
            entry = json.loads(line)
            windows[entry["start"], entry["end"]] = tuple(
                tuple(_segment(segment) for segment in text) for text in entry["texts"]
            )
    except (ValueError, KeyError, TypeError):
        pass  # the interruption cut this line off; what stands before it counts
    return windows


def _segment(values: dict[str, Any]) -> Segment:
    words = tuple(Word(**word) for word in values.pop("words"))
    flags = tuple(values.pop("flags"))
    return Segment(**values, words=words, flags=flags)
