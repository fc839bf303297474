"""uvicorn's connections, but for clients that say nothing, or read nothing: it would keep those for ever."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_PATIENCE = 30.0  # seconds for the first line and the headers of a request
_UNREAD = 60.0  # seconds in which nothing of an answer is read: a slow network takes a few kB in far less


class Protocol(H11Protocol):
    """Closes a connection on which the headers of a request do not come in time, or its answer is not taken."""

    _limit: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """The time begins."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """It ends with the last header; or begins with the first byte of another request."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody waits any more."""
        super().connection_lost(exc)
        self._stop_watching()
        self._is_read()

    def pause_writing(self) -> None:
        """More of an answer waits than the network takes."""
        super().pause_writing()
        self._unread = self.loop.call_later(_UNREAD, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads."""
        super().resume_writing()
        self._is_read()

    def _is_read(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _watch(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._stop_watching()
        elif self._limit is None:
            self._limit = self.loop.call_later(_PATIENCE, self.transport.close)

    def _stop_watching(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None
