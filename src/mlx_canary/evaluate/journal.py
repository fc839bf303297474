"""What was already heard in an evaluation: a file that grows with every recording, and is read when it goes on.

One line of JSON for each recording.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlx_canary.errors import EvaluationError
from mlx_canary.evaluate.manifest import Item
from mlx_canary.journal_file import Entry, JournalFile
from mlx_canary.types import Word


@dataclass(frozen=True, slots=True)
class Heard:
    """What a model made of an item.

    Attributes:
        text: The transcript, or the translation.
        source_lang: The language spoken, as the model was told or found out.
        target_lang: The language of the text.
        duration: Seconds of sound.
        seconds: How long it took.
        words: With times, where they were asked for.
    """

    text: str
    source_lang: str
    target_lang: str
    duration: float
    seconds: float
    words: tuple[Word, ...] = ()


class Journal:
    """The recordings that are done.

    Args:
        path: The file.
        conditions: What must be the same for old results to be used: model and options. Compared as JSON.
        resume: Whether to go on with what the file holds; otherwise it starts anew.

    Raises:
        EvaluationError: The file cannot be written, or is to be read and cannot.
    """

    def __init__(self, path: Path, conditions: Mapping[str, Any], resume: bool) -> None:
        self._file = JournalFile(path, conditions)
        try:
            self._heard = {entry.key: entry.heard for entry in self._file.read(_Entry)} if resume else {}
        except OSError as error:
            raise EvaluationError(
                f"{path} cannot be read ({error.strerror or error}). It holds what an earlier run heard; "
                "make it readable, or start anew without resuming."
            ) from error
        with _writing(path):
            # All anew, because the last line may be cut off.
            self._file.start(_entry(key, heard) for key, heard in self._heard.items())

    def find(self, item: Item) -> Heard | None:
        """What was heard in exactly this item, if its file did not change since."""
        return self._heard.get(_key(item))

    def note(self, item: Item, heard: Heard) -> None:
        """Write down what was heard.

        Raises:
            EvaluationError: The file cannot be written.
        """
        self._heard[_key(item)] = heard
        with _writing(self._file.path):
            self._file.append(_entry(_key(item), heard))

    def delete(self) -> None:
        """Nothing is left to resume. A file that cannot be deleted stays, with a warning."""
        self._file.delete()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EvaluationError(f"{path} cannot be written ({error.strerror or error}).") from error


def _key(item: Item) -> str:
    """Of everything that is known of an item but its line, and of its file's size and time."""
    try:
        status = item.audio.stat()
        file = [status.st_size, status.st_mtime_ns]
    except (OSError, ValueError):  # it is not there, or its name is none
        file = []
    values = {name: value for name, value in asdict(item).items() if name != "line"}
    return hashlib.sha256(json.dumps([values, file], default=str).encode()).hexdigest()


def _entry(key: str, heard: Heard) -> dict[str, Any]:
    return {"key": key, "heard": asdict(heard)}


class _Entry(Entry):
    key: str
    heard: Heard
