"""Where recordings come from, and what is said of those that are not there."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from recordings import noise, wav

from mlx_canary.audio import sources
from mlx_canary.audio.load import load_audio
from mlx_canary.errors import AudioError

SAMPLES = noise(20_000)
FILE = wav(SAMPLES)


class Pipe(io.RawIOBase):
    """A binary stream that cannot seek and gives a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        return self._data.readinto(memoryview(buffer)[:777])


class OnlyRead:
    """The least that a file object may be."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._data.read(size)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "speech.wav"
    file.write_bytes(FILE)
    return file


def assert_loads(source: object) -> None:
    np.testing.assert_array_equal(load_audio(source).samples, SAMPLES / np.float32(32768))


def test_paths(path):
    assert_loads(path)
    assert_loads(str(path))


def test_bytes():
    assert_loads(FILE)
    assert_loads(bytearray(FILE))
    assert_loads(memoryview(FILE))


@pytest.mark.parametrize("make", [io.BytesIO, Pipe, OnlyRead])
def test_file_objects(make):
    assert_loads(make(FILE))


def test_a_file_object_is_read_from_its_start_and_stays_open(path):
    """A buffer that was just written to stands at its end."""
    with path.open("rb") as file:
        file.seek(1000)
        assert_loads(file)
        assert not file.closed
        assert_loads(file)


def test_a_named_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(FILE,))
    writer.start()
    assert_loads(pipe)
    writer.join()


@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_standard_input(kind, path):
    code = "from mlx_canary.audio.load import load_audio; print(len(load_audio('-').samples))"
    with path.open("rb") as file:
        stdin = {"input": FILE} if kind == "pipe" else {"stdin": file}
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, **stdin)
    assert int(done.stdout) == len(SAMPLES)
    assert done.stderr == b""


def test_a_stream_ends_at_the_limit(monkeypatch):
    monkeypatch.setattr(sources, "MAX_STREAM_BYTES", 20_000)
    with pytest.raises(AudioError, match=r"did not end after .* GiB"):
        load_audio(Pipe(FILE))


def test_a_terminal_is_not_waited_for(monkeypatch):
    class Terminal(io.BytesIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Terminal()))
    with pytest.raises(AudioError, match="Standard input is a terminal"):
        load_audio("-")


def test_no_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(AudioError, match="Standard input is not open"):
        load_audio("-")


def test_missing(tmp_path):
    with pytest.raises(AudioError, match=r"nothing\.wav: no such file"):
        load_audio(tmp_path / "nothing.wav")


def test_folder(tmp_path):
    with pytest.raises(AudioError, match="is a folder"):
        load_audio(tmp_path)


def test_unreadable(path, monkeypatch):
    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # chmod does not stop root
    with pytest.raises(AudioError, match=r"speech\.wav cannot be read: permission denied"):
        load_audio(path)


def test_the_disk_fails_in_the_middle():
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 10_000:
                raise OSError(5, "Input/output error")
            return super().read(size)

    with pytest.raises(AudioError, match="The file object cannot be read: Input/output error"):
        load_audio(Broken(wav(noise(100_000))))


@pytest.mark.parametrize("source", [b"", io.BytesIO(), "/dev/null"])
def test_empty(source):
    with pytest.raises(AudioError, match="is empty: it has 0 bytes"):
        load_audio(source)


def test_a_file_open_as_text(path):
    with path.open(encoding="latin-1") as file, pytest.raises(AudioError, match="is open as text"):
        load_audio(file)


def test_a_closed_file(path):
    file = path.open("rb")
    file.close()
    with pytest.raises(AudioError, match="The file object is closed"):
        load_audio(file)


def test_a_file_object_that_gives_too_much():
    """PyAV copies it over the end of its buffer."""

    class Generous(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(-1 if size is None else size + 10)

    with pytest.raises(AudioError, match="must give at most"):
        load_audio(Generous(FILE))


@pytest.mark.parametrize("source", [None, 3, {"path": "x.wav"}])
def test_other_things_are_not_recordings(source):
    with pytest.raises(AudioError, match=r"is not a recording. Give a path"):
        load_audio(source)


@pytest.mark.parametrize("address", ["ftp://host/x.wav", "file:///etc/passwd", "s3://bucket/x.wav"])
def test_other_addresses_are_not_read(address):
    with pytest.raises(AudioError, match="addresses are not read; only http and https"):
        load_audio(address)


def test_a_null_character_in_a_path():
    with pytest.raises(AudioError, match="is not a path"):
        load_audio("a\0b.wav")


def test_a_name_for_messages():
    with pytest.raises(AudioError, match=r"^upload\.mp3 is empty"):
        load_audio(b"", name="upload.mp3")
