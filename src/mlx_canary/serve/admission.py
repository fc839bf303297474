"""How many may be in work or waiting at once; one too many is told when to try again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from mlx_canary.serve.failures import RequestError, busy

_MEMORY = 0.2  # how much the last one counts in the mean


class Admission:
    """Counts who is in.

    Args:
        what: What is counted, for messages.
        most: How many may be.
        together: How many are served at the same time, to tell how long others wait.
    """

    def __init__(self, what: str, most: int, together: int) -> None:
        self._what, self._most, self._together = what, most, together
        self._mean_seconds = 1.0
        self.n_inside = 0
        self.closed = False

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Be one of them for a while.

        Raises:
            RequestError: There are too many, or the server is stopping.
        """
        if self.closed:
            raise stopping()
        if self.n_inside >= self._most:
            raise busy(
                "queue_full",
                f"There are {self.n_inside} {self._what} already, which is this server's limit. Try again later.",
                self.n_inside * self._mean_seconds / self._together,
            )
        self.n_inside += 1
        started = time.monotonic()
        try:
            yield
        finally:
            self.n_inside -= 1
            # A request's time contains others' that were decoded with it or before it, so this errs towards patience.
            share = (time.monotonic() - started) / max(1, self.n_inside)
            self._mean_seconds += _MEMORY * (share - self._mean_seconds)


def stopping() -> RequestError:
    """The answer of a server that is being stopped."""
    return busy("stopping", "The server is being stopped.", retry_after=10, status=503)
