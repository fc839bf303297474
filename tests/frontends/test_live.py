"""`mlx-canary live`: recordings, raw sound and a pretended microphone; pipes and terminals; Ctrl-C."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
import wave
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import DATA, WAVS, clip
from rich.console import Console
from rich.live import Live

from mlx_canary import Segment, StreamingOptions
from mlx_canary.cli.captions import Captions
from mlx_canary.streaming.session import Update

MODEL = str(DATA / "models/canary2-flash.nemo")
SPEECH = str(DATA / "audio" / WAVS["speech"])
TEXT = "Good morning everyone. The quick brown fox jumps over the lazy dog, while forty two sailors count the stars."
COMMAND = [sys.executable, "-m", "mlx_canary", "live", "-m", MODEL, "-l", "en"]


@pytest.fixture
def live(run):
    return partial(run, "live")


def test_a_recording_gives_lines_on_a_pipe(live):
    code, out, err = live("-m", MODEL, "-l", "en", "--file", SPEECH, "--fast")
    assert (code, out) == (0, f"{TEXT}\n")
    assert "Listening" in err


def test_text_and_subtitles_are_saved(live, tmp_path):
    code, _, err = live("-m", MODEL, "-l", "en", "--file", SPEECH, "--fast", "-f", "srt,txt", "-o", "texts")
    assert code == 0
    assert (tmp_path / "texts/speech_7s01.txt").read_text() == f"{TEXT}\n"
    assert "00:00:07,010" in (tmp_path / "texts/speech_7s01.srt").read_text()
    assert "Saved texts" in err


def test_what_is_wrong_with_a_recording_is_told_and_saved(live, tmp_path):
    """Nobody was told that nothing was heard, and the JSON knew neither the recording nor that it is cut off."""
    with wave.open(str(tmp_path / "silence.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(64_000))
    whole = (tmp_path / "silence.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
    code, _, err = live("-m", MODEL, "-l", "en", "--no-pnc", "--file", "./cut.wav", "--fast", "-f", "json", "-o", ".")
    assert code == 0
    document = json.loads((tmp_path / "cut.json").read_text())
    asked = {"file": "./cut.wav", "language": "en", "policy": "windowed", "chunk": 1.0, "pnc": False}
    assert document["options"] == asked
    cut, nothing = document["warnings"]
    assert cut.startswith("./cut.wav is cut off or damaged: 1.0 s of its 2.0 s could be read")
    assert nothing == "Nothing was heard in ./cut.wav."
    assert err.count(f"Warning: {cut}\n") == err.count(f"Warning: {nothing}\n") == 1
    assert "Nothing was heard in silence.wav." in live("-m", MODEL, "-l", "en", "--file", "silence.wav", "--fast")[2]


def test_both_languages_with_to(live, tmp_path):
    arguments = ["-m", MODEL, "-l", "en", "--to", "de", "--no-pnc", "--file", SPEECH, "--fast", "--chunk", "60"]
    code, out, _ = live(*arguments, "-f", "txt", "-o", "texts")
    assert code == 0
    lines = out.splitlines()
    assert [line[:4] for line in lines] == ["en: ", "de: "]
    assert "schnelle Fuchs" in lines[1]
    for line, name in zip(lines, ("en", "de"), strict=True):
        assert (tmp_path / f"texts/speech_7s01.{name}.txt").read_text().strip() == line[4:]


def test_numbers_as_digits(live, tmp_path):
    clip = DATA / "demo/en_pico_8.flac"
    code, out, _ = live("-m", "demo", "-l", "en", "--itn", "--file", clip, "--fast", "-f", "json", "-o", ".")
    assert (code, out) == (0, "The shop closes at 8:55.\n")
    assert json.loads((tmp_path / "en_pico_8.json").read_text())["options"]["itn"] is True


def test_context(live, flash):
    """It is part of the prompt: one that fills it leaves no room."""
    common = ("-m", MODEL, "-l", "en", "--file", SPEECH, "--fast", "--chunk", "60", "--no-pnc")
    with flash.stream(language="en", pnc=False, context="Guten Abend.", options=StreamingOptions(chunk=60)) as stream:
        stream.add_audio(clip("speech"))
    assert live(*common, "--context", "Guten Abend.")[:2] == (0, f"{stream.finish()}\n")
    code, out, err = live(*common, "--context", "many words " * 300)
    assert (code, out) == (1, "")
    assert "Give less context" in err
    code, _, err = live(*common, "-m", DATA / "models/canary1-agg-gz.nemo", "--context", "names")
    assert code == 1
    assert "has no place for context" in err


def test_languages_may_be_written_in_capitals(live):
    common = ("-m", MODEL, "--file", DATA / "audio" / WAVS["chirp"], "--fast", "--chunk", "60")
    assert live(*common, "-l", "EN", "--to", "DE") == live(*common, "-l", "en", "--to", "de")


def test_real_time_is_real_time(live):
    """A clip of 2.3 s takes at least that."""
    started = time.monotonic()
    code, out, _ = live("-m", MODEL, "-l", "en", "--file", DATA / "audio" / WAVS["chirp"], "--policy", "alignatt")
    assert code == 0
    assert time.monotonic() - started > 2.3
    assert out.strip()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--file", SPEECH, "-f", "srt"], "say where with --output-dir"),
        (["--file", SPEECH, "--overwrite"], "--overwrite is for files"),
        (["--fast"], "--fast is for a recording"),
        (["--file", SPEECH, "--device", "2"], "give it or --file, not both"),
        (["--file", SPEECH, "-l", "en", "--to", "en"], "is the language spoken"),
        (["--file", SPEECH, "-l", "en", "--to", "ja"], "ja"),
        (["--file", SPEECH, "-l", "auto"], "a stream, or a text to align, needs its language named, such as 'en'."),
        (["--file", "missing.wav", "--fast"], "missing.wav"),
        (["--file", "HTTP://[", "--fast"], "is not a URL"),
        (["--file", SPEECH, "--chunk", "0"], "chunk=0.0 must be"),
        (["--file", SPEECH, "-m", "no-such-model", "-f", "docx", "-o", "."], "docx"),
    ],
)
def test_what_makes_no_sense_is_said(live, arguments, message):
    code, _, err = live("-m", MODEL, *arguments)
    assert code in (1, 2)
    assert message in err


def test_a_name_that_is_taken_is_noticed_before_anybody_speaks(live, tmp_path):
    (tmp_path / "speech_7s01.txt").write_text("mine")
    code, out, err = live("-m", MODEL, "-l", "en", "--file", SPEECH, "-o", ".")
    assert code == 1
    assert "exists" in err
    assert "Listening" not in err + out
    assert (tmp_path / "speech_7s01.txt").read_text() == "mine"


def raw(samples):
    return (samples * 32768).astype("<i2").tobytes()


def test_raw_sound_on_stdin(tmp_path):
    """In odd pieces, as pipes deliver it."""
    process = subprocess.Popen(
        [*COMMAND, "--file", "-", "-o", str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path
    )
    data = raw(clip("speech"))
    for start in range(0, len(data), 33_333):
        process.stdin.write(data[start : start + 33_333])
        process.stdin.flush()
    out, _ = process.communicate(timeout=100)
    assert process.returncode == 0
    assert out.decode() == f"{TEXT}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["stdin.txt"]


def listening(folder, stdout=subprocess.PIPE):
    """The command after it has heard the clip, and nothing after it."""
    process = subprocess.Popen(
        [*COMMAND, "--file", "-", "-o", str(folder), "-f", "json"],
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=subprocess.PIPE,
        cwd=folder,
    )
    process.stdin.write(raw(np.concatenate([clip("speech"), np.zeros(16_000, np.float32)])))
    process.stdin.flush()
    return process


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 0), (signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGHUP, 128 + signal.SIGHUP)],
)
def test_interrupted_while_waiting_saves_what_was_said(number, code, tmp_path):
    """Ctrl-C is how a microphone is switched off; a shutdown and a closed terminal lost the text of a meeting."""
    process = listening(tmp_path)
    assert process.stdout.readline().decode().strip() == TEXT
    process.send_signal(number)
    _, err = process.communicate(timeout=100)
    assert process.returncode == code, err
    saved = json.loads((tmp_path / "stdin.json").read_text())
    assert TEXT in json.dumps(saved, ensure_ascii=False)


def test_what_was_said_is_saved_when_nobody_reads_stdout(tmp_path):
    """As with `| head -1`."""
    reader, writer = os.pipe()
    process = listening(tmp_path, stdout=writer)
    os.close(writer)
    with os.fdopen(reader) as first_line:
        assert first_line.readline().strip() == TEXT
    process.stdin.write(raw(np.concatenate([clip("speech"), np.zeros(16_000, np.float32)])))
    _, err = process.communicate(timeout=100)
    assert process.returncode == 1, err
    assert b"Traceback" not in err
    assert TEXT in (tmp_path / "stdin.json").read_text()


def test_what_was_said_is_saved_when_the_terminal_is_closed(tmp_path):
    """The terminal tells it with a signal, and no line can be written any more."""
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [*COMMAND, "--file", SPEECH, "-o", str(tmp_path)])
    seen = b""
    while b"fox" not in seen:
        seen += os.read(terminal, 65536)
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGHUP
    assert "quick brown fox" in (tmp_path / "speech_7s01.txt").read_text()


def test_on_a_terminal_the_draft_is_redrawn():
    """Dim while it may change; at the end the text stands there once."""
    parent, child = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200", "LINES": "30"}
    process = subprocess.Popen(
        [*COMMAND, "--file", SPEECH, "--fast"], stdout=child, stderr=subprocess.DEVNULL, env=environment
    )
    os.close(child)
    seen = read_all(parent)
    assert process.wait(timeout=100) == 0
    assert "\x1b[2;3m" in seen, "a draft is dim and italic"
    assert "\x1b[2K" in seen, "lines are redrawn"
    last = seen.rsplit("\x1b[2K", 1)[1]
    assert TEXT in seen
    assert "\x1b[2;3m" not in last


def test_what_has_become_a_line_is_not_drawn_as_growing():
    """Of two texts, each with its title; one is a segment behind."""
    console = Console(file=io.StringIO(), width=80)
    live = Live(console=console, auto_refresh=False)
    captions = Captions(console, live, ["en", "de"])
    ended = (Segment("One.", 0.0, 1.0), Segment("Two three.", 1.0, 2.0))
    captions.show([Update("One. Two", "three"), Update("", "Eins")], [ended[:1], ()])
    assert str(live.renderable) == "en: Two three\nde: Eins"
    captions.show([Update("One. Two three. Four", ""), Update("Eins.", "")], [ended, (Segment("Eins.", 0.0, 1.0),)])
    assert str(live.renderable) == "en: Four\nde: "
    assert console.file.getvalue() == "en: One.\nen: Two three.\nde: Eins.\n"


def test_control_characters_are_not_obeyed(monkeypatch):
    """A checkpoint's pieces may be anything."""

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    console = Console(file=terminal, force_terminal=True)
    captions = Captions(console, None, ["en"])
    captions.show([Update("", "")], [(Segment("one\x1b]0;two\x07", 0.0, 1.0),)])
    assert "\x1b]0" not in terminal.getvalue()
    assert "\x07" not in terminal.getvalue()


def read_all(terminal):
    seen = b""
    while select.select([terminal], [], [], 100)[0]:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # the other side is closed
            break
        if not data:
            break
        seen += data
    os.close(terminal)
    return seen.decode()


class PretendedStream:
    """A microphone at 48 kHz that hears the clip, and Ctrl-C after it."""

    def __init__(self, samplerate, blocksize, device, channels, dtype, callback):
        assert (samplerate, blocksize, channels, dtype) == (48_000, 4800, 1, "float32")
        self.callback = callback

    def start(self):
        loud = np.repeat(clip("speech"), 3)
        for start in range(0, len(loud), 4800):
            self.callback(loud[start : start + 4800, None], 4800, None, None)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None


class Interrupting:
    """A queue that is interrupted when it is empty."""

    def __init__(self):
        self.blocks = []

    def put(self, block):
        self.blocks.append(block)

    def get(self):
        if not self.blocks:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        return self.blocks.pop(0)

    def qsize(self):
        return 0


def pretended(stream=PretendedStream):
    devices = [
        {"index": 0, "name": "Speakers", "max_input_channels": 0, "default_samplerate": 48_000.0},
        {"index": 1, "name": "Desk microphone", "max_input_channels": 2, "default_samplerate": 48_000.0},
    ]
    return SimpleNamespace(
        PortAudioError=OSError,
        InputStream=stream,
        default=SimpleNamespace(device=(1, 0)),
        query_devices=lambda device=None, kind=None: devices if kind is None else devices[1],
    )


def test_a_microphone_at_another_rate(live, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "sounddevice", pretended())
    monkeypatch.setattr("mlx_canary.cli.live_sources.queue", SimpleNamespace(Queue=Interrupting))
    code, out, _ = live("-m", MODEL, "-l", "en", "-o", "texts")
    assert code == 0
    assert out.strip()
    assert (tmp_path / "texts/live.txt").read_text() == out


@pytest.mark.parametrize(("first", "told"), [(0.0, True), (1e-4, False)])
def test_a_microphone_that_gives_zeros(live, monkeypatch, caplog, first, told):
    """A Mac gives them to a program that may not use it; a microphone has some noise."""

    class Silent(Interrupting):
        def __init__(self):
            super().__init__()
            quiet = [np.zeros(4800, np.float32) for _ in range(70)]
            quiet[0][7] = first
            self.blocks = quiet

    monkeypatch.setitem(sys.modules, "sounddevice", pretended())
    monkeypatch.setattr("mlx_canary.cli.live_sources.queue", SimpleNamespace(Queue=Silent))
    code, _, err = live("-m", MODEL, "-l", "en")
    assert code == 0
    assert ("gives nothing, not even noise" in err) == told
    assert len(caplog.records) == told  # once; other tests in this process may have added handlers


def test_a_machine_that_is_too_slow_keeps_what_was_said(live, monkeypatch, tmp_path):
    """More sound waits than can be caught up with: an error, but not before the text is saved."""

    class Behind(Interrupting):
        def qsize(self):
            return 1000 if len(self.blocks) < 10 else 0

    monkeypatch.setitem(sys.modules, "sounddevice", pretended())
    monkeypatch.setattr("mlx_canary.cli.live_sources.queue", SimpleNamespace(Queue=Behind))
    code, out, err = live("-m", MODEL, "-l", "en", "-o", "texts")
    assert code == 1
    assert "60 s behind" in err
    assert out.strip()
    assert (tmp_path / "texts/live.txt").read_text() == out


def test_microphones_are_listed_without_a_model(live, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", pretended())
    assert live("--list-devices")[:2] == (0, "*  1  Desk microphone\n")


def test_without_the_package(live, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    code, _, err = live("-m", MODEL)
    assert code == 1
    assert "pip install sounddevice" in err


def test_without_a_microphone(live, monkeypatch):
    def none(*arguments, **keywords):
        raise OSError("Error querying device -1")

    monkeypatch.setitem(sys.modules, "sounddevice", pretended(stream=none))
    code, _, err = live("-m", MODEL)
    assert code == 1
    assert "cannot be used (Error querying device -1)" in err
    assert "--list-devices" in err
    assert "System Settings" in err
