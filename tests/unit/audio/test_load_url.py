"""Recordings over http, from a server on loopback."""

from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from recordings import noise, wav

from mlx_canary.audio import download, sources
from mlx_canary.audio.load import load_audio
from mlx_canary.errors import AudioError

SAMPLES = noise(20_000)
FILE = wav(SAMPLES)

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


class Server(http.server.ThreadingHTTPServer):
    """Answers each path as it is told to, and remembers what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.headers.append(dict(self.headers))
        answer = self.server.answers.get(self.path)
        if answer is None:
            self.send_error(404)
        else:
            answer(self)

    def log_message(self, *args: object) -> None:
        pass


def give(body: bytes, code: int = 200, **headers: str) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for key, value in {"Content_Length": str(len(body)), **headers}.items():
            if value:
                handler.send_header(key.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def redirect(where: str) -> Answer:
    return give(b"", 302, Location=where)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_recording_is_the_same_over_http(server):
    server.answers["/speech.wav"] = give(FILE)
    loaded = load_audio(server.url("/speech.wav")).samples
    np.testing.assert_array_equal(loaded, SAMPLES / np.float32(32768))
    assert server.headers[0]["User-Agent"].startswith("mlx-canary/")


def test_a_server_need_not_say_the_length(server):
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(FILE)

    server.answers["/live"] = answer
    assert len(load_audio(server.url("/live")).samples) == len(SAMPLES)


def test_spaces_and_letters_of_all_languages_in_an_address(server):
    server.answers["/caf%C3%A9%20one.wav?x=%20"] = give(FILE)
    assert len(load_audio(server.url("/café one.wav?x=%20")).samples) == len(SAMPLES)


def test_redirects_are_followed(server):
    server.answers["/old"] = redirect("/new")
    server.answers["/new"] = give(FILE)
    assert len(load_audio(server.url("/old")).samples) == len(SAMPLES)


@pytest.mark.parametrize("where", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "gopher://127.0.0.1/"])
def test_redirects_to_other_kinds_of_address_are_not_followed(where, server):
    server.answers["/trap"] = redirect(where)
    with pytest.raises(AudioError, match=r"redirects in a circle or to something that is not http\(s\)"):
        load_audio(server.url("/trap"))


def test_circles_end(server):
    server.answers["/circle"] = redirect("/circle")
    with pytest.raises(AudioError, match="redirects in a circle"):
        load_audio(server.url("/circle"))
    assert len(server.asked) < 20


def test_https_does_not_fall_back_to_http():
    request = download.urllib.request.Request("https://host/x")
    with pytest.raises(download.urllib.error.HTTPError, match="redirected elsewhere"):
        download._HttpRedirects().redirect_request(request, None, 302, "", None, "http://host/x")


@pytest.mark.parametrize(
    ("code", "advice"),
    [(404, "Check the address"), (403, "It needs a login"), (500, "Try again later"), (503, "Try again later")],
)
def test_refusals(code, advice, server):
    server.answers["/x.wav"] = give(b"no", code)
    with pytest.raises(AudioError, match=rf"/x\.wav: the server answered {code} .*{advice}"):
        load_audio(server.url("/x.wav"))


def test_no_server():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(AudioError, match=r"cannot be reached: .*refused"):
            load_audio(f"http://127.0.0.1:{port}/x.wav")


def test_a_secure_address_of_a_plain_server(server):
    with pytest.raises(AudioError, match="no secure connection"):
        load_audio(server.url("/x.wav").replace("http:", "https:"))


def test_a_web_page_is_not_downloaded(server):
    server.answers["/watch"] = give(b"<html>", Content_Type="text/html; charset=utf-8")
    with pytest.raises(AudioError, match=r"is a web page, not a recording. Give the address of the sound file"):
        load_audio(server.url("/watch"))


def test_an_empty_answer(server):
    server.answers["/x.wav"] = give(b"")
    with pytest.raises(AudioError, match="is empty"):
        load_audio(server.url("/x.wav"))


def test_something_else(server):
    server.answers["/x.wav"] = give(b"hello" * 100)
    with pytest.raises(AudioError, match=r"http://127\.0\.0\.1:\d+/x\.wav is not a sound or video file"):
        load_audio(server.url("/x.wav"))


def test_a_playlist_over_http_fetches_nothing_more(server):
    server.answers["/list.m3u8"] = give(f"#EXTM3U\n#EXTINF:9,\n{server.url('/part.ts')}\n".encode())
    with pytest.raises(AudioError, match="is a list of other files"):
        load_audio(server.url("/list.m3u8"))
    assert server.asked == ["/list.m3u8"]


def test_a_connection_that_breaks_is_no_short_recording(server):
    server.answers["/x.wav"] = give(FILE[:30_000], Content_Length=str(len(FILE)))
    with pytest.raises(AudioError, match=rf"the connection ended after 30000 of {len(FILE)} bytes. Try again"):
        load_audio(server.url("/x.wav"))


@pytest.mark.parametrize("says_length", [True, False])
def test_the_size_is_limited(says_length, server, monkeypatch):
    monkeypatch.setattr(sources, "MAX_STREAM_BYTES", 30_000)
    server.answers["/x.wav"] = give(FILE) if says_length else give(FILE, Content_Length="")
    with pytest.raises(AudioError, match="is larger than the limit"):
        load_audio(server.url("/x.wav"))


def test_a_server_that_falls_silent(server, monkeypatch):
    monkeypatch.setattr(download, "SILENCE_SECONDS", 0.2)
    released = threading.Event()

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        give(FILE[:1000], Content_Length=str(len(FILE)))(handler)
        released.wait(5)

    server.answers["/x.wav"] = answer
    with pytest.raises(AudioError, match=r"the server sent nothing for 0\.2 s"):
        load_audio(server.url("/x.wav"))
    released.set()


def test_a_server_that_dribbles(server, monkeypatch):
    """A byte now and then never trips the silence limit."""
    monkeypatch.setattr(download, "TOTAL_SECONDS", 0.3)

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for position in range(100):
            try:
                handler.wfile.write(FILE[position : position + 1])
            except OSError:
                return
            time.sleep(0.02)

    server.answers["/x.wav"] = answer
    with pytest.raises(AudioError, match="was not there after"):
        load_audio(server.url("/x.wav"))


def test_secrets_in_an_address_stay_out_of_messages(server):
    with pytest.raises(AudioError) as caught:
        load_audio(server.url("/x.wav?token=hunter2"))
    assert "hunter2" not in str(caught.value)
    with pytest.raises(AudioError, match="an address with a user name is not read") as caught:
        load_audio("http://ann:hunter2@127.0.0.1/x.wav")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("address", ["http://", "http://[::1", "https:///x.wav"])
def test_addresses_that_are_none(address):
    with pytest.raises(AudioError, match=r"cannot be reached|is not a URL"):
        load_audio(address)
