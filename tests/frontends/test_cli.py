"""The command line: what goes to stdout, what to stderr, which exit code, and what is left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import wave
from contextlib import ExitStack
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import DATA, WAVS, Result, clip

from mlx_canary.cli.main import COMMANDS
from mlx_canary.config import LanguageConfig
from mlx_canary.load_models import load_model
from mlx_canary.network.build import parameters
from mlx_canary.version import __version__

MODEL = str(DATA / "models/canary2-flash.nemo")
SPEECH, CHIRP, SHORT = (str(DATA / "audio" / WAVS[name]) for name in ("speech", "chirp", "short"))
TEXTS = {
    SPEECH: "Good morning everyone. The quick brown fox jumps over the lazy dog, "
    "while forty two sailors count the stars.",
    CHIRP: "Hello, the weather is cold.",
    SHORT: "Thank you!",
}


def spawn(*arguments: str | Path, cwd: Path, **options) -> subprocess.Popen[bytes]:
    """The command as a process of its own."""
    command = [sys.executable, "-m", "mlx_canary", *map(str, arguments)]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


# Help.


@pytest.mark.parametrize("command", ["", *COMMANDS])
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_explains_itself(command, option, run):
    result = run(*([command] if command else []), option)
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"Usage: mlx-canary{' ' if command else ''}{command}")
    beginning = COMMANDS.get(command, "Commands:").split()[:3]
    assert " ".join(beginning) in result.out
    assert max(map(len, result.out.splitlines())) <= 80  # examples are not wrapped


def test_help_shows_every_command_without_loading_any(run):
    help_text = run("--help").out
    for name, line in COMMANDS.items():
        assert f"  {name} " in help_text
        assert line in help_text


def test_help_loads_nothing_heavy(tmp_path):
    """So that it appears at once: MLX and NumPy take a second to load. That of `serve` needed both."""
    code = (
        "import sys\nfrom mlx_canary.cli.main import COMMANDS, main\n"
        "for arguments in [['--help'], ['--version'], *([name, '--help'] for name in COMMANDS)]:\n"
        "    try: main(arguments)\n    except SystemExit as end: assert not end.code\n"
        "print('LOADED', *sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    modules = set(result.stdout.split("LOADED")[1].split())
    heavy = {"mlx", "numpy", "av", "sentencepiece", "soxr", "pydantic", "rich", "huggingface_hub"}
    assert not modules & heavy


def test_version(run):
    assert run("--version").out == f"mlx-canary, version {__version__}\n"


# What goes where.


def test_the_text_and_nothing_else_goes_to_stdout(run):
    result = run("transcribe", SPEECH, "-m", MODEL, "-l", "en")
    assert result == Result(0, TEXTS[SPEECH] + "\n", "")


def test_the_language_that_was_assumed_is_said(run):
    result = run("transcribe", CHIRP, "-m", MODEL)
    assert result == Result(0, TEXTS[CHIRP] + "\n", "Language: en (say another with --language)\n")


def test_several_texts_on_stdout_have_titles(run):
    result = run("transcribe", CHIRP, SHORT, "-m", MODEL, "-l", "en")
    assert result.out == f"== {CHIRP} ==\n{TEXTS[CHIRP]}\n== {SHORT} ==\n{TEXTS[SHORT]}\n"


def test_json_on_stdout_parses(run):
    result = run("transcribe", CHIRP, "-m", MODEL, "-l", "en", "-f", "json", "--timestamps", "none")
    found = json.loads(result.out)
    assert (result.code, result.err) == (0, "")
    assert TEXTS[CHIRP] in json.dumps(found)


def test_files_are_written_whole_where_they_belong(run, tmp_path):
    result = run("transcribe", SPEECH, CHIRP, "-m", MODEL, "-l", "en", "-o", "out/deep", "-f", "txt,json")
    assert (result.code, result.out) == (0, "")
    names = [f"{Path(file).stem}.{kind}" for file in (SPEECH, CHIRP) for kind in ("txt", "json")]
    assert sorted(p.name for p in (tmp_path / "out/deep").iterdir()) == sorted(names)
    assert (tmp_path / "out/deep/chirp_2s3.txt").read_text(encoding="utf-8") == TEXTS[CHIRP] + "\n"
    assert f"{CHIRP} -> " in result.err


def test_one_that_fails_does_not_stop_the_others(run, tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF????WAVE nothing")
    result = run("transcribe", CHIRP, "broken.wav", "missing.mp3", SHORT, "-m", MODEL, "-l", "en")
    assert result.code == 1
    assert TEXTS[CHIRP] in result.out
    assert TEXTS[SHORT] in result.out
    errors = [line for line in result.err.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 2
    assert "missing.mp3" in errors[0]  # before the long work
    assert "broken.wav" in errors[1]


def test_outputs_are_delivered_beside_a_failure(run, tmp_path):
    result = run("transcribe", "missing.mp3", CHIRP, "-m", MODEL, "-l", "en", "-o", "out")
    assert result.code == 1
    assert [p.name for p in (tmp_path / "out").iterdir() if not p.name.startswith(".")] == ["chirp_2s3.txt"]


def test_outputs_that_exist_are_replaced_only_when_asked(run, tmp_path):
    (tmp_path / "chirp_2s3.txt").write_text("mine")
    result = run("transcribe", CHIRP, "-m", "no-such-model", "-l", "en", "-o", ".")
    assert result.code == 1
    assert "chirp_2s3.txt exists" in result.err  # before the model is looked for
    assert "Keep what exists with --skip-existing, replace it with --overwrite" in result.err
    (tmp_path / "chirp_2s3.srt").touch()
    result = run("transcribe", CHIRP, "-m", "no-such-model", "-l", "en", "-o", ".", "-f", "txt,srt,vtt")
    assert "chirp_2s3.txt and 1 more of the outputs exist. " in result.err
    assert (tmp_path / "chirp_2s3.txt").read_text() == "mine"
    assert run("transcribe", CHIRP, "-m", MODEL, "-l", "en", "-o", ".", "--overwrite").code == 0
    assert (tmp_path / "chirp_2s3.txt").read_text() == TEXTS[CHIRP] + "\n"


def test_two_inputs_of_one_name_do_not_overwrite_each_other(run, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(CHIRP, tmp_path / folder / "talk.wav")
    result = run("transcribe", "a/talk.wav", "b/talk.wav", "-m", MODEL, "-l", "en", "-o", "out")
    assert result.code == 1
    assert "talk.txt would be both" in result.err
    assert "Tell them apart by an --output-template" in result.err
    assert not (tmp_path / "out").exists()
    template = ("--output-template", "{parent}-{stem}.{ext}")
    assert run("transcribe", "a/talk.wav", "b/talk.wav", "-m", MODEL, "-l", "en", "-o", "out", *template).code == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a-talk.txt", "b-talk.txt"]


def test_standard_input_is_a_recording(tmp_path):
    process = spawn("transcribe", "-", "-m", MODEL, "-l", "en", cwd=tmp_path, stdin=subprocess.PIPE)
    out, err = process.communicate(Path(CHIRP).read_bytes(), timeout=60)
    assert (process.returncode, out.decode(), err.decode()) == (0, TEXTS[CHIRP] + "\n", "")


def test_translate(run):
    result = run("translate", CHIRP, "-m", MODEL, "--from", "en", "--to", "de", "--no-pnc")
    assert result == Result(0, "das Wetter wird kalt\n", "")
    assert run("transcribe", CHIRP, "-m", MODEL, "-l", "en", "--task", "translate", "--target-lang", "de",
               "--no-pnc") == result  # fmt: skip


def test_codes_of_languages_may_be_written_in_capitals(run):
    assert run("transcribe", CHIRP, "-m", MODEL, "-l", "EN").out == TEXTS[CHIRP] + "\n"
    result = run("translate", CHIRP, "-m", MODEL, "--from", "En", "--to", "DE", "--no-pnc")
    assert result.out == "das Wetter wird kalt\n"


def test_silence_is_an_empty_line(run, tmp_path):
    with wave.open(str(tmp_path / "silence.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(bytes(64000))
    assert run("transcribe", "silence.wav", "-m", MODEL, "-l", "en") == Result(
        0, "\n", "Warning: Nothing was heard in silence.wav.\n"
    )


def test_another_track_of_a_film(run, tmp_path):
    with av.open(str(tmp_path / "film.mkv"), "w") as film, ExitStack() as opened:
        recordings = [opened.enter_context(av.open(path)) for path in (SPEECH, SHORT)]
        tracks = [film.add_stream_from_template(recording.streams.audio[0]) for recording in recordings]
        tracks[1].metadata["language"] = "fra"
        for recording, track in zip(recordings, tracks, strict=True):
            for packet in recording.demux():
                if packet.pts is not None:
                    packet.stream = track
                    film.mux(packet)
    for number, path in ((0, SPEECH), (1, SHORT)):
        for way in ("quiet", "nemo"):
            command = ("transcribe", "film.mkv", "-m", MODEL, "-l", "en", "--track", str(number), "--longform", way)
            assert run(*command).out.strip() == TEXTS[path]
    err = run("transcribe", "film.mkv", "-m", MODEL, "-l", "en", "--track", "2").err
    assert "has no sound track 2. It has 2, numbers 0, 1 (fr" in err


# Errors: a sentence on stderr, nothing on stdout, no traceback.

BAD = {
    "no command": ([], 2, "Usage"),
    "unknown command": (["transscribe"], 2, "No such command 'transscribe'"),
    "no file": (["transcribe", "-m", MODEL], 2, "Missing argument 'FILE...'"),
    "no model": (["transcribe", CHIRP], 2, "Missing option '--model'"),
    "what models there are": (["transcribe", CHIRP], 2, "Take 'demo', the small model that is included, or"),
    "groups of what": (["convert", "x.nemo", "--group-size", "32"], 2, "--group-size needs --bits."),
    "unknown option": (["transcribe", CHIRP, "-m", MODEL, "--pnc"], 2, "No such option"),
    "unknown language": (["transcribe", CHIRP, "-m", MODEL, "-l", "ja"], 1, "It knows: en, de, es, fr"),
    "unknown target": (["translate", CHIRP, "-m", MODEL, "--from", "en", "--to", "ja"], 1, "language 'ja'"),
    "same languages": (["translate", CHIRP, "-m", MODEL, "--from", "de", "--to", "de"], 2, "needs two languages"),
    "target without task": (["transcribe", CHIRP, "-m", MODEL, "--target-lang", "de"], 2, "is for --task translate"),
    "one text twice": (["transcribe", CHIRP, "-m", "x", "-l", "en", "--also-translate", "de,EN"], 2, "asked for twice"),
    "a language of no published model": (["transcribe", CHIRP, "-m", "canary-1b-v2", "-l", "ja"], 1, "language 'ja'"),
    "no published direction": (["translate", CHIRP, "-m", "canary-1b-v2", "--from", "de", "--to", "fr"], 1, "to 'fr'"),
    "nothing there": (["transcribe", "nope.wav", "-m", "canary-180m-flash", "-l", "en"], 1, "nope.wav: no such file"),
    "an empty folder": (["transcribe", ".", "-m", "canary-180m-flash"], 1, ". is a folder without recordings"),
    "an empty name of a model": (["transcribe", CHIRP, "-m", ""], 2, "the name is empty"),
    "a model of no name to measure": (["benchmark", "-m", ""], 2, "the name is empty"),
    "skipping stdout": (["transcribe", CHIRP, "-m", "x", "--skip-existing"], 2, "--skip-existing is for files"),
    "a name of nothing": (["transcribe", "", "-m", MODEL, "-l", "en"], 1, "its path is empty"),
    "another kind of address": (["transcribe", "ftp://x/y", "-m", MODEL, "-l", "en"], 1, "ftp addresses are not read"),
    "an address in capitals": (["transcribe", "HTTP://[", "-m", MODEL, "-l", "en"], 1, "is not a URL"),
    "a digit that is no number": (["transcribe", CHIRP, "-m", MODEL, "--channel", "²"], 2, "nor the number"),
    "unknown model": (["transcribe", CHIRP, "-m", "canary-2b"], 1, "There is no model 'canary-2b'"),
    "missing checkpoint": (["transcribe", CHIRP, "-m", "./x.nemo"], 1, "no such file or folder"),
    "a recording as model": (["transcribe", CHIRP, "-m", CHIRP], 1, "chirp_2s3.wav"),
    "a name too long": (["transcribe", CHIRP, "-m", "n" * 5000], 1, "no model"),
    "unknown format": (["transcribe", CHIRP, "-m", MODEL, "-f", "docx"], 2, "docx"),
    "two formats on stdout": (["transcribe", CHIRP, "-m", MODEL, "-f", "txt,json"], 2, "Only one text fits on stdout"),
    "overwriting stdout": (["transcribe", CHIRP, "-m", MODEL, "--overwrite"], 2, "--overwrite is for files"),
    "stdin twice": (["transcribe", "-", "-", "-m", MODEL], 2, "can be read once"),
    "a channel of no kind": (["transcribe", CHIRP, "-m", MODEL, "--channel", "left"], 2, "neither 'mix' nor"),
    "a channel too many": (["transcribe", CHIRP, "-m", MODEL, "-l", "en", "--channel", "7"], 1, "no channel 7"),
    "a track too many": (["transcribe", CHIRP, "-m", MODEL, "-l", "en", "--track", "1"], 1, "no sound track 1"),
    "a batch of none": (["transcribe", CHIRP, "-m", MODEL, "--batch-size", "0"], 2, "--batch-size"),
    "a folder as output file": (["transcribe", CHIRP, "-m", MODEL, "-o", "/dev/null/x"], 1, "/dev/null"),
    "context": (["transcribe", CHIRP, "-m", MODEL, "-l", "en", "--context", "<|de|>"], 1, "must be plain text"),
    "context too long": (["transcribe", CHIRP, "-m", MODEL, "-l", "en", "--context", "a " * 9000], 1, "leaves no room"),
    "convert nothing": (["convert", "missing.nemo"], 1, "here is no checkpoint at missing.nemo"),
    "convert a recording": (["convert", CHIRP, "-o", "x"], 1, "chirp_2s3.wav"),
    "convert with both": (["convert", MODEL, "-o", "x", "--bits", "4", "--preserve-keys"], 1, "would change"),
    "convert to three bits": (["convert", MODEL, "-o", "x", "--bits", "3"], 2, "--bits"),
    "verify nothing": (["verify"], 2, "Missing argument"),
    "languages of nothing": (["languages", "-m", "./x"], 1, "no such file or folder"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_mistakes_are_answered_in_a_sentence(what, run, tmp_path):
    arguments, code, message = BAD[what]
    result = run(*arguments)
    assert result.code == code
    assert message in result.err
    assert result.out == ""
    assert "Traceback" not in result.err
    assert list(tmp_path.iterdir()) == []


def test_verify_reports_on_stdout(run):
    result = run("verify", "nowhere")
    assert (result.code, result.err) == (1, "")
    assert result.out.startswith("Model creation: FAILED (nowhere is not a folder)\n")


# A conversion by commands.


def test_a_model_that_does_not_say_its_languages(run):
    """A warning for the run, not for each recording; and they can be named."""
    unified = DATA / "models/canary2-unified.nemo"
    result = run("transcribe", CHIRP, SHORT, "-m", unified, "-l", "zu", "-f", "txt", "-o", ".")
    assert result.code == 0, result.err
    assert result.err.count("Warning: canary2-unified does not say which languages it was trained on") == 1
    result = run("convert", unified, "-o", "named", "--languages", "EN, de")
    assert (result.code, "Note:" in result.out + result.err) == (0, False)
    result = run("transcribe", CHIRP, "-m", "named", "-l", "zu")
    assert result.code == 1
    assert "does not know the spoken language 'zu'. It knows: en, de." in result.err
    assert "Warning" not in result.err
    assert "(found 'e.n')" in run("convert", unified, "-o", "x", "--languages", "e.n").err


def test_convert_verify_transcribe(run, tmp_path):
    """The two-minute tour of the documents, with the default name of the folder."""
    shutil.copy(MODEL, tmp_path / "my-canary.nemo")
    result = run("convert", "my-canary.nemo")
    assert (result.code, result.err) == (0, "")
    assert "Of 208 tensors 205 were used once" in result.out
    assert result.out.endswith("Next: mlx-canary verify my-canary-mlx my-canary.nemo\n")
    assert run("verify", "my-canary-mlx", "my-canary.nemo").code == 0
    assert run("transcribe", CHIRP, "-m", "my-canary-mlx", "-l", "en").out == TEXTS[CHIRP] + "\n"
    again = run("convert", "my-canary.nemo")
    assert again.code == 1
    assert "already holds a converted model" in again.err
    assert run("convert", "my-canary.nemo", "--overwrite", "--bits", "8", "--group-size", "32", "-v").code == 0


def test_the_next_command_can_be_copied(run, tmp_path):
    """Also when the checkpoint lies elsewhere, in a folder with a space in its name."""
    (tmp_path / "my models").mkdir()
    shutil.copy(MODEL, tmp_path / "my models/x.nemo")
    out = run("convert", "my models/x.nemo", "-o", "out here").out
    assert out.splitlines()[-1] == "Next: mlx-canary verify 'out here' 'my models/x.nemo'"


def test_verbose_lists_what_was_ignored(run):
    result = run("convert", MODEL, "-o", "x", "--bits", "8", "--group-size", "32", "--verbose")
    assert "  ignored encoder.layers.0.conv.batch_norm.num_batches_tracked: counts training steps\n" in result.out
    assert "  not quantized decoder.embedding.token\n" in result.out


def test_models_and_languages(run):
    text = run("models")
    assert "canary-1b-v2" in text.out
    assert "CC-BY-NC-4.0" in text.out
    rows = json.loads(run("models", "--json").out)
    assert set(rows) >= {"canary-1b", "canary-180m-flash", "canary-1b-flash", "canary-1b-v2"}
    assert rows["canary-1b"]["license"] == "CC-BY-NC-4.0"
    assert list(rows["demo"]) == list(rows["canary-1b"])
    assert run("languages", "-m", MODEL).out.splitlines()[:2] == ["en  English", "de  German"]
    published = run("languages", "-m", "canary-1b-v2").out
    assert "lv  Latvian" in published
    assert "Always writes punctuation" in published
    unified = run("languages", "-m", DATA / "models/canary2-unified.nemo").out
    assert "does not say which languages it was trained on" in unified


def test_the_demo_is_what_is_said_of_it(run):
    """Its row is written by hand, for the list has to come at once."""
    row, demo = json.loads(run("models", "--json").out)["demo"], load_model("demo")
    assert row["license"] == demo.config.source.license
    assert LanguageConfig(**row["languages"]) == demo.config.languages
    assert row["word_times"] == demo.times_from == "attention"
    sizes = {name: array.size for name, array in parameters(demo.network)}
    del sizes["decoder.embedding.position"]  # a fixed table
    assert row["parameters"] == f"{sum(sizes.values()) / 1e6:.1f} M"


def test_the_model_may_come_from_the_environment(run, monkeypatch):
    monkeypatch.setenv("MLX_CANARY_MODEL", MODEL)
    assert run("transcribe", CHIRP, "-l", "en").out == TEXTS[CHIRP] + "\n"


# The machine.


def without_mlx(arguments: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command in a Python that has no MLX."""
    code = f"import sys\nsys.modules['mlx'] = None\nfrom mlx_canary.cli.main import main\nmain({arguments!r})"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=cwd)


@pytest.mark.parametrize("arguments", [["transcribe", CHIRP, "-m", MODEL], ["convert", MODEL], ["verify", "x"]])
def test_without_mlx_one_sentence_says_what_to_install(arguments, tmp_path):
    result = without_mlx(arguments, tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: MLX has no backend on this machine")
    assert "pip install 'mlx[cpu]'" in result.stderr
    assert result.stderr.count("\n") == 1


def test_without_mlx_help_models_and_doctor_still_work(tmp_path):
    assert without_mlx(["--help"], tmp_path).returncode == 0
    assert without_mlx(["models"], tmp_path).returncode == 0
    doctor = without_mlx(["doctor"], tmp_path)
    assert doctor.returncode == 1
    mlx = next(line for line in doctor.stdout.splitlines() if line.startswith("MLX "))
    assert "missing" in mlx
    assert "pip install 'mlx[cpu]'" in doctor.stdout
    assert "Python" in doctor.stdout


def test_doctor_finds_this_machine_in_order(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    result = run("doctor")
    assert result.err == ""
    for name in ("Python", "MLX", "BLAS", "Audio decoding", "Resampling", "Tokenizers", "Memory"):
        assert any(line.startswith(name) and "  ok  " in line for line in result.out.splitlines()), name


# Pipes and signals.


def test_a_reader_that_went_away_is_no_traceback(tmp_path):
    """As in `mlx-canary models | head -1`."""
    for arguments in (["models", "--json"], ["transcribe", CHIRP, "-m", MODEL, "-l", "en"]):
        process = spawn(*arguments, cwd=tmp_path)
        process.stdout.close()
        err = process.stderr.read().decode()
        process.stderr.close()
        assert process.wait(60) == 1
        assert err == ""


def long_recording(path: Path, minutes: float) -> Path:
    samples = np.concatenate([clip("speech"), np.zeros(8000, np.float32)])
    samples = np.resize(samples, int(minutes * 60 * 16000))
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_interrupted_by_the_user_no_half_written_file_is_left(tmp_path):
    """Only notes from which --resume goes on, under a hidden name."""
    long_recording(tmp_path / "long.wav", 30)
    arguments = ("transcribe", "long.wav", "-m", MODEL, "-l", "en", "-o", "out", "-f", "txt,json")
    # Whoever runs the tests in the background may ignore interruptions, and the process would inherit that.
    process = spawn(*arguments, cwd=tmp_path, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    notes = tmp_path / "out"
    deadline = time.monotonic() + 60
    while process.poll() is None and not list(notes.glob(".*.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == b""
    assert err.decode().strip().splitlines()[-1] == "Interrupted."
    assert "Traceback" not in err.decode()
    assert [p.name for p in notes.iterdir() if not p.name.startswith(".long.wav.")] == []


def test_one_text_of_a_pipe_appears_before_the_next_is_heard(tmp_path):
    """Results are flushed one by one, so that a reader of the pipe does not wait for the last."""
    long_recording(tmp_path / "long.wav", 10)
    process = spawn("transcribe", CHIRP, "long.wav", "-m", MODEL, "-l", "en", "--batch-size", "1", cwd=tmp_path)
    first = [process.stdout.readline().decode() for _ in range(2)]
    running = process.poll() is None
    process.kill()
    process.communicate()
    assert first == [f"== {CHIRP} ==\n", TEXTS[CHIRP] + "\n"]
    assert running


def test_a_single_text_appears_while_it_is_heard(tmp_path):
    """And in the end it is what a file would hold."""
    long_recording(tmp_path / "long.wav", 3)
    arguments = ("transcribe", "long.wav", "-m", MODEL, "-l", "en", "--batch-size", "1")
    process = spawn(*arguments, cwd=tmp_path)
    with process:
        first = process.stdout.readline()
        running = process.poll() is None
        rest, _ = process.communicate(timeout=300)
    assert running
    with spawn(*arguments, "-o", "out", cwd=tmp_path) as process:
        assert process.wait(300) == 0
    assert first + rest == (tmp_path / "out/long.txt").read_bytes()
