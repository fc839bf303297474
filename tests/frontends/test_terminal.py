"""What a terminal shows: texts and progress side by side, colours, names and texts that would give it orders."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import wave
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import DATA, WAVS
from rich.progress import Progress

from mlx_canary import Segment
from mlx_canary.cli import progress as cli_progress

if sys.platform == "win32":
    pytest.skip("pseudo-terminals", allow_module_level=True)

import pty

MODEL = str(DATA / "models/canary2-flash.nemo")
CHIRP = str(DATA / "audio" / WAVS["chirp"])
FRENCH = str(DATA / "demo/fr_kokoro_1.flac")
TEXT = b"Hello, the weather is cold."
RED = "\x1b[31mred"


def shown(*arguments: str, cwd: Path, **environment: str) -> tuple[int, bytes]:
    """The command with stdout and stderr on one terminal: its exit code, and all that the terminal got."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "80", **environment}
    with subprocess.Popen(command(*arguments), cwd=cwd, stdin=theirs, stdout=theirs, stderr=theirs, env=env) as process:
        os.close(theirs)
        output = b""
        try:
            while block := os.read(ours, 65536):
                output += block
        except OSError:  # so Linux says that the other end is closed
            pass
        os.close(ours)
    return process.returncode, output


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "mlx_canary", *arguments]


def test_a_text_does_not_begin_behind_the_progress(tmp_path):
    """Both are on one terminal in the most common use. The first line was '1:25 of sound ... 0:00:07The watch'."""
    code, output = shown("transcribe", CHIRP, CHIRP, "-m", MODEL, "-l", "en", cwd=tmp_path)
    assert code == 0
    assert b"Loading" in output
    lines = [re.split(rb"\x1b\[2K", line)[-1] for line in output.split(b"\n") if TEXT in line]
    assert [re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]|\r", b"", line) for line in lines] == [TEXT, TEXT]


def test_names_cannot_give_a_terminal_orders(tmp_path):
    code, output = shown("transcribe", f"{RED}.wav", "-m", MODEL, "-l", "en", cwd=tmp_path)
    assert code == 1
    assert RED.encode() not in output
    assert "\N{REPLACEMENT CHARACTER}[31mred.wav: no such file".encode() in output
    assert RED.encode() not in shown("convert", RED, cwd=tmp_path)[1]


def test_a_pipe_gets_names_as_they_are(tmp_path):
    (tmp_path / f"{RED}.wav").write_bytes(Path(CHIRP).read_bytes())
    result = subprocess.run(
        command("transcribe", f"{RED}.wav", CHIRP, "-m", MODEL, "-l", "en"), capture_output=True, cwd=tmp_path
    )
    assert f"== {RED}.wav ==".encode() in result.stdout


@pytest.mark.parametrize("name", ["[/bold]", "[red]x", ":smile:"])
def test_names_are_not_markup(name, tmp_path):
    """Such a model or recording ended in an error of the library that draws the progress, or was shown as a picture."""
    for arguments in (("transcribe", CHIRP, "-m", name), ("transcribe", name, "-m", MODEL, "-l", "en")):
        code, output = shown(*arguments, cwd=tmp_path)
        assert code == 1
        assert b"Traceback" not in output
        assert name.encode() in output


@pytest.mark.parametrize("variable", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_only_where_they_are_wanted(variable, tmp_path):
    """NO_COLOR held for the progress but not for `doctor` and `verify`."""
    assert b"\x1b[32m" in shown("doctor", cwd=tmp_path, NO_COLOR="")[1]
    assert b"\x1b" not in shown("doctor", cwd=tmp_path, **variable)[1]


def test_the_work_goes_on_where_nobody_reads_what_is_told(tmp_path):
    """Rich ended the program after the first recording, and closed stdout."""
    reads, writes = os.pipe()
    os.close(reads)
    line = command("transcribe", *[str(DATA / "audio" / WAVS["short"])] * 2, "-m", "demo", "-f", "json")
    with open(writes, "wb") as nobody:
        result = subprocess.run(line, stdout=subprocess.PIPE, stderr=nobody, cwd=tmp_path)
    assert result.returncode == 0
    assert result.stdout.count(b'"schema_version"') == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a disk that is always full")
def test_a_full_disk_behind_stdout_is_a_sentence(tmp_path):
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            command("transcribe", CHIRP, "-m", MODEL, "-l", "en", "-q"),
            stdout=full,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
        )
    assert result.returncode == 1
    assert result.stderr == b"Error: Standard output cannot be written: No space left on device.\n"


def test_what_the_encoding_lacks_is_escaped(tmp_path):
    """A locale without Unicode stopped the run at the first name or text with a foreign letter."""
    name = "größe.wav"
    (tmp_path / name).write_bytes(Path(CHIRP).read_bytes())
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    result = subprocess.run(
        command("transcribe", name, CHIRP, "-m", MODEL, "-l", "en"), capture_output=True, cwd=tmp_path, env=environment
    )
    assert result.returncode == 0
    assert rb"== gr\xf6\xdfe.wav ==" in result.stdout


LOCALES = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


@pytest.mark.parametrize("locale", LOCALES.values(), ids=LOCALES)
def test_all_but_plain_text_is_utf8_in_any_locale(locale, tmp_path):
    """Letters that the encoding lacks stood in JSON as escapes that it does not have; the locale C had a traceback."""
    environment = {**os.environ, **locale}
    environment.pop("PYTHONIOENCODING" if "LC_ALL" in locale else "LC_ALL", None)

    def written(*arguments: str) -> bytes:
        line = command(*arguments, "-m", "demo", "-l", "fr")
        result = subprocess.run(line, capture_output=True, cwd=tmp_path, env=environment)
        assert result.returncode == 0, result.stderr
        return result.stdout

    text = json.loads(written("transcribe", FRENCH, "-f", "json").decode("utf-8"))["text"]
    assert "déjeuner" in text
    assert written("transcribe", FRENCH) == text.encode("ascii", "backslashreplace") + b"\n"
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    assert "déjeuner" in written("align", FRENCH, "text.txt", "-f", "vtt").decode("utf-8")


def test_a_closed_stdout_is_a_sentence(tmp_path):
    """As by `>&-`. Python then has no stdout at all, which ended in a traceback; outputs in files need none."""
    line = [*command("transcribe", CHIRP, "-m", MODEL, "-l", "en", "-q")]
    closed = ["sh", "-c", 'exec "$@" >&-', "sh"]
    result = subprocess.run([*closed, *line], stderr=subprocess.PIPE, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (1, b"Error: Standard output cannot be written: it is closed.\n")
    assert subprocess.run([*closed, *line, "-o", "out"], stderr=subprocess.PIPE, cwd=tmp_path).returncode == 0
    assert (tmp_path / "out/chirp_2s3.txt").read_bytes() == TEXT + b"\n"
    assert subprocess.run([*closed, *command("models")], cwd=tmp_path, stderr=subprocess.DEVNULL).returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a disk that is always full")
@pytest.mark.parametrize("to", ["2>/dev/full", "2>&-"])
def test_a_stderr_that_cannot_be_written_does_not_stop_the_work(to, tmp_path):
    line = command("transcribe", CHIRP, "missing.wav", CHIRP, "-m", MODEL)
    result = subprocess.run(["sh", "-c", f'exec "$@" {to}', "sh", *line], stdout=subprocess.PIPE, cwd=tmp_path)
    assert result.returncode == 1  # for the one that is missing
    assert result.stdout.count(TEXT) == 2
    line = command("transcribe", CHIRP, "-m", MODEL, "-o", "out")
    assert subprocess.run(["sh", "-c", f'exec "$@" {to}', "sh", *line], cwd=tmp_path).returncode == 0


def test_progress_says_how_much_is_left(tmp_path):
    """Of one recording; of several it says how many are done."""
    with wave.open(CHIRP) as clip:
        parameters, sound = clip.getparams(), clip.readframes(clip.getnframes())
    with wave.open(str(tmp_path / "long.wav"), "wb") as file:
        file.setparams(parameters)
        file.writeframes(sound * 60)
    code, output = shown("transcribe", "long.wav", "-m", MODEL, "-l", "en", "--batch-size", "1", cwd=tmp_path)
    assert code == 0
    assert re.search(rb"\d:\d\d of 2:\d\d, about \d:\d\d left, \d+x real time", output)
    assert b" of sound, " in shown("transcribe", "long.wav", CHIRP, "-m", MODEL, "-l", "en", cwd=tmp_path)[1]


def test_what_was_known_before_says_nothing_about_the_speed(monkeypatch):
    """A run that went on promised to be done in no time: the first minutes came out of its notes."""
    clock = iter((0.0, 1.0, 3.0, 3.0))
    monkeypatch.setattr(cli_progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    bar = Progress(disable=True)
    progress = cli_progress.RecordingProgress(bar, 1, duration=100.0, known_until=80.0)
    progress.heard(Segment("known", 0.0, 80.0))
    assert bar.tasks[0].description == "1:20 known already"
    progress.heard(Segment("new", 80.0, 90.0))
    assert bar.tasks[0].description == "1:30 of 1:40, about 0:02 left, 5x real time"
