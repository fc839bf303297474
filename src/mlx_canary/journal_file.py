"""What a run noted before it was interrupted: a file of lines in, the same file with one more line out.

The first line is the conditions, each other one is JSON for something that is done; a line that an interruption cut off
is as if it had not been written. JSON escapes all but ASCII, and with it everything that ends a line. Knows nothing
about what is noted.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

_log = logging.getLogger(__name__)


class Entry(BaseModel):
    """A line: what is read has the types of what was written, whoever wrote it."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


Form = TypeVar("Form", bound=Entry)


class JournalFile:
    """Lines that hold under some conditions. `start` makes the file, `append` makes it grow.

    Args:
        path: The file.
        conditions: What must be the same for old lines to be used. Compared as JSON.
    """

    def __init__(self, path: Path, conditions: Mapping[str, Any]) -> None:
        self.path = path
        self._conditions = json.loads(json.dumps(conditions, default=str))

    def read(self, form: type[Form]) -> list[Form]:
        """The entries before the first line that is another form, was cut off or edited; none of other conditions.

        Raises:
            OSError: There is something that cannot be read.
        """
        entries: list[Form] = []
        try:
            conditions, *lines = self.path.read_text(encoding="ascii", errors="replace").splitlines()
            if json.loads(conditions) == self._conditions:
                for line in lines:
                    entries.append(form.model_validate_json(line))
        except (FileNotFoundError, ValueError, RecursionError):  # an empty file is a ValueError too
            pass
        return entries

    def is_of_others(self) -> bool:
        """Whether what is there was noted under other conditions."""
        try:
            with self.path.open(encoding="ascii", errors="replace") as file:
                return bool(json.loads(file.readline()) != self._conditions)
        except (OSError, ValueError, RecursionError):
            return False

    def start(self, entries: Iterable[Any]) -> None:
        """Write all anew, because the last line may be cut off; until that is done the old file stays.

        Raises:
            OSError: It cannot be written; then the old file is as it was.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_name(f"{self.path.name}.part")
        try:
            _write(new, "w", [self._conditions, *entries])
            os.replace(new, self.path)
        except BaseException:
            with suppress(OSError):
                new.unlink()
            raise

    def append(self, entry: Any) -> None:
        """Another line, after `start`.

        Raises:
            OSError: It cannot be written.
        """
        _write(self.path, "a", [entry])

    def delete(self) -> None:
        """The run is done; nothing is left to resume. A file that cannot be deleted stays, with a warning."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            if os.path.lexists(self.path):  # else it could never be written
                reason = error.strerror or error
                _log.warning("%s is not needed any more, but cannot be deleted (%s).", self.path, reason)


def _write(path: Path, mode: str, lines: Iterable[Any]) -> None:
    with path.open(mode, encoding="ascii") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
