"""Jobs, and how a server ends: what was begun is not lost."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import subprocess
import sys
import time

import httpx
import pytest
from servers import CLIPS, running, spoken

from mlx_canary import TranscriptionOptions, iter_audio, render
from mlx_canary.longform.windows import cut_windows
from mlx_canary.requests import window_lengths

LONG = CLIPS / "en_long.opus"
FIELDS = {"model": "demo", "language": "en"}


def send(client: httpx.Client, path: str, file: bytes, **fields: str) -> httpx.Response:
    return client.post(path, files={"file": ("talk", file)}, data={**FIELDS, **fields})


def wait_for(client: httpx.Client, id: str, *states: str) -> dict:
    end = time.monotonic() + 300
    while (job := client.get(f"/v1/jobs/{id}").json())["status"] not in states:
        assert time.monotonic() < end, job
        time.sleep(0.1)
    return job


def metric(client: httpx.Client, name: str) -> float:
    found = [line for line in client.get("/metrics").text.splitlines() if line.startswith(f"mlx_canary_{name} ")]
    return float(found[0].split()[1]) if found else 0.0


def n_windows(model) -> int:
    """In how many windows the long recording is decoded."""
    lengths = window_lengths(TranscriptionOptions(), model.config)
    return sum(1 for _ in cut_windows(iter_audio(LONG), 16_000, *lengths))


def test_a_job_survives_a_crash(demo, tmp_path):
    """After a kill the next server goes on where this one was: it decodes the rest alone, and the text is the same."""
    folder, data = tmp_path / "data", LONG.read_bytes()
    whole = demo.transcribe(LONG, language="en", timestamps="word")
    with running("--data-dir", str(folder), "--batch-size", "1") as server, httpx.Client(base_url=server.url) as client:
        sent = send(client, "/v1/jobs", data, response_format="text")
        assert sent.status_code == 202
        id = sent.json()["id"]
        unfinished = client.get(f"/v1/jobs/{id}/result")
        assert (unfinished.status_code, unfinished.json()["error"]["code"]) == (409, "job_not_done")
        while metric(client, "windows_total") < 2:
            time.sleep(0.05)
        server.process.kill()
        server.ended()
    with running("--data-dir", str(folder)) as server, httpx.Client(base_url=server.url, timeout=300) as client:
        job = wait_for(client, id, "done", "failed")
        assert (job["status"], job["progress"], job["error"]) == ("done", 1.0, None)
        assert job["duration"] == pytest.approx(whole.duration)
        assert 0 < metric(client, "windows_total") <= n_windows(demo) - 2
        assert client.get(f"/v1/jobs/{id}/result").text == f"{whole.text}\n"
        subtitles = client.get(f"/v1/jobs/{id}/result", params={"response_format": "srt"})
        assert subtitles.text == render(whole, "srt")
        assert not any((folder / "uploads").iterdir())
        assert not any((folder / "journals").iterdir())

        broken = send(client, "/v1/jobs", b"no recording").json()["id"]
        assert wait_for(client, broken, "done", "failed")["error"]["code"] == "invalid_audio"
        assert send(client, "/v1/jobs", data, language="ja").json()["error"]["code"] == "invalid_option"
        assert {job["id"] for job in client.get("/v1/jobs").json()["data"]} == {id, broken}
        assert client.delete(f"/v1/jobs/{id}").json()["deleted"] is True
        assert client.get(f"/v1/jobs/{id}").status_code == 404

        another = [sys.executable, "-m", "mlx_canary", "serve", "-m", "demo", "--port", "0", "--data-dir", str(folder)]
        refused = subprocess.run(another, capture_output=True, text=True, timeout=300)
        assert refused.returncode == 1
        assert "Another server keeps its jobs" in refused.stderr
        server.ask()
        assert server.ended() == 0


def test_what_was_begun_is_finished(demo):
    """SIGTERM in the middle of a stream of events: the text comes whole, and the exit code is 0."""
    with running("--batch-size", "1") as server, httpx.Client(base_url=server.url, timeout=300) as client:
        upload = {"files": {"file": LONG.read_bytes()}, "data": {**FIELDS, "stream": "true"}}
        with client.stream("POST", "/v1/audio/transcriptions", **upload) as answer:
            lines = (line.removeprefix("data: ") for line in answer.iter_lines() if line)
            next(lines)
            server.ask()
            *_, last = lines
        assert json.loads(last)["text"] == demo.transcribe(LONG, language="en").text
        assert server.ended() == 0


def test_what_is_not_finished_in_time_is_told_so():
    """The time is the same for live sessions and requests: one after the other, it was twice as long."""
    with (
        running("--batch-size", "1", "--shutdown-timeout", "3") as server,
        httpx.Client(base_url=server.url, timeout=300) as client,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
    ):
        asked = pool.submit(send, client, "/v1/audio/transcriptions", spoken(1800))
        with httpx.Client(base_url=server.url) as other:
            while not metric(other, "batches_total"):
                time.sleep(0.05)
        server.ask()
        answer = asked.result()
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "stopping")
        assert answer.headers["x-request-id"]
        assert server.ended() == 0
        assert not [line for line in server.lines if '"exception"' in line]


def test_a_stream_that_is_not_finished_in_time_is_told_so():
    """It just ended, as if that had been all the text."""
    fields = {"files": {"file": spoken(1800)}, "data": {**FIELDS, "stream": "true"}}
    with (
        running("--batch-size", "1", "--shutdown-timeout", "1") as server,
        httpx.Client(base_url=server.url, timeout=300) as client,
    ):
        with client.stream("POST", "/v1/audio/transcriptions", **fields) as answer:
            lines = (line.removeprefix("data: ") for line in answer.iter_lines() if line)
            next(lines)
            server.ask()
            *_, last = lines
        assert json.loads(last)["error"]["code"] == "stopping"
        assert server.ended() == 0


def test_a_language_that_nobody_named(demo, tmp_path):
    expected = demo.transcribe(CLIPS / "de_kokoro_1.flac", timestamps="word")
    with running("--data-dir", str(tmp_path)) as server, httpx.Client(base_url=server.url, timeout=300) as client:
        id = send(client, "/v1/jobs", (CLIPS / "de_kokoro_1.flac").read_bytes(), language="").json()["id"]
        assert wait_for(client, id, "done", "failed")["status"] == "done"
        found = client.get(f"/v1/jobs/{id}/result").json()
    assert (found["text"], found["warnings"]) == (expected.text, list(expected.warnings))
    assert expected.warnings


def test_the_same_recordings_at_once(server, demo):
    """Requests that are decoded together get what each would get alone."""
    names = ["en_kokoro_1.flac", "en_kokoro_2.flac", "en_pico_1.flac", "de_kokoro_1.flac", "de_kokoro_2.flac"] * 2
    with httpx.Client(base_url=server.url, timeout=300) as client:
        batches, windows = metric(client, "batches_total"), metric(client, "windows_total")

        def ask(name: str) -> str:
            answer = send(client, "/v1/audio/transcriptions", (CLIPS / name).read_bytes(), language=name[:2])
            return answer.json()["text"]

        with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
            found = list(pool.map(ask, names))
        assert metric(client, "batches_total") - batches < metric(client, "windows_total") - windows == len(names)
    assert found == [demo.transcribe(CLIPS / name, language=name[:2]).text for name in names]


def test_nobody_waits_for_the_answer(server):
    """A client that goes away takes its work with it."""
    request = httpx.Request("POST", f"{server.url}/v1/audio/transcriptions", files={"file": spoken(600)}, data=FIELDS)
    with httpx.Client(base_url=server.url) as client:
        before = metric(client, 'audio_seconds_total{kind="request"}')
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("POST", request.url.path, request.read(), dict(request.headers))
        end = time.monotonic() + 120
        while not metric(client, "held_audio_seconds"):
            assert time.monotonic() < end, "the request has not begun"
        connection.close()
        end = time.monotonic() + 120
        while metric(client, "requests_in_work") or metric(client, "held_audio_seconds"):
            assert time.monotonic() < end, "the request is still in work"
            time.sleep(0.05)
        assert metric(client, 'audio_seconds_total{kind="request"}') == before
