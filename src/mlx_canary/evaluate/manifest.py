"""What is to be evaluated: a manifest or a folder in, items and problems out.

A manifest has a JSON object on each line, as NeMo's do; keys that are not named here are left alone. A folder has a
`.txt` beside each recording. A line that makes no sense is a problem, and the others count.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_canary.audio.containers import SUFFIXES
from mlx_canary.errors import EvaluationError
from mlx_canary.types import Word


@dataclass(frozen=True, slots=True)
class Item:
    """A recording, or a part of one, with what is known about it.

    Attributes:
        name: As the manifest calls it.
        line: Where it stands in the manifest, or its number in the folder, from 1.
        audio: The file.
        text: What is said in it, or its translation.
        source_lang: The language spoken; None if not said.
        target_lang: The language of the text; None for the same.
        offset: Seconds from the start of the file.
        duration: Seconds from there, where there is an offset; None to the end.
        words: Of the text, with times from the offset; empty if not known.
    """

    name: str
    line: int
    audio: Path
    text: str
    source_lang: str | None = None
    target_lang: str | None = None
    offset: float | None = None
    duration: float | None = None
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that could not be scored.

    Attributes:
        name: The item's name, or what stands for it.
        line: As for `Item`.
        error: What is wrong.
    """

    name: str
    line: int
    error: str

    def __str__(self) -> str:
        """One sentence, with the name once."""
        return self.error if self.name in self.error else f"{self.name}: {self.error}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """Items, and lines that are none."""

    items: tuple[Item, ...]
    problems: tuple[Problem, ...]


def read_manifest(path: Path) -> Manifest:
    """Read a JSONL manifest, or look through a folder and those in it.

    Raises:
        EvaluationError: It cannot be read, or holds nothing at all.
    """
    try:
        found = list(_in_folder(path) if path.is_dir() else _in_lines(path))
    except OSError as error:
        raise EvaluationError(f"{path} cannot be read as a manifest: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise EvaluationError(f"{path} cannot be read as a manifest: it is no text in UTF-8. {_EXPECTED}") from error
    if not found:
        raise EvaluationError(f"{path} has nothing to evaluate. {_EXPECTED}")
    items = tuple(each for each in found if isinstance(each, Item))
    return Manifest(items, tuple(each for each in found if isinstance(each, Problem)))


def check_items(manifest: Manifest, path: Path) -> None:
    """Notice before the long work that there is none.

    Raises:
        EvaluationError: No line makes sense, as where it is another kind of file.
    """
    if not manifest.items:
        raise EvaluationError(f"{path} has nothing to evaluate ({manifest.problems[0]}). {_EXPECTED}")


_EXPECTED = (
    "Expected: lines of JSON with audio_filepath and text, or a folder of recordings with .txt files beside them."
)


def _in_lines(path: Path) -> Iterator[Item | Problem]:
    # JSON may hold what str.splitlines() takes for the end of a line, such as U+2028.
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield _item(json.loads(line), number, path.parent)
        except json.JSONDecodeError as error:
            yield Problem(f"line {number}", number, f"not JSON: {error.msg} at column {error.colno}")
        except ValueError as error:
            yield Problem(f"line {number}", number, str(error))
        except RecursionError:
            yield Problem(f"line {number}", number, "its JSON is nested too deeply")


def _item(entry: Any, line: int, folder: Path) -> Item:
    """An item of a line's value.

    Raises:
        ValueError: Says what is wrong with it.
    """
    if not isinstance(entry, dict):
        raise ValueError("not a JSON object")
    name, text = _string(entry, "audio_filepath"), _string(entry, "text")
    if not name or text is None:
        raise ValueError(f"lacks {'text' if name else 'audio_filepath'}")
    offset = _number(entry, "offset")
    return Item(
        name=name,
        line=line,
        audio=folder / os.path.expanduser(name),
        text=text,
        source_lang=_string(entry, "source_lang") or _string(entry, "lang"),
        target_lang=_string(entry, "target_lang"),
        offset=offset,
        duration=None if offset is None else _number(entry, "duration"),
        words=tuple(_words(entry.get("words") or ())),
    )


def _words(values: Any) -> Iterator[Word]:
    if not isinstance(values, list | tuple):
        raise ValueError("words is not a list")
    for value in values:
        if not isinstance(value, dict):
            raise ValueError("words has something that is not an object")
        text = _string(value, "text") or _string(value, "word")
        start, end = _number(value, "start"), _number(value, "end")
        if text is None or start is None or end is None:
            raise ValueError("a word lacks text (or word), start or end")
        yield Word(text, start, end)


def _string(entry: Mapping[str, Any], key: str) -> str | None:
    value = entry.get(key)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{key}={value!r} is not a text")
    return value


def _number(entry: Mapping[str, Any], key: str) -> float | None:
    value = entry.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= sys.float_info.max:
        raise ValueError(f"{key}={value!r:.100} is not a number of seconds")
    return float(value)


def _in_folder(folder: Path) -> Iterator[Item | Problem]:
    """Each recording with its text; recordings without a text and texts without a recording are problems."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not _is_hidden(path.relative_to(folder)))
    texts = {path.with_suffix(""): path for path in files if path.suffix.lower() == ".txt"}
    sounds = [path for path in files if path.suffix.lower() in SUFFIXES]
    for number, audio in enumerate(sounds, 1):
        name, text = str(audio.relative_to(folder)), texts.get(audio.with_suffix(""))
        if text is None:
            yield Problem(name, number, f"has no {audio.stem}.txt beside it")
            continue
        try:
            yield Item(name, number, audio, " ".join(text.read_text(encoding="utf-8-sig").split()))
        except OSError as error:
            yield Problem(name, number, f"{text.name} cannot be read: {error.strerror or error}")
        except UnicodeDecodeError:
            yield Problem(name, number, f"{text.name} is no text in UTF-8")
    lonely = sorted(texts.keys() - {audio.with_suffix("") for audio in sounds})
    for number, stem in enumerate(lonely, len(sounds) + 1):
        yield Problem(str(texts[stem].relative_to(folder)), number, "has no recording beside it")


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
