"""Names of outputs: a template and what is known of a recording in, a relative path out.

The path never leaves the folder that it will be put into. Touches no files.
"""

from __future__ import annotations

import os
import re
import string
from collections.abc import Mapping
from pathlib import Path, PurePath
from urllib.parse import unquote, urlsplit

from mlx_canary.writers.errors import OutputError

PLACEHOLDERS = {
    "stem": "the recording's file name without its extension",
    "name": "the recording's file name",
    "parent": "the name of the folder that the recording is in",
    "n": "the number of the recording in this run, from 1",
    "lang": "the language of the text; en-de where the file holds both",
    "format": "the name of the format",
    "ext": "the format's file name extension",
    "date": "the day of the run, as 2026-01-31",
}
"""What a template may contain, between braces; {{ and }} stand for the braces themselves."""

_LONGEST_NAME = 255
_UNSAFE = re.compile(r"[/\\\x00-\x1f\x7f]")
_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")


def describe_recording(source: str | Path) -> dict[str, str]:
    """The placeholders that the recording's own name fills.

    Args:
        source: A path, a URL, or "-" for standard input.
    """
    text = str(source)
    path = PurePath(unquote(urlsplit(text).path)) if _URL.match(text) else PurePath(os.path.abspath(text))
    name = "stdin" if text == "-" else path.name or "recording"
    return {"stem": PurePath(name).stem, "name": name, "parent": path.parent.name}


def fill_template(template: str, values: Mapping[str, str]) -> Path:
    """The relative path that a template gives.

    Args:
        template: Text with PLACEHOLDERS; `/` makes folders.
        values: What to put in; characters that a file name cannot have become `_`.

    Raises:
        OutputError: A placeholder is not known, or the path leaves the folder or is no file name.
    """
    filled = "".join(
        literal + ("" if field is None else _value(template, field, spec, conversion, values))
        for literal, field, spec, conversion in _parse(template)
    )
    return _checked(template, filled)


def _parse(template: str) -> list[tuple[str, str | None, str | None, str | None]]:
    try:
        return list(string.Formatter().parse(template))
    except ValueError as error:
        raise OutputError(
            f"The template {template!r} has a single brace ({error}). Write {{{{ or }}}} for one."
        ) from error


def _value(template: str, field: str, spec: str | None, conversion: str | None, values: Mapping[str, str]) -> str:
    if field not in PLACEHOLDERS or spec or conversion:
        whole = field + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
        known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        raise OutputError(f"The template {template!r} has the unknown placeholder {{{whole}}}. Known are: {known}.")
    return _UNSAFE.sub("_", values[field])


def _checked(template: str, filled: str) -> Path:
    path = PurePath(filled)
    if path.is_absolute() or path.drive or ".." in path.parts:
        raise OutputError(f"The template {template!r} gives {filled!r}, which is outside the output folder.")
    if not path.name or filled.endswith("/") or any(character < " " for character in filled):
        raise OutputError(f"The template {template!r} gives {filled!r}, which is no file name.")
    too_long = [part for part in path.parts if len(os.fsencode(part)) > _LONGEST_NAME]
    if too_long:
        raise OutputError(
            f"The file name {too_long[0][:40]!r}... is longer than {_LONGEST_NAME} bytes. Shorten the template."
        )
    return Path(path)
