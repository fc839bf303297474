"""Requests that a server refuses: each with a status of its own, a name for programs and a sentence for people."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from servers import CLIPS, Server, running, spoken
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

SHORT = spoken(1.5)
PATH = "/v1/audio/transcriptions"
FIELDS = {"model": "demo", "language": "en"}
KEY = "s3cret"
BEARER = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def http(server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=300) as client:
        yield client


@pytest.fixture(scope="module")
def strict() -> Iterator[Server]:
    """A server with a key, small limits, and a name and a page that are allowed.

    The key has what a file of keys has around it, which no header can have.
    """
    arguments = ["--max-queue", "1", "--max-live", "1", "--max-upload-mb", "0.1", "--max-duration", "2"]
    arguments += ["--allow-host", "Canary.Example.org:8000", "--allow-origin", "https://App.Example.org:443/"]
    with running(*arguments, MLX_CANARY_API_KEY=f" {KEY}\n") as server:
        yield server


@pytest.fixture(scope="module")
def known(strict) -> Iterator[httpx.Client]:
    """A client with the key."""
    with httpx.Client(base_url=strict.url, timeout=300, headers=BEARER) as client:
        yield client


def send(client: httpx.Client, path: str = PATH, file: bytes | None = None, **fields: str) -> httpx.Response:
    upload = {"file": ("talk.wav", SHORT if file is None else file)}
    return client.post(path, files=upload, data={**FIELDS, **fields})


def check(response: httpx.Response, status: int, code: str, message: str) -> None:
    """OpenAI's shape."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code
    assert message in error["message"]


@pytest.mark.parametrize(
    ("fields", "status", "code", "message"),
    [
        ({"model": "canary-9b"}, 404, "model_not_found", "'canary-9b' is not served here. Ask for demo or whisper-1"),
        ({"language": "ja"}, 400, "invalid_option", "does not know the spoken language 'ja'"),
        ({"language": "auto:en,ja"}, 400, "invalid_option", "does not know the spoken language 'ja'"),
        ({"language": "auto:en"}, 400, "invalid_option", "language='auto:en' leaves no choice"),
        ({"target_language": "xx"}, 400, "invalid_option", "does not know the target language 'xx'"),
        ({"response_format": "docx"}, 400, "invalid_value", "response_format"),
        ({"temperature": "hot"}, 400, "invalid_value", "temperature"),
        ({"temperature": "1.5"}, 400, "invalid_value", "temperature"),
        ({"stream": "perhaps"}, 400, "invalid_value", "stream"),
        ({"stream": "true", "response_format": "srt"}, 400, "invalid_option", "cannot be streamed"),
        ({"timestamp_granularities[]": "word"}, 400, "invalid_option", "response_format=verbose_json"),
        ({"times_from": "stars", "response_format": "srt"}, 400, "invalid_value", "times_from"),
        ({"times_from": "model"}, 400, "invalid_option", "times_from needs response_format=verbose_json, srt or vtt"),
        ({"diarize": "true"}, 400, "unknown_field", "'diarize' is not known"),
        ({"prompt": "x" * 5000}, 400, "invalid_value", "prompt"),
        ({"prompt": "<|nospeech|>"}, 400, "invalid_option", "plain text"),
    ],
)
def test_fields_that_make_no_sense(http, fields, status, code, message):
    check(send(http, **fields), status, code, message)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (b"", "is empty"),
        (b"no recording at all " * 50, "is not a sound or video file"),
        (b"#EXTM3U\nhttp://127.0.0.1/secret\n", "list of other files"),
        ((CLIPS / "en_kokoro_1.flac").read_bytes()[:200], "damaged"),
    ],
)
def test_uploads_that_are_no_recordings(http, file, message):
    check(send(http, file=file), 400, "invalid_audio", message)


def test_bodies_that_are_no_forms(http):
    check(http.post(PATH, json={"model": "demo"}), 415, "invalid_form", "expected multipart/form-data")
    check(http.post(PATH, data=FIELDS), 415, "invalid_form", "expected multipart/form-data")
    torn = {"Content-Type": "multipart/form-data; boundary=x"}
    check(http.post(PATH, content=b"nonsense", headers=torn), 400, "invalid_form", "multipart")
    unreadable = {"Content-Type": "multipart/form-data; boundary=x; charset=undefined"}
    field = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\ndemo\r\n--x--\r\n'
    check(http.post(PATH, content=field, headers=unreadable), 400, "invalid_form", "charset that it names")
    check(http.post(PATH, files={"other": b"1"}, data=FIELDS), 400, "missing_file", "no recording")
    check(http.post(PATH, files={"file": b"1"}), 400, "invalid_value", "model")


def test_a_field_given_twice(http):
    twice = {"model": ["demo", "demo"]}
    check(http.post(PATH, files={"file": b"1"}, data=twice), 400, "invalid_form", "given twice")


def test_paths_and_methods(http):
    check(http.get("/v1/nothing"), 404, "not_found", "nothing at /v1/nothing")
    check(http.get(PATH), 405, "method_not_allowed", "GET is not possible")
    check(http.get("/v1/models/other"), 404, "model_not_found", "'other'")
    check(http.get("/v1/jobs"), 404, "no_jobs", "--data-dir")


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", ""])
def test_a_name_that_somebody_made_point_here(http, host):
    """DNS rebinding: the page's name is in the Host header, and no other."""
    check(http.get("/v1/models", headers={"Host": host}), 403, "unknown_host", "--allow-host")


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1", "[::1]:8000", "192.168.1.2"])
def test_names_that_nobody_can_take(http, host):
    assert http.get("/v1/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1", "file://"])
def test_web_pages_of_others(http, server, origin):
    check(http.get("/v1/models", headers={"Origin": origin}), 403, "unknown_origin", "--allow-origin")
    with (
        pytest.raises(InvalidStatus, match="403"),
        connect(f"{server.url.replace('http', 'ws')}/v1/realtime", origin=origin),
    ):
        pass


def test_the_own_page(http, server):
    assert http.get("/v1/models", headers={"Origin": server.url}).status_code == 200


def test_an_allowed_name_and_page(known):
    """As somebody wrote them: with capitals, a port or a slash at the end they were never the same as a browser's."""
    page = {"Origin": "https://app.example.org"}
    for host in ("canary.example.org", "Canary.example.org:8000"):
        answer = known.get("/v1/models", headers={"Host": host, **page})
        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] == page["Origin"]
        assert answer.headers["Access-Control-Expose-Headers"] == "x-request-id, Retry-After"


def test_a_preflight_of_openai_s_client_for_javascript(known):
    """It sends headers that say what it is."""
    asked = "authorization,content-type,x-stainless-lang,x-stainless-retry-count"
    headers = {"Origin": "https://app.example.org", "Access-Control-Request-Method": "POST"}
    answer = known.options(PATH, headers={**headers, "Access-Control-Request-Headers": asked})
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Headers"] == asked


def test_the_key(strict):
    with httpx.Client(base_url=strict.url) as client:
        check(client.get("/v1/models"), 401, "invalid_api_key", "is needed")
        check(send(client), 401, "invalid_api_key", "is needed")
        check(client.get("/metrics"), 401, "invalid_api_key", "is needed")
        for wrong in ("s3cre", "s3cret!", "ß", "S3CRET"):
            headers = {"Authorization": f"Bearer {wrong}".encode()}
            check(client.get("/v1/models", headers=headers), 401, "invalid_api_key", "is wrong")
        assert client.get("/v1/models", headers=BEARER).status_code == 200
        assert client.get("/health/ready").status_code == 200


def test_the_key_of_a_websocket(strict, known):
    url = f"{strict.url.replace('http', 'ws')}/v1/realtime"
    with pytest.raises(InvalidStatus, match="401"), connect(url):
        pass
    with connect(url, additional_headers=BEARER) as websocket:
        assert json.loads(websocket.recv())["type"] == "session.created"
    wait_until(lambda: number(known, "live_sessions") == 0)
    with connect(url, subprotocols=["realtime", f"openai-insecure-api-key.{KEY}"]) as websocket:
        assert websocket.subprotocol == "realtime"
        assert json.loads(websocket.recv())["type"] == "session.created"


def test_too_much(known):
    check(send(known, file=(CLIPS / "en_long.opus").read_bytes()), 413, "upload_too_large", "limit of 0.1 MB")
    check(send(known, file=spoken(2.5)), 413, "audio_too_long", "limit of 2 s")


def test_too_much_that_does_not_say_so(known):
    """A body without a length, in chunks; nothing else is wrong with it that could be found first."""
    begin = b'--x\r\nContent-Disposition: form-data; name="file"; filename="talk.wav"\r\n\r\n'
    chunks = (begin if n == 0 else b"a" * 10_000 for n in range(100))
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    check(known.post(PATH, content=chunks, headers=headers), 413, "upload_too_large", "limit of 0.1 MB")


def test_a_full_queue(known, strict):
    """A request has its place from its first line on, and gives it back when the client goes."""
    with socket.create_connection(("127.0.0.1", strict.port)) as slow:
        head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 1000\r\n"
        slow.sendall(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n--x".encode())
        wait_until(lambda: number(known, "requests_in_work") == 1)
        refused = send(known)
        check(refused, 429, "queue_full", "1 requests already")
        assert int(refused.headers["Retry-After"]) >= 1
    wait_until(lambda: number(known, "requests_in_work") == 0)
    assert send(known).status_code == 200


def test_too_many_live_sessions(strict, known):
    wait_until(lambda: number(known, "live_sessions") == 0)
    url = f"{strict.url.replace('http', 'ws')}/v1/realtime"
    with connect(url, additional_headers=BEARER) as first:
        first.recv()
        with pytest.raises(InvalidStatus, match="429") as refused, connect(url, additional_headers=BEARER):
            pass
        assert refused.value.response.headers["Retry-After"]


def test_nothing_that_was_said_or_secret_is_in_the_log(strict, known):
    said = send(known).json()["text"]
    assert said
    assert not [line for line in strict.lines if KEY in line or said in line]
    assert {json.loads(line)["level"] for line in strict.lines} == {"info"}


def wait_until(condition, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def number(client: httpx.Client, name: str) -> float:
    """One of the metrics."""
    (line,) = [x for x in client.get("/metrics").text.splitlines() if x.startswith(f"mlx_canary_{name} ")]
    return float(line.split()[1])
