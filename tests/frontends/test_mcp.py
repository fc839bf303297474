"""`mlx-canary mcp`: the protocol's own client talks to the real process with the demo model."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import wave
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from anyio.from_thread import start_blocking_portal
from conftest import DATA
from mcp import Client, StdioServerParameters, stdio_client

from mlx_canary import CanaryModel, TranscriptionOptions, render
from mlx_canary.audio.containers import SUFFIXES
from mlx_canary.cli.inputs import find_inputs
from mlx_canary.cli.main import main
from mlx_canary.evaluate.manifest import read_manifest
from mlx_canary.mcp_server.folders import Folders, Found
from mlx_canary.mcp_server.server import Format, _listing, make_server
from mlx_canary.mcp_server.worker import Worker
from mlx_canary.writers import WRITERS

CLIP = "en_kokoro_3.flac"


class Assistant:
    """A connected client, for tests that are no coroutines."""

    def __init__(self, portal: Any, client: Client, folder: Path, log: Path) -> None:
        self.portal, self.client, self.folder, self.log = portal, client, folder, log

    def call(self, tool: str, **arguments: Any) -> Any:
        return self.portal.call(partial(self.client.call_tool, tool, arguments))

    def text(self, tool: str, **arguments: Any) -> str:
        result = self.call(tool, **arguments)
        assert not result.is_error, result
        return str(result.content[0].text)

    def refusal(self, tool: str, **arguments: Any) -> str:
        result = self.call(tool, **arguments)
        assert result.is_error, result
        return str(result.content[0].text)


@pytest.fixture(scope="module")
def assistant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Assistant]:
    """Connected to a server that may read one folder of several."""
    top = tmp_path_factory.mktemp("mcp")
    allowed, log = top / "allowed", top / "log"
    (allowed / "talks").mkdir(parents=True)
    (top / "secret").mkdir()
    for target in (allowed / CLIP, allowed / "talks/de.flac", top / "secret" / CLIP):
        shutil.copyfile(DATA / "demo" / ("de_kokoro_4.flac" if target.name == "de.flac" else CLIP), target)
    (allowed / ".hidden.wav").write_bytes(b"x")
    (allowed / "notes.txt").write_text("no sound")
    (allowed / "way_out.flac").symlink_to(top / "secret" / CLIP)
    (allowed / "out").symlink_to(top / "secret")
    (allowed / "way_in.flac").symlink_to(allowed / CLIP)
    os.mkfifo(allowed / "pipe.wav")
    _long(allowed / "long.wav")
    with contextlib.suppress(OSError):  # a file system that has no such names
        shutil.copyfile(allowed / CLIP, os.fsencode(allowed) + b"/\xff.flac")
    for age, path in enumerate((allowed / CLIP, allowed / "talks/de.flac", allowed / "long.wav"), start=1):
        os.utime(path, (1_700_000_000 - age, 1_700_000_000 - age))
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "mlx_canary", "mcp", "--folder", str(allowed), "-m", "demo"], cwd=top
    )
    with (
        log.open("w") as errors,
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Client(stdio_client(server, errlog=errors))) as client,
    ):
        yield Assistant(portal, client, allowed, log)


def _long(path: Path) -> None:
    """Half an hour of sound, in which something is always heard."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        noise = np.random.default_rng(0).normal(0, 3000, 16_000 * 60).astype("<i2").tobytes()
        for _ in range(30):
            file.writeframes(noise)


def test_three_tools_that_change_nothing(assistant: Assistant) -> None:
    tools = assistant.portal.call(assistant.client.list_tools).tools
    assert [tool.name for tool in tools] == ["transcribe", "list_recordings", "languages"]
    assert all(tool.annotations.read_only_hint and tool.description for tool in tools)


def test_arguments_that_a_tool_does_not_have_are_refused(assistant: Assistant) -> None:
    """The English text came back, as if it were the translation that was asked for under another name."""
    tools = assistant.portal.call(assistant.client.list_tools).tools
    assert all(tool.input_schema["additionalProperties"] is False for tool in tools)
    told = assistant.refusal("transcribe", file=CLIP, target_language="de")
    assert told.startswith("transcribe has no argument 'target_language'. It has file, language, translate_to, ")
    assert assistant.refusal("languages", of="demo") == "languages has no argument 'of'. It has none."


def test_ctrl_c_ends_it(tmp_path: Path) -> None:
    """It waited for a line on standard input."""
    command = [sys.executable, "-m", "mlx_canary", "mcp", "--folder", str(tmp_path), "-m", "demo"]
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}}
    request = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{json.dumps(request)}\n".encode())
        process.stdin.flush()
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == -signal.SIGINT


def test_the_formats_are_those_of_the_writers() -> None:
    assert set(get_args(Format)) == set(WRITERS)


def test_the_text_is_the_offline_one(assistant: Assistant, demo: CanaryModel) -> None:
    expected = demo.transcribe(assistant.folder / CLIP, language="en")
    assert expected.text
    for name in (CLIP, str(assistant.folder / CLIP), "way_in.flac", f"talks/../{CLIP}"):
        assert assistant.text("transcribe", file=name, language="en").strip() == expected.text


@pytest.mark.parametrize("timestamps", ["word", "segment"])
def test_subtitles(assistant: Assistant, demo: CanaryModel, timestamps: Any) -> None:
    expected = demo.transcribe(assistant.folder / CLIP, language="en", timestamps=timestamps)
    told = assistant.text("transcribe", file=CLIP, language="en", format="srt", timestamps=timestamps)
    assert told == render(expected, "srt")


def test_translation(assistant: Assistant, demo: CanaryModel) -> None:
    expected = demo.translate(assistant.folder / "talks/de.flac", source_lang="de", target_lang="en")
    told = assistant.text("transcribe", file="talks/de.flac", language="de", translate_to="en")
    assert told.strip() == expected.text


@pytest.mark.parametrize("format", ["txt", "json"])
def test_a_language_that_nobody_named(assistant: Assistant, demo: CanaryModel, format: Any) -> None:
    expected = demo.transcribe(assistant.folder / "talks/de.flac")
    text, *others = [part.text for part in assistant.call("transcribe", file="talks/de.flac", format=format).content]
    if format == "json":
        assert (json.loads(text)["warnings"], others) == (list(expected.warnings), [])
    else:
        assert (text.strip(), others) == (expected.text, [f"Warning: {expected.warnings[0]}"])


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../secret/" + CLIP, "talks/../../secret/" + CLIP, "way_out.flac", "out/" + CLIP, "~"]
)
def test_outside_is_refused(assistant: Assistant, name: str) -> None:
    """Whether or not there is such a file."""
    told = assistant.refusal("transcribe", file=name)
    assert told == f"{name} lies outside the folders that may be read here: {assistant.folder}."


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.wav", "missing.wav: there is no such file"),
        ("talks", "talks: there is no such file"),
        ("pipe.wav", "pipe.wav: there is no such file"),
        ("no\0thing.wav", "is not a path"),
        ("http://127.0.0.1:9/x.wav", "there is no such file"),
        ("-", "-: there is no such file"),
        ("notes.txt", "is not a sound or video file that can be read"),
    ],
)
def test_what_is_no_recording(assistant: Assistant, name: str, message: str) -> None:
    assert message in assistant.refusal("transcribe", file=name)


def test_a_wrong_language_gets_the_sentence_of_the_command_line(
    assistant: Assistant, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["transcribe", str(assistant.folder / CLIP), "-m", "demo", "-l", "ja"])
    sentence = capsys.readouterr().err.strip().removeprefix("Error: ")
    assert "It knows: en" in sentence
    assert assistant.refusal("transcribe", file=CLIP, language="ja") == sentence


def test_times_need_a_place(assistant: Assistant) -> None:
    assert "txt has none" in assistant.refusal("transcribe", file=CLIP, timestamps="word")
    assert "txt has none" in assistant.refusal("transcribe", file=CLIP, times_from="model")


@pytest.mark.parametrize("times_from", ["model", "attention"])
def test_what_tells_the_times(assistant: Assistant, demo: CanaryModel, times_from: Any) -> None:
    options = TranscriptionOptions(language="en", timestamps="word", times_from=times_from)
    expected = demo.transcribe(assistant.folder / CLIP, options=options)
    told = assistant.text("transcribe", file=CLIP, language="en", format="json", times_from=times_from)
    assert told == render(expected, "json")


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems have no such names")
def test_a_folder_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    """What is said about it can be sent; it ended the server."""
    folder = tmp_path / os.fsdecode(b"\xff")
    folder.mkdir()
    worker = Worker("demo")
    try:
        server = make_server(Folders([folder]), worker)
        for tool, arguments in (("list_recordings", {}), ("transcribe", {"file": "missing.wav"})):
            result = asyncio.run(server.call_tool(tool, arguments))
            assert str(tmp_path / r"\udcff") in result.model_dump_json(by_alias=True).replace("\\\\", "\\")
    finally:
        worker.close()


@pytest.mark.parametrize("modified", [1e12, -1e12, 1e30])
def test_a_recording_from_the_year_33658_is_listed(modified: float, tmp_path: Path) -> None:
    """Some file systems keep any time, and one such file was the end of the whole list."""
    found = Found(tmp_path / "talk.wav", 10**6, modified)
    assert _listing([found], Folders([tmp_path])) == f"time unknown\t1.0 MB\t{found.path}"


def test_recordings_are_listed_newest_first(assistant: Assistant) -> None:
    """Neither hidden files, nor what is no sound or not named in UTF-8, nor links that lead out; others count once."""
    lines = assistant.text("list_recordings").splitlines()
    paths = [Path(line.split("\t")[2]) for line in lines]
    assert [str(path.relative_to(assistant.folder)) for path in paths] == [CLIP, "talks/de.flac", "long.wav"]
    assert assistant.text("list_recordings", name_contains="TALKS") == lines[1]
    assert "no recording" in assistant.text("list_recordings", name_contains="nothing")


def test_what_is_named_like_sound_is_the_same_everywhere(tmp_path: Path) -> None:
    """Each list had other endings: a folder's films were transcribed, but not listed here and not evaluated."""
    for ending in (*SUFFIXES, ".pdf", ".json", ""):
        (tmp_path / f"a{ending.upper()}").touch()
        (tmp_path / f".hidden{ending}").touch()
    expected = {tmp_path / f"a{ending.upper()}" for ending in SUFFIXES}
    assert {found.path for found in Folders([tmp_path]).recordings()} == expected
    assert {Path(recording.file) for recording in find_inputs([str(tmp_path)]).recordings} == expected
    assert {tmp_path / each.name for each in read_manifest(tmp_path).problems} == expected


def test_languages_as_on_the_command_line(assistant: Assistant, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["languages", "-m", "demo"])
    assert assistant.text("languages") == capsys.readouterr().out.strip()


def test_a_cancelled_request_stops_the_work(assistant: Assistant) -> None:
    """Progress grows, then the client loses interest; the thread is free for the next request."""
    seconds: list[float] = []

    async def cancelled() -> None:
        enough = asyncio.Event()

        async def report(progress: float, total: float | None, message: str | None) -> None:
            seconds.append(progress)
            if len(seconds) >= 5:
                enough.set()

        call = assistant.client.call_tool("transcribe", {"file": "long.wav"}, progress_callback=report)
        task = asyncio.create_task(call)
        await enough.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assistant.portal.call(cancelled)
    assert assistant.text("transcribe", file=CLIP)
    assert seconds == sorted(seconds)
    assert seconds[-1] < 1800
    assert f"Stopped: {assistant.folder / 'long.wav'}" in assistant.log.read_text()


def test_nothing_but_the_protocol_on_stdout(tmp_path: Path) -> None:
    """Also where the model cannot be loaded, which each tool says; and the process ends well."""
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    messages = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "languages", "arguments": {}}},
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlx_canary", "mcp", "--folder", str(tmp_path), "-m", "./missing"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    answers = []
    for message in messages:
        process.stdin.write(json.dumps(message) + "\n")
        process.stdin.flush()
        if "id" in message:
            answers.append(json.loads(process.stdout.readline()))
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, ""), err
    assert [answer["id"] for answer in answers] == [1, 2]
    assert answers[1]["result"]["isError"]
    assert "missing" in answers[1]["result"]["content"][0]["text"]


@pytest.fixture
def mcp(capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """The command in this process, where it ends at once: its exit code and stderr."""
    log = logging.getLogger("mlx_canary")
    level = log.level

    def command(*arguments: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["mcp", "-m", "demo", *map(str, arguments)])
        return int(ended.value.code or 0), capsys.readouterr().err

    yield command
    log.propagate = True
    log.setLevel(level)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mcp: Any) -> None:
    monkeypatch.setitem(sys.modules, "mcp.server.mcpserver", None)
    monkeypatch.delitem(sys.modules, "mlx_canary.mcp_server.server")
    code, err = mcp("--folder", tmp_path)
    assert code == 1
    assert "pip install 'mcp>=2'" in err


def test_folders_must_be_named_and_exist(tmp_path: Path, mcp: Any) -> None:
    assert mcp()[0] == 2
    code, err = mcp("--folder", tmp_path / "missing")
    assert code == 1
    assert f"{tmp_path / 'missing'} is not a folder" in err
