"""Live sound over a WebSocket. The texts are those that `CanaryModel.stream` gives for the same samples."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from servers import CLIPS, running
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from mlx_canary import Audio, StreamingOptions, load_audio

RATE = 16_000
PREFIX = "conversation.item.input_audio_transcription"


def pcm(*names: str, pause: float = 1.0) -> np.ndarray:
    """Clips one after the other with pauses, (N,) int16."""
    quiet = np.zeros(round(pause * RATE), np.float32)
    parts = [part for name in names for part in (load_audio(CLIPS / name, sample_rate=RATE).samples, quiet)]
    return np.round(np.clip(np.concatenate(parts), -1, 1) * 32767).astype("<i2")


def offline(demo, samples: np.ndarray, language: str, pause: float = 0.6) -> list[str]:
    """The segments that a stream in this process gives."""
    stream = demo.stream(language=language, options=StreamingOptions(pause=pause))
    stream.add_audio(Audio(samples, RATE))
    return [segment.text for segment in stream.finish().segments]


class Live:
    """A session."""

    def __init__(self, websocket) -> None:
        self._websocket = websocket
        self.events = [self.next()]

    def next(self) -> dict:
        return json.loads(self._websocket.recv(timeout=300))

    def send(self, kind: str, **values) -> None:
        self._websocket.send(json.dumps({"type": kind, **values}))

    def append(self, samples: np.ndarray, n: int = 1600) -> None:
        for start in range(0, len(samples), n):
            block = samples[start : start + n].tobytes()
            self.send("input_audio_buffer.append", audio=base64.b64encode(block).decode())

    def until(self, kind: str) -> dict:
        """All events up to one of a kind, which is returned."""
        while True:
            self.events.append(self.next())
            if self.events[-1]["type"] == kind:
                return self.events[-1]
            assert self.events[-1]["type"] != "error", self.events[-1]

    def until_closed(self) -> None:
        while True:
            self.events.append(self.next())

    def configure(self, language: str, turn_detection: object = None, **transcription: str) -> None:
        transcription = {"model": "demo", "language": language, **transcription}
        settings = {"format": {"type": "audio/pcm", "rate": RATE}, "transcription": transcription}
        settings["turn_detection"] = turn_detection
        self.send("session.update", session={"type": "transcription", "audio": {"input": settings}})
        self.until("session.updated")

    def update(self, **settings) -> dict:
        """Some settings of the sound; all of them, as they are then."""
        self.send("session.update", session={"audio": {"input": settings}})
        return self.until("session.updated")["session"]["audio"]["input"]

    def items(self) -> dict[str, list[dict]]:
        """The text events of each item."""
        found: dict[str, list[dict]] = {}
        for event in self.events:
            if event["type"].startswith(PREFIX):
                found.setdefault(event["item_id"], []).append(event)
        return found


@contextmanager
def session(server, query: str = "?intent=transcription"):
    with connect(f"ws://127.0.0.1:{server.port}/v1/realtime{query}") as websocket:
        yield Live(websocket)


def check_items(live: Live, texts: list[str]) -> None:
    """Each item's deltas are its text, and nothing follows it."""
    told = []
    for events in live.items().values():
        *before, last = events
        assert last["type"] == f"{PREFIX}.completed"
        assert "".join(event["delta"] for event in before if "delta" in event) == last["transcript"]
        told.append(last["transcript"])
    assert told == texts


@pytest.mark.parametrize("n", [100_000, 1_111])
def test_an_item_until_the_client_says_so(server, demo, n):
    """In one piece or in small ones, an item's text is the one that the package gives for its sound."""
    samples = pcm("en_pico_1.flac")
    with session(server) as live:
        live.configure("en")
        live.append(samples, n)
        live.send("input_audio_buffer.commit")
        done = live.until(f"{PREFIX}.completed")
        assert done["transcript"] == " ".join(offline(demo, samples, "en"))
        assert done["end"] == pytest.approx(len(samples) / RATE)
        check_items(live, [done["transcript"]])


def test_items_that_end_at_pauses(server, demo):
    samples = pcm("en_kokoro_1.flac", "en_kokoro_2.flac", "en_pico_1.flac")
    texts = offline(demo, samples, "en", pause=0.5)
    assert len(texts) == 3
    with session(server) as live:
        live.configure("en", {"type": "server_vad", "silence_duration_ms": 500})
        live.append(samples)
        for _ in texts:
            live.until(f"{PREFIX}.completed")
        check_items(live, texts)
        committed = [event for event in live.events if event["type"] == "input_audio_buffer.committed"]
        assert [e["previous_item_id"] for e in committed] == [None, *(e["item_id"] for e in committed[:-1])]
        starts = [event["start"] for event in live.events if event["type"].endswith("completed")]
        assert starts == sorted(starts)


def test_two_sessions_and_a_recording_at_once(server, demo):
    """They share a model, and nothing else."""
    spoken = {"en": pcm("en_kokoro_1.flac", "en_pico_1.flac"), "de": pcm("de_kokoro_1.flac", "de_kokoro_2.flac")}
    found = {}

    def listen(language: str) -> None:
        with session(server) as live:
            live.configure(language)
            live.append(spoken[language], 800)
            live.send("input_audio_buffer.commit")
            found[language] = live.until(f"{PREFIX}.completed")["transcript"]

    threads = [threading.Thread(target=listen, args=(language,)) for language in spoken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {language: " ".join(offline(demo, samples, language)) for language, samples in spoken.items()}


def test_the_older_shape_and_another_language(server, demo):
    """OpenAI's first version of these events has the sound at 24 kHz; the language of the text is ours to choose."""
    audio = load_audio(CLIPS / "en_kokoro_1.flac", sample_rate=24_000)
    samples = np.round(np.clip(audio.samples, -1, 1) * 32767).astype("<i2")
    with session(server) as live:
        wanted = {"model": "whisper-1", "language": "en", "target_language": "de"}
        settings = {"input_audio_format": "pcm16", "input_audio_transcription": wanted, "turn_detection": None}
        live.send("transcription_session.update", session=settings)
        live.until("transcription_session.updated")
        live.append(samples, 4800)
        live.send("input_audio_buffer.commit")
        found = live.until(f"{PREFIX}.completed")["transcript"]
    stream = demo.stream(language="en", target_lang="de")
    stream.add_audio(Audio(samples, 24_000))
    assert found == stream.finish().text


def test_settings_that_are_not_named_stay(server, demo):
    """Each update began with the defaults: after one for the pauses, German at 16 kHz was heard as English at 24."""
    samples = pcm("de_kokoro_1.flac")
    with session(server) as live:
        live.update(format={"type": "audio/pcm", "rate": RATE}, transcription={"language": "de", "pnc": False})
        live.update(turn_detection={"silence_duration_ms": 900})
        live.send("transcription_session.update", session={"turn_detection": None})
        found = live.until("transcription_session.updated")["session"]["audio"]["input"]
        assert (found["format"]["rate"], found["turn_detection"]) == (RATE, None)
        found = live.update(transcription={"pnc": True, "language": None})["transcription"]
        assert (found["pnc"], found["language"]) == (True, None)
        live.update(transcription={"language": "de"})
        live.append(samples)
        live.send("input_audio_buffer.commit")
        assert live.until(f"{PREFIX}.completed")["transcript"] == " ".join(offline(demo, samples, "de"))


def test_settings_that_do_not_change_end_nothing(server, demo):
    """Nor do those that are refused: their rate counted all the same, and all sound after them was an error."""
    samples = pcm("en_pico_1.flac")
    with session(server) as live:
        live.configure("en")
        for third in np.array_split(samples, 3):
            live.append(third)
            live.configure("en")
            wrong = {"format": {"rate": 8_000}, "transcription": {"language": "ja"}}
            live.send("session.update", session={"audio": {"input": wrong}})
            assert "'ja'" in live.until("error")["error"]["message"]
        live.send("input_audio_buffer.commit")
        live.until(f"{PREFIX}.completed")
        check_items(live, [" ".join(offline(demo, samples, "en"))])


def test_sound_that_is_taken_back(server, demo):
    samples = pcm("en_kokoro_2.flac")
    with session(server) as live:
        live.configure("en")
        live.append(pcm("en_pico_1.flac"))
        live.send("input_audio_buffer.clear")
        live.until("input_audio_buffer.cleared")
        live.append(samples)
        live.send("input_audio_buffer.commit")
        assert live.until(f"{PREFIX}.completed")["transcript"] == " ".join(offline(demo, samples, "en"))


@pytest.mark.parametrize("end", ["clear", "commit"])
def test_half_a_sample(server, demo, end):
    """It was the first half of what came next: one byte too many, and all sound after it was noise."""
    samples = pcm("en_kokoro_2.flac")
    with session(server) as live:
        live.configure("en")
        live.send("input_audio_buffer.append", audio=base64.b64encode(bytes(3201)).decode())
        live.send(f"input_audio_buffer.{end}")
        live.append(samples)
        live.send("input_audio_buffer.commit")
        found = [live.until(f"{PREFIX}.completed")["transcript"] for _ in range(2 if end == "commit" else 1)]
        assert found[-1] == " ".join(offline(demo, samples, "en"))


@pytest.mark.parametrize(
    ("event", "code", "message"),
    [
        ('{"type": "response.create"}', "invalid_event", "'session.update'"),
        ("no JSON", "invalid_event", "Invalid JSON"),
        ('{"type": "input_audio_buffer.append", "audio": "?"}', "invalid_audio", "not base64"),
        ('{"type": "input_audio_buffer.append"}', "invalid_event", "required"),
        ('{"type": "input_audio_buffer.commit"}', "input_audio_buffer_commit_empty", "no sound"),
        ('{"type": "session.update", "session": {"tools": []}}', "invalid_event", "not permitted"),
        (
            '{"type": "session.update", "session": {"audio": {"input": {"transcription": {"model": "x"}}}}}',
            "model_not_found",
            "'x' is not served",
        ),
        (
            '{"type": "session.update", "session": {"audio": {"input": {"transcription": {"language": "ja"}}}}}',
            "invalid_option",
            "'ja'",
        ),
        (b"\x00\x01", "invalid_event", "text messages"),
        (r'{"type": "?", "event_id": "\ud800"}', "invalid_event", "Invalid JSON"),
    ],
)
def test_an_event_that_is_wrong_ends_nothing(server, event, code, message):
    with session(server) as live:
        live._websocket.send(event)
        error = live.next()
        assert (error["type"], error["error"]["code"]) == ("error", code)
        assert message in error["error"]["message"]
        live.configure("en")


def test_too_many_events_that_are_wrong(server):
    """One after the other; a right one between them shows that the client means well."""
    with session(server) as live:
        for _ in range(99):
            live.send("nonsense")
        live.send("input_audio_buffer.clear")
        for _ in range(100):
            live.send("nonsense")
        with pytest.raises(ConnectionClosed, match="Too many events were wrong"):
            live.until_closed()
    assert [event["type"] for event in live.events].count("error") == 199


def test_a_session_without_sound_is_no_longer_than_others():
    """One that only said that it was there kept its place for ever."""
    with running("--max-duration", "1") as server, connect(f"ws://127.0.0.1:{server.port}/v1/realtime") as websocket:

        def go_on() -> None:
            for _ in range(400):
                websocket.send('{"type": "input_audio_buffer.clear"}')
                websocket.recv()
                time.sleep(0.05)

        with pytest.raises(ConnectionClosed, match="as long as the server allows"):
            go_on()


def test_a_client_that_does_not_read_is_not_read_either():
    """What it had to be told grew in the server's memory without bound."""

    def send(websocket) -> None:
        with contextlib.suppress(Exception):  # however it learns that nobody is there
            while True:
                websocket.send('{"type": "input_audio_buffer.clear"}')

    with running("--idle-timeout", "2", "--shutdown-timeout", "1") as server:
        websocket = connect(f"ws://127.0.0.1:{server.port}/v1/realtime", max_queue=1)
        sending = threading.Thread(target=send, args=(websocket,), daemon=True)
        sending.start()
        end = time.monotonic() + 300
        while not [line for line in server.lines if '"method": "WEBSOCKET"' in line]:
            assert time.monotonic() < end, "the session goes on"
            time.sleep(0.1)
    sending.join(60)
    assert not sending.is_alive()


def test_a_server_that_is_stopped_says_what_it_heard(demo):
    """And one that hears nothing for long lets go."""
    samples = pcm("en_kokoro_1.flac", pause=0.1)
    with running("--idle-timeout", "6") as server:
        with session(server) as idle, pytest.raises(ConnectionClosed, match="Nothing was heard"):
            idle.next()
        with session(server) as live:
            live.configure("en", {"type": "server_vad"})
            live.append(samples)
            live.until(f"{PREFIX}.draft")
            server.ask()
            assert live.until(f"{PREFIX}.completed")["transcript"] == " ".join(offline(demo, samples, "en"))
            with pytest.raises(ConnectionClosed, match="being stopped"):
                live.next()
        assert server.ended() == 0
