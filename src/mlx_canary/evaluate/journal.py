"""What was already heard in an evaluation: a file that grows with every recording, and is read when it goes on.

One line of JSON for each recording; a line that an interruption cut off is as if it had not been written.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlx_canary.errors import EvaluationError
from mlx_canary.evaluate.manifest import Item
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
        EvaluationError: The file cannot be written.
    """

    def __init__(self, path: Path, conditions: Mapping[str, Any], resume: bool) -> None:
        self.path = path
        same = json.loads(json.dumps(conditions, default=str))
        self._heard = _read(path, same) if resume else {}
        # All anew, because the last line may be cut off; until that is done the old file stays.
        new = path.with_name(f"{path.name}.part")
        _write(new, "w", [same, *(_entry(key, heard) for key, heard in self._heard.items())])
        os.replace(new, path)

    def find(self, item: Item) -> Heard | None:
        """What was heard in exactly this item, if its file did not change since."""
        return self._heard.get(_key(item))

    def note(self, item: Item, heard: Heard) -> None:
        """Write down what was heard.

        Raises:
            EvaluationError: The file cannot be written.
        """
        self._heard[_key(item)] = heard
        _write(self.path, "a", [_entry(_key(item), heard)])

    def delete(self) -> None:
        """Nothing is left to resume."""
        self.path.unlink(missing_ok=True)


def _key(item: Item) -> str:
    """Of everything that is known of an item but its line, and of its file's size and time."""
    try:
        status = item.audio.stat()
        file = [status.st_size, status.st_mtime_ns]
    except OSError:
        file = []
    values = {name: value for name, value in asdict(item).items() if name != "line"}
    return hashlib.sha256(json.dumps([values, file], default=str).encode()).hexdigest()


def _entry(key: str, heard: Heard) -> dict[str, Any]:
    return {"key": key, **asdict(heard)}


def _write(path: Path, mode: str, lines: list[Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open(
            mode, encoding="ascii"
        ) as file:  # JSON escapes the rest, and with it everything that ends a line
            file.writelines(json.dumps(line) + "\n" for line in lines)
    except OSError as error:
        raise EvaluationError(f"{path} cannot be written ({error.strerror or error}).") from error


def _read(path: Path, conditions: Any) -> dict[str, Heard]:
    """What stands in a journal of the same conditions, up to the first line that is cut off."""
    if not path.is_file():
        return {}
    found: dict[str, Heard] = {}
    try:
        first, *rest = path.read_text(encoding="ascii", errors="replace").splitlines()
        if json.loads(first) != conditions:
            return {}
        for line in rest:
            values = json.loads(line)
            key, words = values.pop("key"), tuple(Word(**word) for word in values.pop("words"))
            found[key] = Heard(**values, words=words)
    except (ValueError, KeyError, TypeError, AttributeError):
        pass  # the interruption cut this line off; what stands before it counts
    return found
