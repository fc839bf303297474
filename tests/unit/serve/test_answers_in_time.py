"""Requests whose time is over: what their clients are told, without sockets."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import pytest

from mlx_canary.serve import transcriptions
from mlx_canary.serve.failures import RequestError
from mlx_canary.serve.forms import TranscriptionForm
from mlx_canary.serve.transcribing import Deadline, while_wanted
from mlx_canary.serve.transcriptions import EventStream, _events
from mlx_canary.types import Segment

FORM = TranscriptionForm(model="demo", stream=True)


class Client:
    """One that stays, as ASGI sees it."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    async def send(self, message: dict[str, Any]) -> None:
        self.got.append(message)

    @property
    def events(self) -> list[dict[str, Any]]:
        """What follows `data:`."""
        lines = b"".join(message.get("body", b"") for message in self.got).decode().splitlines()
        return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


async def streamed(*texts: str, seconds: float) -> Client:
    """An answer that never gets further than these."""
    client, waiting, deadline = Client(), asyncio.Queue(), Deadline(seconds)
    first, *others = [Segment(text, float(n), n + 1.0, ()) for n, text in enumerate(texts)]
    for segment in others:
        waiting.put_nowait(segment)
    answer = EventStream(_events(first, waiting, FORM, deadline), AsyncExitStack(), deadline, asyncio.Event())
    await asyncio.wait_for(answer({}, client.receive, client.send), 60)
    return client


def test_a_stream_says_that_its_time_is_over(monkeypatch):
    """It looked at the clock after fifteen seconds without an event; before that it was cut off without a word."""
    monkeypatch.setattr(transcriptions, "_KEEP_ALIVE", 300.0)
    client = asyncio.run(streamed("One.", "Two.", seconds=2.0))
    *deltas, last = client.events
    assert [event["delta"] for event in deltas] == ["One.", " Two."]
    assert last["error"]["code"] == "timeout"
    assert "limit of 2 s" in last["error"]["message"]
    assert client.got[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


def test_a_stream_that_always_has_something_to_say_ends_in_time():
    client = asyncio.run(streamed("One.", "Two.", "Three.", seconds=0.0))
    assert [event.get("delta", "?") for event in client.events] == ["One.", "?"]


@pytest.mark.parametrize("n_steps", range(4))
def test_a_client_that_goes_just_when_there_is_an_event(n_steps):
    """Its place and its sound were kept, and the work went on, until its time was over."""

    async def go() -> None:
        gone, events, deadline = asyncio.Event(), asyncio.Queue(), Deadline(300.0)

        async def receive() -> dict[str, Any]:
            await gone.wait()
            return {"type": "http.disconnect"}

        segment = Segment("One.", 0.0, 1.0, ())
        stream = EventStream(_events(segment, events, FORM, deadline), AsyncExitStack(), deadline, asyncio.Event())
        answering = asyncio.ensure_future(stream({}, receive, Client().send))
        await asyncio.sleep(0.1)
        gone.set()
        for _ in range(n_steps):
            await asyncio.sleep(0)
        events.put_nowait(segment)
        await asyncio.wait_for(answering, 20)

    asyncio.run(go())


def test_an_answer_that_takes_too_long():
    """The message named what the upload had left of the limit."""

    async def ask() -> None:
        deadline = Deadline(0.5)
        await asyncio.sleep(0.2)
        await while_wanted(Client(), asyncio.sleep(300), deadline)

    with pytest.raises(RequestError, match=r"longer than this server's limit of 0\.5 s") as late:
        asyncio.run(ask())
    assert late.value.status == 504
