"""Rich's console, but for its way with output that nobody reads any more."""

from __future__ import annotations

from rich.console import Console


class PatientConsole(Console):
    """Rich would end the program, and close stdout with it."""

    def on_broken_pipe(self) -> None:
        """Leave it to whoever prints."""
        raise  # the BrokenPipeError
