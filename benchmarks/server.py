"""What the server gains from decoding requests together, and whether it bears hours of all kinds of requests.

    python benchmarks/server.py throughput --model demo --json server.json
    python benchmarks/server.py soak --model demo --minutes 30 --rate 0.3 --json soak.json

Starts `mlx-canary serve` in a process of its own and sends to that alone, over loopback. "throughput" sends the same
clips with 1, 8 and 32 clients at once, each waiting for its answer before it sends again, and prints seconds of sound
for each second, and how long an answer takes (median, 95 in 100). One client is one request after the other: what more
clients gain over it is the gain from batches. On a machine that others use too the figures are worth nothing.

"soak" sends so many requests a second, in a mixture: good ones of several kinds, streams of events, live sessions,
jobs, broken ones, and ones that are given up in the middle. Every text (but of halves of recordings) is compared with
what the package gives without a server, every broken request must get its own 4xx, and the server's memory is noted
every ten seconds. It stops by itself, after --minutes or --most requests, and then asks the server to end; the exit
code is 1 if anything was not as it should be.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from websockets.asyncio.client import connect

from mlx_canary import Audio, CanaryModel, load_audio
from mlx_canary.evaluate.machine import this_machine

CLIPS = Path(__file__).resolve().parents[1] / "src/mlx_canary/demo/clips"
NAMES = ("en_kokoro_1", "en_kokoro_2", "en_pico_1", "de_kokoro_1", "de_kokoro_2", "de_pico_1")
TRANSCRIBE = "/v1/audio/transcriptions"
RATE = 16_000
MOST_AT_ONCE = 16
_NOTE_EVERY = 10.0  # seconds
_SLOW: dict[str, Any] = {"open_timeout": 3600, "ping_timeout": None}
_PATIENCE = 3600  # seconds: what a busy machine does late is not lost


@dataclass(frozen=True)
class Clip:
    """A recording with what the package says of it."""

    name: str
    language: str
    data: bytes
    duration: float
    text: str
    timed_text: str
    live_text: str
    pcm: bytes


def clips(model: CanaryModel) -> list[Clip]:
    """The short recordings that come with the package."""
    found = []
    for name in NAMES:
        path, language = CLIPS / f"{name}.flac", name[:2]
        audio = load_audio(path)
        samples = np.round(np.clip(audio.samples, -1, 1) * 32767).astype("<i2")
        stream = model.stream(language=language)
        stream.add_audio(Audio(samples, RATE))  # type: ignore[arg-type]  # any usual type of samples is taken
        text = model.transcribe(path, language=language).text
        timed = model.transcribe(path, language=language, timestamps="word").text
        texts = (text, timed, stream.finish().text)
        found.append(Clip(name, language, path.read_bytes(), audio.duration, *texts, samples.tobytes()))
    return found


class Server:
    """A server in a process of its own; it is ended with this one."""

    def __init__(self, model: str, *arguments: str) -> None:
        command = [sys.executable, "-m", "mlx_canary", "serve", "-m", model, "--port", "0", *arguments]
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  # as long as the server
        self.process = subprocess.Popen(command, stderr=self._log)
        self.url = self._address()

    def _address(self) -> str:
        for _ in range(600):
            if found := re.search(r"Serving .* at (http://127\.0\.0\.1:\d+)", self.log()):
                return found[1]
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise SystemExit(f"The server did not start:\n{self.log()}")

    def log(self) -> str:
        """What it wrote so far."""
        self._log.seek(0)
        return self._log.read()

    def end(self) -> int:
        """Ask it to end; its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(600)


def form(clip: Clip, **fields: str) -> dict[str, Any]:
    """What httpx sends as a form."""
    data = {"model": "whisper-1", "language": clip.language, **fields}
    return {"files": {"file": (clip.name, clip.data)}, "data": data}


async def throughput(server: Server, known: list[Clip], n_requests: int) -> list[dict[str, float]]:
    """The same requests with different numbers of clients."""
    rows = []
    async with httpx.AsyncClient(base_url=server.url, timeout=600, limits=httpx.Limits(max_connections=64)) as client:
        await client.post(TRANSCRIBE, **form(known[0]))  # what is computed at first use is not counted
        for n_clients in (1, 8, 32):
            rows.append(await _round(client, known, n_clients, n_requests))
    return rows


async def _round(client: httpx.AsyncClient, known: list[Clip], n_clients: int, n_requests: int) -> dict[str, float]:
    waiting = [known[n % len(known)] for n in range(n_requests)]
    seconds_of_sound = sum(clip.duration for clip in waiting)
    times: list[float] = []

    async def ask() -> None:
        while waiting:
            clip, started = waiting.pop(), time.perf_counter()
            answer = await client.post(TRANSCRIBE, **form(clip))
            assert answer.json()["text"] == clip.text, (clip.name, answer.text)
            times.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(n_clients)))
    wall = time.perf_counter() - started
    return {
        "clients": n_clients,
        "requests": n_requests,
        "requests_per_second": n_requests / wall,
        "times_real_time": seconds_of_sound / wall,
        "median_seconds": statistics.median(times),
        "p95_seconds": float(np.quantile(times, 0.95)),
    }


@dataclass
class Soak:
    """What a soak found.

    Attributes:
        kinds: How many requests of each kind were as they should be.
        problems: What was not, a sentence each.
        memory: Seconds from the beginning, and MB of the server then.
    """

    kinds: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)
    lost: int = 0


class Requests:
    """All kinds of requests to one server."""

    def __init__(self, client: httpx.AsyncClient, url: str, known: list[Clip], soak: Soak) -> None:
        self._client, self._url, self._known, self._soak = client, url, known, soak
        self._random = random.Random(0)
        self.kinds = {
            self.plain: 8,
            self.events: 3,
            self.words: 2,
            self.live: 2,
            self.job: 1,
            self.no_recording: 1,
            self.half_a_recording: 1,
            self.no_form: 1,
            self.wrong_field: 1,
            self.wrong_language: 1,
            self.wrong_model: 1,
            self.nothing: 1,
            self.given_up: 2,
            self.live_given_up: 1,
        }

    async def one(self) -> None:
        """One of a kind drawn at random; what goes wrong is noted."""
        (kind,) = self._random.choices(list(self.kinds), list(self.kinds.values()))
        try:
            await kind(self._random.choice(self._known))
            self._soak.kinds[kind.__name__] = self._soak.kinds.get(kind.__name__, 0) + 1
        except Exception as error:  # every failure is a finding, and the soak goes on
            self._soak.problems.append(f"{kind.__name__}: {type(error).__name__}: {error}")

    async def plain(self, clip: Clip) -> None:
        answer = await self._client.post(TRANSCRIBE, **form(clip))
        _same(clip, answer.json().get("text"))

    async def events(self, clip: Clip) -> None:
        answer = await self._client.post(TRANSCRIBE, **form(clip, stream="true"))
        events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
        _same(clip, events[-1].get("text"))
        _same(clip, "".join(event["delta"] for event in events[:-1]))

    async def words(self, clip: Clip) -> None:
        extra = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
        found = (await self._client.post(TRANSCRIBE, **form(clip, **extra))).json()
        assert " ".join(word["word"] for word in found["words"]) == found["text"] == clip.timed_text, (clip.name, found)

    async def live(self, clip: Clip) -> None:
        async with connect(f"{self._url.replace('http', 'ws')}/v1/realtime", compression=None, **_SLOW) as socket:
            await self._speak(socket, clip)
            await socket.send('{"type": "input_audio_buffer.commit"}')
            while (event := json.loads(await socket.recv()))["type"].rpartition(".")[2] != "completed":
                assert event["type"] != "error", event
            assert event["transcript"] == clip.live_text, (clip.name, event)

    async def _speak(self, socket: Any, clip: Clip) -> None:
        settings = {"format": {"rate": RATE}, "transcription": {"language": clip.language}, "turn_detection": None}
        await socket.send(json.dumps({"type": "session.update", "session": {"audio": {"input": settings}}}))
        for start in range(0, len(clip.pcm), RATE // 5):
            block = base64.b64encode(clip.pcm[start : start + RATE // 5]).decode()
            await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": block}))

    async def job(self, clip: Clip) -> None:
        job = (await self._client.post("/v1/jobs", **form(clip))).json()
        while job["status"] not in ("done", "failed"):
            await asyncio.sleep(0.5)
            job = (await self._client.get(f"/v1/jobs/{job['id']}")).json()
        found = (await self._client.get(f"/v1/jobs/{job['id']}/result")).json()
        assert found.get("text") == clip.timed_text, (clip.name, found)
        assert (await self._client.delete(f"/v1/jobs/{job['id']}")).json()["deleted"]

    async def no_recording(self, clip: Clip) -> None:
        files = {"file": random.Random(clip.name).randbytes(2000)}
        _refused(await self._client.post(TRANSCRIBE, **{**form(clip), "files": files}), 400, "invalid_audio")

    async def half_a_recording(self, clip: Clip) -> None:
        """What can be read of it is read."""
        files = {"file": clip.data[: len(clip.data) // 2]}
        answer = await self._client.post(TRANSCRIBE, **{**form(clip), "files": files})
        assert answer.status_code == 200, answer.text

    async def no_form(self, clip: Clip) -> None:
        _refused(await self._client.post(TRANSCRIBE, json={"model": "whisper-1"}), 415, "invalid_form")

    async def wrong_field(self, clip: Clip) -> None:
        _refused(await self._client.post(TRANSCRIBE, **form(clip, speed="2")), 400, "unknown_field")

    async def wrong_language(self, clip: Clip) -> None:
        _refused(await self._client.post(TRANSCRIBE, **form(clip, language="xx")), 400, "invalid_option")

    async def wrong_model(self, clip: Clip) -> None:
        _refused(await self._client.post(TRANSCRIBE, **form(clip, model="other")), 404, "model_not_found")

    async def nothing(self, clip: Clip) -> None:
        _refused(await self._client.post(TRANSCRIBE, **{**form(clip), "files": {"file": b""}}), 400, "invalid_audio")

    async def given_up(self, clip: Clip) -> None:
        try:
            await self._client.post(TRANSCRIBE, **form(clip), timeout=httpx.Timeout(_PATIENCE, read=0.05))
        except httpx.ReadTimeout:
            return

    async def live_given_up(self, clip: Clip) -> None:
        async with connect(f"{self._url.replace('http', 'ws')}/v1/realtime", compression=None, **_SLOW) as socket:
            await self._speak(socket, clip)
            socket.transport.abort()


def _same(clip: Clip, text: str | None) -> None:
    assert text == clip.text, f"{clip.name} gave {text!r} instead of {clip.text!r}"


def _refused(answer: httpx.Response, status: int, code: str) -> None:
    found = (answer.status_code, answer.json()["error"]["code"])
    assert found == (status, code), f"{found} instead of {(status, code)}"


async def soak(server: Server, known: list[Clip], minutes: float, rate: float, most: int) -> Soak:
    """Requests for a while, and the server's memory meanwhile."""
    found, tasks = Soak(), set[asyncio.Task[None]]()
    started = time.monotonic()
    end, noted = started + 60 * minutes, -_NOTE_EVERY
    async with httpx.AsyncClient(base_url=server.url, timeout=_PATIENCE) as client:
        requests = Requests(client, server.url, known, found)
        for _ in range(most):
            now = time.monotonic()
            if now > end or server.process.poll() is not None:
                break
            if now - started - noted >= _NOTE_EVERY:
                noted = now - started
                found.memory.append((round(noted, 1), await _number(client, "process_resident_memory_bytes") / 1e6))
            if len(tasks) < MOST_AT_ONCE:
                task = asyncio.create_task(requests.one())
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.sleep(random.expovariate(rate))
        await asyncio.gather(*tasks)
        found.lost = await _left_over(client)
    return found


async def _left_over(client: httpx.AsyncClient) -> int:
    """What the server still holds though nobody asks for anything; it gets half a minute to notice."""
    for _ in range(60):
        held = await _number(client, "mlx_canary_requests_in_work") + await _number(client, "mlx_canary_live_sessions")
        if not held and not await _number(client, "mlx_canary_held_audio_seconds"):
            return 0
        await asyncio.sleep(0.5)
    return 1


async def _number(client: httpx.AsyncClient, name: str) -> float:
    lines = (await client.get("/metrics")).text.splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


def growth(memory: list[tuple[float, float]]) -> float:
    """MB an hour, by a line through the second half."""
    half = np.array(memory[len(memory) // 2 :])
    return float(np.polyfit(half[:, 0], half[:, 1], 1)[0] * 3600) if len(half) > 2 else 0.0


def run_throughput(given: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    known = clips(CanaryModel.from_pretrained(given.model))
    server = Server(given.model, "--batch-size", str(given.batch_size))
    try:
        rows = asyncio.run(throughput(server, known, given.requests))
    finally:
        server.end()
    print("| clients | requests/s | times real time | median s | 95 % s | gain |\n|---|---|---|---|---|---|")
    for row in rows:
        gain = row["requests_per_second"] / rows[0]["requests_per_second"]
        numbers = [row["requests_per_second"], row["times_real_time"], row["median_seconds"], row["p95_seconds"], gain]
        print(f"| {row['clients']} | " + " | ".join(f"{number:.2f}" for number in numbers) + " |")
    return {"throughput": rows, "batch_size": given.batch_size}, True


def run_soak(given: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    known = clips(CanaryModel.from_pretrained(given.model))
    with tempfile.TemporaryDirectory() as folder:
        patience = (
            "--request-timeout",
            f"{_PATIENCE}",
            "--idle-timeout",
            f"{_PATIENCE}",
            "--max-live",
            f"{MOST_AT_ONCE}",
        )
        server = Server(given.model, "--data-dir", folder, "--batch-size", str(given.batch_size), *patience)
        try:
            found = asyncio.run(soak(server, known, given.minutes, given.rate, given.most))
        finally:
            code = server.end()
    if code:
        found.problems.append(f"the server ended with the code {code}:\n{server.log()[-3000:]}")
    if found.lost:
        found.problems.append("the server still held requests when there were none")
    faults = [line for line in server.log().splitlines() if '"level": "error"' in line]
    found.problems += [f"the server's log: {line}" for line in faults]
    print("| kind | as it should be |\n|---|---|")
    for kind, number in sorted(found.kinds.items()):
        print(f"| {kind.replace('_', ' ')} | {number} |")
    print(f"\nMemory in MB: {', '.join(f'{mb:.0f}' for _, mb in found.memory[:: max(1, len(found.memory) // 20)])}")
    print(f"Growth over the second half: {growth(found.memory):+.1f} MB an hour")
    print("\n".join(found.problems) or "No problem.")
    return {"soak": asdict(found), "growth_mb_per_hour": growth(found.memory)}, not found.problems


def main() -> int:
    """What was asked on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["throughput", "soak"])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--requests", type=int, default=192, help="throughput: for each number of clients")
    parser.add_argument("--minutes", type=float, default=30.0, help="soak: how long")
    parser.add_argument("--rate", type=float, default=0.5, help="soak: requests a second")
    parser.add_argument("--most", type=int, default=100_000, help="soak: requests in all")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    given = parser.parse_args()
    found, good = {"throughput": run_throughput, "soak": run_soak}[given.what](given)
    if given.json is not None:
        machine = asdict(this_machine())
        given.json.write_text(json.dumps({"command": sys.argv[1:], "machine": machine, **found}, indent=2) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
