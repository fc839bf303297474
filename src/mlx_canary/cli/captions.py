"""Text that is still growing, on a terminal or a pipe. What may change is dim and redrawn in place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO, cast

from rich.console import Console
from rich.live import Live
from rich.text import Text

from mlx_canary.cli.console import PatientConsole
from mlx_canary.cli.terminal import visible
from mlx_canary.streaming.session import Update
from mlx_canary.types import Segment


class Captions:
    """Shows one or several texts of the same sound.

    Args:
        console: Where to.
        live: What is redrawn; None where nothing can be.
        titles: Of the texts, such as their languages; no titles for a single one.
    """

    def __init__(self, console: Console, live: Live | None, titles: list[str]) -> None:
        self._console, self._live = console, live
        self._titles = [f"{title}: " for title in titles] if len(titles) > 1 else [""]
        self._n_printed = [0] * len(titles)
        self._n_characters = [0] * len(titles)

    def show(self, updates: list[Update], segments: list[tuple[Segment, ...]]) -> None:
        """The texts as they are now; segments that have ended become lines that stay."""
        for n, ended in enumerate(segments):
            for segment in ended[self._n_printed[n] :]:
                self._line(n, segment.text)
            self._n_printed[n] = len(ended)
        if self._live is not None:
            self._live.update(
                Text("\n").join(self._growing(n, update) for n, update in enumerate(updates)), refresh=True
            )

    def _line(self, n: int, text: str) -> None:
        # Texts of segments are joined by one space.
        self._n_characters[n] += len(text) + (self._n_characters[n] > 0)
        self._console.print(Text.assemble((self._titles[n], "bold"), self._safe(text)), soft_wrap=True)

    def _growing(self, n: int, update: Update) -> Text:
        committed = self._safe(update.committed[self._n_characters[n] :].strip())
        between = " " if committed and update.draft else ""
        return Text.assemble((self._titles[n], "bold"), committed, between, (self._safe(update.draft), "dim italic"))

    def _safe(self, text: str) -> str:
        return visible(text, cast(TextIO, self._console.file))


@contextmanager
def captions(titles: list[str]) -> Iterator[Captions]:
    """Captions on stdout; what was still growing is gone at the end, and the rest stays."""
    console = PatientConsole(highlight=False)
    if not console.is_terminal or console.is_dumb_terminal:
        yield Captions(console, None, titles)
        return
    with Live(console=console, auto_refresh=False, transient=True, vertical_overflow="visible") as live:
        yield Captions(console, live, titles)
