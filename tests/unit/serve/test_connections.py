"""Connections on which nothing is said or read, without an application behind them."""

from __future__ import annotations

import asyncio
import socket

import pytest
import uvicorn
from uvicorn.server import ServerState

from mlx_canary.serve import connections
from mlx_canary.serve.connections import Protocol

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def answer(scope, receive, send):
    await asyncio.sleep(0.3)  # longer than a client may take for its headers
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def said(*parts: bytes) -> bytes:
    """All that a server says to a client that sends these, one after the other has been answered."""
    config = uvicorn.Config(answer, http=Protocol, log_config=None, timeout_keep_alive=60)
    config.load()
    state, loop = ServerState(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Protocol(config, state, {}), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    found = b""
    for number, part in enumerate(parts):
        if number:
            found += await reader.readuntil(b"\r\n\r\n")
        writer.write(part)
    found += await reader.read()
    writer.close()
    server.close()
    return found


@pytest.mark.parametrize(
    ("parts", "n_answers"), [([b""], 0), ([REQUEST[:-2]], 0), ([REQUEST, REQUEST[:9]], 1), ([REQUEST] * 2 + [b"G"], 2)]
)
def test_a_client_that_sends_no_whole_request_is_let_go(monkeypatch, parts, n_answers):
    """Some five hundred of them, and the server answered nobody any more. Whoever waits for an answer may wait."""
    monkeypatch.setattr(connections, "_PATIENCE", 0.1)
    assert asyncio.run(said(*parts)).count(b"204 No Content") == n_answers


async def answer_at_length(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(64):
        await send({"type": "http.response.body", "body": bytes(2**20), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def test_a_client_that_reads_nothing_is_let_go(monkeypatch):
    """The page is for everybody: some five hundred that asked for it and read nothing kept all others out."""
    monkeypatch.setattr(connections, "_UNREAD", 0.1)

    async def main() -> None:
        config = uvicorn.Config(answer_at_length, http=Protocol, log_config=None)
        config.load()
        state, loop = ServerState(), asyncio.get_running_loop()
        server = await loop.create_server(lambda: Protocol(config, state, {}), "127.0.0.1", 0)
        with socket.create_connection(server.sockets[0].getsockname()) as client:
            client.sendall(REQUEST)
            while not state.tasks:
                await asyncio.sleep(0.01)
            await asyncio.wait(state.tasks, timeout=60)
            assert not state.connections
        server.close()

    asyncio.run(main())
