"""How much of a body is read, and for how long; without a server around it."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import pytest

from mlx_canary.serve.failures import RequestError, refuse
from mlx_canary.serve.limits import BodyLimits
from mlx_canary.serve.settings import Settings


async def read_all(scope, receive, send):
    """An application that reads its body, and says how long it is."""
    n_bytes, more = 0, True
    try:
        while more:
            message = await receive()
            n_bytes += len(message["body"])
            more = message["more_body"]
    except RequestError as error:
        await refuse(error, scope, receive, send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(n_bytes).encode()})


def ask(
    parts: list[bytes], *, length: int | None = None, wait: float = 0.0, timeout: float = 60.0
) -> tuple[int, bytes, int]:
    """Status and body of the answer, and how many parts were read."""
    waiting, sent = list(parts), []

    async def receive():
        await asyncio.sleep(wait)
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    async def send(message):
        sent.append(message)

    name, value = (b"transfer-encoding", b"chunked") if length is None else (b"content-length", str(length).encode())
    scope = {"type": "http", "headers": [(name, value)]}
    app = BodyLimits(read_all, Settings(max_upload_bytes=100, request_timeout=timeout))
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], sent[1]["body"], len(parts) - len(waiting)


def test_what_is_within_the_limits():
    assert ask([b"a" * 50, b"b" * 50]) == (200, b"100", 2)


@pytest.mark.parametrize("length", [None, 150])
def test_too_much(length):
    """Said or not. The rest is read before the answer is sent, for clients listen only when they have sent all."""
    status, body, n_read = ask([b"a" * 50] * 3, length=length)
    assert (status, json.loads(body)["error"]["code"]) == (413, "upload_too_large")
    assert n_read == 3


def test_too_slow():
    status, body, _ = ask([b"a", b"b"], wait=0.2, timeout=0.1)
    assert (status, json.loads(body)["error"]["code"]) == (408, "upload_timeout")


def test_after_the_upload_there_is_no_hurry(monkeypatch):
    """While a recording is transcribed somebody waits for the client to hang up, for as long as that takes."""
    monkeypatch.setattr("mlx_canary.serve.limits.time", SimpleNamespace(monotonic=lambda: now))
    messages = [{"type": "http.request", "body": b"a"}, {"type": "http.disconnect"}]
    heard = []

    async def receive():
        await asyncio.sleep(0)
        return messages.pop(0)

    async def transcribe(scope, receive, send):
        nonlocal now
        heard.append(await receive())
        now = 3600.0
        heard.append(await receive())

    now = 0.0
    app = BodyLimits(transcribe, Settings(request_timeout=60.0))
    asyncio.run(app({"type": "http", "headers": []}, receive, None))
    assert heard[1] == {"type": "http.disconnect"}
