"""A small hub on loopback that speaks what huggingface_hub uses of the real one: model info, resolve, large files.

As on the real hub, large files are elsewhere: `resolve` answers with a redirect to another host (here the same server
under another name), which understands ranges and must not see the login.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants, file_download

DATA = Path(__file__).resolve().parents[2] / "data"
NEMO = (DATA / "models" / "canary2-flash.nemo").read_bytes()


def visible(folder: Path) -> list[str]:
    """What is in a folder, without hidden entries."""
    return sorted(name for name in os.listdir(folder) if not name.startswith(".")) if folder.is_dir() else []


class Request(NamedTuple):
    method: str
    path: str
    start: int
    """Where the wanted range begins."""
    login: str | None
    n_sent: int


@dataclass
class Repository:
    """Attributes:
    files: By path.
    refuses: Status and X-Error-Code that every question gets.
    refuses_files: The same for files alone; the listing of a gated repository is open to all.
    answer: What is said instead of the listing.
    """

    files: dict[str, bytes]
    commit: str = "0123456789abcdef0123456789abcdef01234567"
    revisions: tuple[str, ...] = ("main",)
    refuses: tuple[int, str] | None = None
    refuses_files: tuple[int, str] | None = None
    answer: bytes | None = None


@dataclass
class FakeHub:
    """Attributes:
    repositories: By `owner/name`.
    requests: What was asked, in order.
    cuts: Each large answer ends after so many bytes of it, one number for each answer, then they are whole.
    ranges: Whether the server knows ranges.
    damage: Large files come with other bytes than they should.
    excess: So many bytes come behind each large file.
    """

    repositories: dict[str, Repository]
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    ranges: bool = True
    damage: bool = False
    excess: int = 0
    silent: threading.Event | None = None

    @property
    def bodies(self) -> list[Request]:
        """The requests that brought bytes of large files."""
        return [request for request in self.requests if request.path.startswith("/cdn/") and request.method == "GET"]

    def add(self, name: str, files: dict[str, bytes], **facts: object) -> Repository:
        self.repositories[name] = Repository(files, **facts)  # type: ignore[arg-type]
        return self.repositories[name]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def _serve(self) -> None:
        self.n_sent = 0
        if self.hub.silent is not None:
            self.hub.silent.wait(10)
        parts = urlsplit(self.path).path.strip("/").split("/")
        first = "cdn" if parts[0] == "cdn" else "api" if parts[:2] == ["api", "models"] else "resolve"
        # Noted before anything is sent, or a client that is quick could look too early.
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.hub.requests.append(Request(self.command, self.path, start, self.headers.get("Authorization"), 0))
        number = len(self.hub.requests) - 1
        try:
            if first == "cdn":
                self._large(parts[1], start)
            elif first == "api" and len(parts) in (4, 6):
                self._info("/".join(parts[2:4]), unquote(parts[5]) if len(parts) == 6 else "main")
            elif len(parts) > 4 and parts[2] == "resolve":
                self._file("/".join(parts[:2]), unquote(parts[3]), unquote("/".join(parts[4:])))
            else:
                self._answer(404, {})
        finally:
            self.hub.requests[number] = self.hub.requests[number]._replace(n_sent=self.n_sent)

    def _repository(self, name: str, revision: str, file: bool) -> Repository | None:
        repository = self.hub.repositories.get(name)
        if repository is None:  # the real hub says so to those who did not log in
            self._refuse(401, "RepoNotFound")
            return None
        refusal = repository.refuses or (repository.refuses_files if file else None)
        if refusal is not None:
            self._refuse(*refusal)
            return None
        if revision not in (*repository.revisions, repository.commit):
            self._refuse(404, "RevisionNotFound")
            return None
        return repository

    def _info(self, name: str, revision: str) -> None:
        if (repository := self._repository(name, revision, file=False)) is not None:
            siblings = [{"rfilename": file} for file in repository.files]
            info = {"id": name, "modelId": name, "sha": repository.commit, "siblings": siblings, "tags": []}
            body = json.dumps(info).encode() if repository.answer is None else repository.answer
            self._answer(200, {"Content-Type": "application/json"}, body)

    def _file(self, name: str, revision: str, file: str) -> None:
        if (repository := self._repository(name, revision, file=True)) is None:
            return
        if file not in repository.files:
            self._refuse(404, "EntryNotFound")
            return
        content, headers = repository.files[file], {"X-Repo-Commit": repository.commit}
        if not file.endswith((".nemo", ".safetensors")):
            self._answer(200, headers | {"ETag": f'"{hashlib.sha1(content).hexdigest()}"'}, content)
            return
        sha256 = hashlib.sha256(content).hexdigest()
        elsewhere = self.hub.url.replace("127.0.0.1", "localhost") + f"/cdn/{sha256}"
        linked = {"X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(len(content)), "Location": elsewhere}
        self._answer(302, headers | linked)

    def _large(self, sha256: str, start: int) -> None:
        contents = [content for repository in self.hub.repositories.values() for content in repository.files.values()]
        (content,) = {content for content in contents if hashlib.sha256(content).hexdigest() == sha256}
        content = bytes(len(content)) if self.hub.damage else content
        start = start if self.hub.ranges else 0
        body = content[start:] + bytes(self.hub.excess)
        of = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        cut = self.hub.cuts.pop(0) if self.hub.cuts and self.command == "GET" else None
        self._answer(206 if start else 200, of, body, cut)

    def _refuse(self, status: int, code: str) -> None:
        self._answer(status, {"X-Error-Code": code, "Content-Type": "application/json"}, b'{"error": "no"}')

    def _answer(self, status: int, headers: dict[str, str], body: bytes = b"", cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:cut])
            self.n_sent = len(body[:cut])
        if cut is not None:
            self.wfile.flush()
            self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that was killed is no news."""


@contextmanager
def running() -> Iterator[FakeHub]:
    """A hub without repositories, for as long as the block lasts."""
    hub = FakeHub({})
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = _Server(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def endpoint(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Where the hub is, for this process and those it starts."""
    monkeypatch.setenv("HF_ENDPOINT", url)
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    for module in (constants, file_download):  # huggingface_hub before 1 has a copy in the second
        monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
