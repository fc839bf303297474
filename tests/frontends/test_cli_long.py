"""The command line with long recordings, times, several languages, searches, resuming and alignment."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import wave
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import srt
from conftest import DATA, WAVS, clip, loaded, without_privileges

from mlx_canary import CanaryModel, TranscriptionOptions
from mlx_canary.backend import mx
from mlx_canary.longform.journal import Journal
from mlx_canary.transcriber import Transcriber
from mlx_canary.writers import WRITERS, files, read_json

RATE = 16000
INLINE, CTC, ATTENTION = (
    str(DATA / f"models/{name}.nemo") for name in ("canary2-flash", "canary2-unified", "canary1-agg-gz")
)
SPEECH, CHIRP, SHORT = (str(DATA / "audio" / WAVS[name]) for name in ("speech", "chirp", "short"))
TEXT = "Good morning everyone. The quick brown fox jumps over the lazy dog, while forty two sailors count the stars."


@pytest.fixture
def done(run):
    """The same where all goes well: stdout."""

    def command(*arguments: str | Path) -> str:
        code, out, err = run(*arguments)
        assert code == 0, err
        return out

    return command


@pytest.fixture
def decoded(monkeypatch) -> list[float]:
    """Where the windows begin that are decoded."""
    starts: list[float] = []
    decode = Transcriber.each

    def counted(transcriber, batches, batch_size):
        def told():
            for pieces in batches:
                starts.extend(piece.window.start for piece in pieces)
                yield pieces

        return decode(transcriber, told(), batch_size)

    monkeypatch.setattr(Transcriber, "each", counted)
    return starts


@pytest.fixture
def intruder(monkeypatch):
    """Makes files as soon as something is decoded, as another program might."""

    def occupy(*paths: Path) -> None:
        remaining, decode = list(paths), Transcriber.each

        def occupied(transcriber, batches, batch_size):
            while remaining:
                path = remaining.pop()
                path.parent.mkdir(exist_ok=True)
                path.touch()
            return decode(transcriber, batches, batch_size)

        monkeypatch.setattr(Transcriber, "each", occupied)

    return occupy


def write(path: Path, *parts: str | float, times: int = 1) -> Path:
    """A recording of clips by name and pauses in seconds."""
    samples = [clip(part) if isinstance(part, str) else np.zeros(round(part * RATE), np.float32) for part in parts]
    path.parent.mkdir(exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        block = (np.concatenate(samples) * 32767).astype("<i2").tobytes()
        for _ in range(times):
            file.writeframesraw(block)
    return path


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.iterdir())}


# Times and formats.


@pytest.mark.parametrize("format", sorted(WRITERS))
def test_every_format_on_stdout_and_in_a_file(format, done):
    common = ("transcribe", SPEECH, "-m", CTC, "-l", "en", "-f", format)
    out = done(*common)
    assert "fox" in out
    done(*common, "-o", "out")
    (written,) = texts(Path("out")).values()
    if format == "json":  # whose options are those of the run
        assert json.loads(written)["segments"] == json.loads(out)["segments"]
    else:
        assert written.strip() == out.strip()


def test_all_formats_at_once_are_from_one_listening(done, decoded):
    done("transcribe", SPEECH, CHIRP, "-m", CTC, "-l", "en", "-f", "all", "-o", "out")
    assert len(texts(Path("out"))) == 2 * len(WRITERS)
    assert len(decoded) == 2


@pytest.mark.parametrize(
    ("format", "asked", "n_segments", "n_words"),
    [
        ("json", [], 2, 19),
        ("json", ["--timestamps", "word"], 2, 19),
        ("json", ["--timestamps", "segment"], 2, 0),
        ("json", ["--timestamps", "none"], 1, 0),
    ],
)
def test_timestamps(format, asked, n_segments, n_words, done):
    transcript = read_json(done("transcribe", SPEECH, "-m", CTC, "-l", "en", "-f", format, *asked))
    assert (len(transcript.segments), len(transcript.words)) == (n_segments, n_words)
    assert transcript.text == TEXT


def test_plain_text_needs_no_times(done, monkeypatch):
    """Finding them would cost time for nothing."""
    monkeypatch.setattr(Transcriber, "_words", None)
    assert done("transcribe", SPEECH, "-m", CTC, "-l", "en") == f"{TEXT}\n"


def test_subtitles_of_a_long_recording(done):
    write(Path("long.wav"), "speech", 0.5, times=8)
    cues = list(srt.parse(done("transcribe", "long.wav", "-m", ATTENTION, "-l", "en", "-f", "srt")))
    assert len(cues) > 10
    for cue, following in pairwise(cues):
        assert cue.start < cue.end <= following.start
    assert cues[-1].end.total_seconds() <= 8 * 7.52
    assert max(len(line) for cue in cues for line in cue.content.splitlines()) <= 42


# Languages.


def test_names_of_translations(done, decoded):
    done("transcribe", SPEECH, "-m", ATTENTION, "-l", "en", "--also-translate", "de, es", "-f", "txt,srt", "-o", "out")
    names = [f"speech_7s01.{code}.{ext}" for code in ("de", "en", "es") for ext in ("srt", "txt")]
    assert sorted(texts(Path("out"))) == names
    assert decoded == [0.0]
    alone = done("translate", SPEECH, "-m", ATTENTION, "--from", "en", "--to", "de")
    assert texts(Path("out"))["speech_7s01.de.txt"] == alone


def test_translations_on_stdout_have_titles(done):
    out = done("transcribe", CHIRP, "-m", ATTENTION, "-l", "en", "--also-translate", "de")
    assert out.splitlines()[::2] == ["== en ==", "== de =="]


def test_bilingual_subtitles_are_one_file(done):
    arguments = ("transcribe", SPEECH, "-m", ATTENTION, "-l", "en", "--no-pnc", "--also-translate", "de", "--bilingual")
    done(*arguments, "-f", "srt,txt", "-o", "out")
    files = texts(Path("out"))
    assert sorted(files) == ["speech_7s01.de.txt", "speech_7s01.en-de.srt", "speech_7s01.en.txt"]
    both = " ".join(cue.content for cue in srt.parse(files["speech_7s01.en-de.srt"])).split()
    assert sorted(both) == sorted((files["speech_7s01.en.txt"] + files["speech_7s01.de.txt"]).split())
    assert done(*arguments, "-f", "srt") == files["speech_7s01.en-de.srt"]


def test_another_language_than_the_default_is_warned_of(run):
    """On stderr and in json, once."""
    clip = str(DATA / "demo/de_pico_2.flac")
    code, out, err = run("transcribe", clip, "-m", "demo", "-f", "json", "--also-translate", "fr", "-o", ".")
    assert (code, out) == (0, "")
    warning = f"{clip}: This sounds like German (de), but was taken for English (en), the model's default."
    assert err.count(f"Warning: {warning}") == err.count("sounds like") == 1
    for file in ("de_pico_2.en.json", "de_pico_2.fr.json"):
        (found,) = json.loads(Path(file).read_text(encoding="utf-8"))["warnings"]
        assert found == f"{warning} Say the language, or 'auto'."
    code, out, err = run("transcribe", clip, "-m", "demo", "-f", "json", "-l", "en")
    assert (code, json.loads(out)["warnings"]) == (0, [])
    assert "sounds like" not in err


def test_the_language_is_found_out(done, run):
    clip = str(DATA / "demo/de_pico_2.flac")
    text = done("transcribe", clip, "-m", "demo", "-l", "de")
    assert done("transcribe", clip, "-m", "demo", "-l", "auto") == text
    assert done("transcribe", clip, "-m", "demo", "-l", "Auto:FR,DE") == text
    code, out, err = run("transcribe", CHIRP, clip, "-m", "demo", "-l", "auto")
    assert (code, out) == (1, f"== {clip} ==\n{text}")
    assert "cannot be told for certain" in err
    assert f"Language: de (found out in {clip})" in err


# Searches.


def test_phrases_to_expect(done):
    Path("names.txt").write_text("Thank you\t2.5\n", encoding="utf-8")
    common = ("transcribe", CHIRP, "-m", ATTENTION, "-l", "en")
    assert done(*common, "--boost", "names.txt") == "Hello, the weather is cold.\n"
    assert done(*common, "--boost", "names.txt", "--boost-alpha", "10") == "Thank you\n"
    assert done(*common, "--boost", "names.txt", "--boost-alpha", "0") == "Hello, the weather is cold.\n"


@pytest.mark.parametrize(
    ("arguments", "stated"),
    [
        (["--beam-size", "4"], {"beam_size": 4}),
        (["--beam-size", "4", "--length-penalty", "1.5"], {"beam_size": 4, "length_penalty": 1.5}),
        (["--beam-size", "1"], {}),
        (["--temperature", "0.5", "--seed", "0"], {"temperature": 0.5, "seed": 0}),
        (["--confidence"], {"confidence": {"name": "max_prob", "alpha": 1.0}}),
        (["--lm", str(DATA / "decoding/tiny.arpa"), "--lm-alpha", "0.1"], {"language_model": {"alpha": 0.1}}),
    ],
)
def test_searches_are_stated_in_json(arguments, stated, done):
    document = json.loads(done("transcribe", CHIRP, "-m", CTC, "-l", "en", "-f", "json", *arguments))
    decoding = document["options"]["decoding"]
    assert set(decoding) == set(stated)
    for name, value in stated.items():
        assert value.items() <= decoding[name].items() if isinstance(value, dict) else decoding[name] == value


def test_n_best_in_json(done):
    common = ("transcribe", SPEECH, "-m", CTC, "-l", "en", "-f", "json", "--timestamps", "none")
    document = json.loads(done(*common, "--beam-size", "3", "--n-best", "3"))
    (segment,) = document["segments"]
    assert [set(one) for one in segment["n_best"]] == [{"text", "score"}] * 3
    assert segment["n_best"][0]["text"] == segment["text"]
    assert document["options"]["decoding"] == {"beam_size": 3, "n_best": 3}
    assert json.loads(done(*common))["segments"][0]["n_best"] == []


def test_confidence_in_json(done):
    common = ("transcribe", SPEECH, "-m", CTC, "-l", "en", "-f", "json")
    sure = json.loads(done(*common, "--confidence"))
    for segment in sure["segments"]:
        assert 0 < segment["confidence"] <= 1
        assert all(0 < word["confidence"] <= 1 for word in segment["words"])
    assert {segment["confidence"] for segment in json.loads(done(*common))["segments"]} == {None}


def test_beams_that_the_model_wants_are_kept(done, tmp_path):
    """Asking for confidence once turned them off."""
    done("convert", CTC, "-o", "model")
    config = json.loads(Path("model/config.json").read_text(encoding="utf-8"))
    config["decoding"] |= {"strategy": "beam", "beam_size": 3}
    Path("model/config.json").write_text(json.dumps(config), encoding="utf-8")

    def decoding(*arguments: str) -> dict[str, object]:
        document = json.loads(done("transcribe", CHIRP, "-m", "model", "-l", "en", "-f", "json", *arguments))
        return document["options"].get("decoding", {})

    assert decoding() == {}
    assert decoding("--confidence")["beam_size"] == 3
    assert "beam_size" not in decoding("--confidence", "--beam-size", "1")
    assert "beam_size" not in decoding("--temperature", "0.1")


def test_doubts_are_told_once_for_a_stretch(done, run):
    """And not once for each of its sentences. The model is one that finds no end."""
    done("convert", ATTENTION, "-o", "model")
    weights = dict(mx.load("model/model.safetensors"))
    ends = mx.arange(weights["head_bias"].size) == loaded("canary1-agg-gz").tokenizer.eos_id
    weights["head_bias"] = mx.where(ends, -100.0, weights["head_bias"])
    mx.save_safetensors("model/model.safetensors", weights)
    code, out, err = run("transcribe", SPEECH, "-m", "model", "-l", "en", "-f", "json", "-q")
    assert code == 0
    assert {tuple(segment["flags"]) for segment in json.loads(out)["segments"]} == {("unfinished",)}
    assert len(json.loads(out)["segments"]) > 1
    assert err.count("Warning") == 1
    assert "s: the text reached the model's limit before its end; the rest may be missing." in err


# Long recordings.


@pytest.mark.parametrize(("model", "timestamps"), [(INLINE, "none"), (CTC, "none"), (CTC, "word")])
def test_as_nemo_does_it(model, timestamps, done):
    write(Path("long.wav"), "speech", 0.5, times=6)
    common = ("transcribe", "long.wav", "-m", model, "-l", "en", "--timestamps", timestamps, "-f", "json")
    document = json.loads(done(*common, "--longform", "nemo"))
    assert document["options"]["longform"] == "nemo"
    options = TranscriptionOptions(
        language="en", longform="nemo", timestamps=None if timestamps == "none" else timestamps
    )
    expected = CanaryModel(loaded(Path(model).stem)).transcribe("long.wav", options=options)
    assert document["text"] == expected.text
    assert [segment["start"] for segment in document["segments"]] == [s.start for s in expected.segments]


LONG = ("-m", ATTENTION, "-l", "en", "--longest-window", "10", "--batch-size", "1", "-f", "json,srt")


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_killed_run_goes_on_where_it_stopped(done, decoded):
    """Its texts are those of a run that nobody stopped, and no window is decoded twice."""
    write(Path("long.wav"), "speech", 0.5, "chirp", 0.5, times=20)
    done("transcribe", "long.wav", *LONG, "-o", "whole")
    windows = decoded.copy()
    assert len(windows) > 20
    assert sorted(texts(Path("whole"))) == ["long.json", "long.srt"]

    arguments = [sys.executable, "-m", "mlx_canary", "transcribe", "long.wav", *LONG, "-o", "out"]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (notes := list(Path("out").glob(".long.wav.*.jsonl"))) or notes[0].read_bytes().count(b"\n") < 5:
        assert process.poll() is None, "it was done before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [path.name for path in Path("out").iterdir()] == [notes[0].name]
    noted = [json.loads(line)["window"][0] for line in notes[0].read_text().splitlines()[1:] if line.endswith("}")]
    assert 4 <= len(noted) < len(windows)

    decoded.clear()
    done("transcribe", "long.wav", *LONG, "-o", "out", "--resume")
    assert sorted(decoded) == sorted(set(windows) - set(noted))
    whole, resumed = texts(Path("whole")), texts(Path("out"))
    assert resumed == whole


@pytest.mark.parametrize(
    ("changed", "again"),
    [
        (["--resume"], 0),
        (["--resume", "--batch-size", "3"], 0),
        ([], 2),
        (["--resume", "--timestamps", "segment"], 2),
        (["--resume", "--no-guards"], 2),
        (["--resume", "--dtype", "float16"], 2),
        (["--resume", "-m", INLINE], 2),
    ],
)
def test_only_the_same_run_goes_on(changed, again, done, run, decoded, intruder):
    """Everything was heard, and then the text could not be written."""
    write(Path("long.wav"), "speech", 0.5, times=5)
    common = ("transcribe", "long.wav", "-m", ATTENTION, "-l", "en", "-f", "srt", "-o", "out")
    intruder(Path("out/long.srt"))
    code, _, err = run(*common)
    assert (code, len(decoded)) == (1, 2)
    assert "long.srt exists" in err
    Path("out/long.srt").unlink()
    code, _, err = run(*common, *changed)
    assert code == 0
    assert len(decoded) == 2 + again
    assert ("is of another model or other options; its recording is begun anew" in err) == (
        len(changed) > 1 and again > 0
    )
    assert list(texts(Path("out"))) == ["long.srt"]


@pytest.mark.parametrize("changed", ["model.nemo", "lm.arpa"])
def test_another_model_of_the_same_name_does_not_go_on(changed, done, run, decoded, intruder):
    """A fine-tune that went on has the same configuration, and other weights; a language model has its name only."""
    write(Path("long.wav"), "speech", 0.5, times=5)
    shutil.copy(ATTENTION, "model.nemo")
    shutil.copy(DATA / "decoding/tiny.arpa", "lm.arpa")
    search = ("--beam-size", "2", "--lm", "lm.arpa")
    common = ("transcribe", "long.wav", "-m", "model.nemo", "-l", "en", *search, "-f", "srt", "-o", "out")
    intruder(Path("out/long.srt"))
    run(*common)
    Path("out/long.srt").unlink()
    os.utime(changed, ns=(1, 1))
    done(*common, "--resume")
    assert len(decoded) == 4


def test_recordings_of_one_name_are_not_mixed_up(done, run, decoded, intruder):
    """Their notes once went into one file, and a resumed run gave one the other's text."""
    write(Path("a/talk.wav"), "speech")
    write(Path("b/talk.wav"), "chirp", 4.71)
    expected = {f"{name}.txt": done("transcribe", f"{name}/talk.wav", "-m", ATTENTION, "-l", "en") for name in "ab"}
    common = ("transcribe", "a/talk.wav", "b/talk.wav", "-m", ATTENTION, "-l", "en", "-o", "out")
    template = ("--output-template", "{parent}.{ext}")
    intruder(Path("out/a.txt"), Path("out/b.txt"))
    assert run(*common, *template)[0] == 1
    for name in expected:
        Path("out", name).unlink()
    decoded.clear()
    done(*common, *template, "--resume")
    assert texts(Path("out")) == expected
    assert decoded == []


def test_nothing_is_left_of_a_run_that_ended_well(done):
    done("transcribe", SPEECH, "-m", ATTENTION, "-l", "en", "-o", "out")
    assert list(texts(Path("out"))) == ["speech_7s01.txt"]


def outputs(folder: Path) -> dict[str, str]:
    """What is meant for people."""
    return {name: text for name, text in texts(folder).items() if not name.startswith(".")}


def test_nothing_is_promised_where_nothing_could_be_kept(tmp_path):
    """It said that what was finished is kept, though the disk was full."""
    limited = ["sh", "-c", 'ulimit -f 1; exec "$@"', "sh", sys.executable, "-m", "mlx_canary"]
    arguments = ("transcribe", SPEECH, "-m", CTC, "-l", "en", "-f", "json", "-o", ".")
    result = subprocess.run([*limited, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert "speech_7s01.json cannot be written: File too large" in result.stderr
    assert "is kept" not in result.stderr


TWO_OF_THREE = ("transcribe", "a/talk.wav", "late.wav", "b.wav", "-l", "en", "-f", "srt,txt", "-o", "out")


@pytest.fixture
def two_of_three(run):
    """A run in which one of three recordings failed."""
    write(Path("a/talk.wav"), "speech")
    write(Path("b.wav"), "chirp")
    code, _, err = run(*TWO_OF_THREE, "-m", ATTENTION)
    assert code == 1
    assert err.splitlines()[-1] == "What was finished is kept; the same command with --resume does the rest."
    assert list(outputs(Path("out"))) == ["b.srt", "b.txt", "talk.srt", "talk.txt"]


def test_resuming_leaves_alone_what_is_done(two_of_three, run, decoded):
    """Its outputs were in the way, and with --overwrite it was heard again."""
    before = outputs(Path("out"))
    code, _, err = run(*TWO_OF_THREE, "-m", ATTENTION, "--resume", "--overwrite")
    assert (code, decoded) == (1, [])
    write(Path("late.wav"), "short")
    code, _, err = run(*TWO_OF_THREE, "-m", ATTENTION, "--resume")
    assert (code, decoded) == (0, [0.0])
    assert f"a/talk.wav was done before: {Path('out/talk.srt')}, {Path('out/talk.txt')}" in err
    after = texts(Path("out"))
    assert sorted(after) == sorted([*before, "late.srt", "late.txt"])
    assert before.items() <= after.items()


def test_interrupted_between_recordings(done, run, decoded, monkeypatch):
    """Ctrl-C while the second of two is heard."""
    write(Path("a.wav"), "chirp")
    write(Path("b.wav"), "speech", 0.5, times=5)
    command = ("transcribe", "a.wav", "b.wav", "-m", ATTENTION, "-l", "en", "--batch-size", "1", "-o", "out")
    note = Journal.note

    def stop(journal, window, found):
        if "b.wav" in journal.path.name and window.start > 0:
            raise KeyboardInterrupt
        note(journal, window, found)

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "note", stop)
        assert run(*command)[0] == 130
    assert list(outputs(Path("out"))) == ["a.txt"]
    heard = decoded.copy()
    decoded.clear()
    done(*command, "--resume")
    assert 0.0 in heard
    assert 0.0 not in decoded
    assert list(texts(Path("out"))) == ["a.txt", "b.txt"]


def test_an_output_that_is_missing_is_written_without_hearing_again(two_of_three, run, decoded):
    before = outputs(Path("out"))
    Path("out/b.srt").unlink()
    Path("out/b.txt").write_text("changed by its reader")
    assert run(*TWO_OF_THREE, "-m", ATTENTION, "--resume")[0] == 1  # one recording is still not there
    assert decoded == []
    assert outputs(Path("out")) == {**before, "b.txt": "changed by its reader"}


def test_interrupted_between_two_outputs(done, run, monkeypatch):
    """Whoever had written the first was taken for another run."""
    write(Path("a.wav"), "chirp")
    command = ("transcribe", "a.wav", "-m", ATTENTION, "-l", "en", "-f", "txt,srt", "-o", "out")
    with monkeypatch.context() as patched:
        publish = files.write_file

        def stop(path, text, *, overwrite):
            if path.suffix == ".srt":
                raise KeyboardInterrupt
            publish(path, text, overwrite=overwrite)

        patched.setattr(files, "write_file", stop)
        assert run(*command)[0] == 130
    assert list(outputs(Path("out"))) == ["a.txt"]
    done(*command, "--resume")
    assert list(texts(Path("out"))) == ["a.srt", "a.txt"]


def test_a_recording_that_is_named_twice_has_notes_of_its_own_each_time(run, done):
    """Both were taken for done where one was."""
    write(Path("a.wav"), "chirp")
    command = ("transcribe", "a.wav", "a.wav", "late.wav", "-m", ATTENTION, "-l", "en", "-o", "out")
    command = (*command, "--output-template", "{n}.{ext}")
    assert run(*command)[0] == 1
    Path("out/1.txt").unlink()
    run(*command, "--resume")
    assert list(outputs(Path("out"))) == ["1.txt", "2.txt"]


def test_a_recording_that_has_another_number_now_is_not_done(run):
    """In another order, the first's text would count as the second's."""
    for name in ("a.wav", "b.wav"):
        write(Path(name), "chirp")
    common = ("late.wav", "-m", ATTENTION, "-l", "en", "-o", "out", "--output-template", "{n}.{ext}")
    assert run("transcribe", "a.wav", "b.wav", *common)[0] == 1
    code, _, err = run("transcribe", "b.wav", "a.wav", *common, "--resume")
    assert code == 1
    assert "was done before" not in err
    assert "out/1.txt and 1 more of the outputs exist. " in err


@pytest.mark.parametrize("change", ["recording", "format", "options", "subtitles"])
def test_only_outputs_of_the_same_run_are_left_alone(change, two_of_three, run):
    changed = {"format": ["-f", "vtt"], "options": ["--no-guards"], "subtitles": ["--max-lines", "1"]}
    if change == "recording":
        write(Path("b.wav"), "short")
    code, _, err = run(*TWO_OF_THREE, "-m", ATTENTION, "--resume", *changed.get(change, []))
    assert code == 1
    assert re.search(r"exists?\. Keep what exists", err.splitlines()[-1])


def test_a_run_that_starts_anew_forgets_the_last_one(two_of_three, run, monkeypatch):
    """Stopped at once, it would be resumed with the older run's outputs."""

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "note", stop)
    assert list(Path("out").glob(".*.jsonl"))
    assert run(*TWO_OF_THREE, "-m", ATTENTION, "--overwrite")[0] == 130
    assert not list(Path("out").glob(".*.jsonl"))


def test_whoever_forgot_to_resume_can_still_do_so(run, monkeypatch):
    """The hours that were noted were deleted before anything had taken their place, and without a word."""
    n_noted, note = 2, Journal.note

    def note_some(journal, window, texts):
        if journal.n_windows >= n_noted:
            raise KeyboardInterrupt
        note(journal, window, texts)

    write(Path("long.wav"), "speech", 0.5, "chirp", 0.5, times=4)
    command = ("transcribe", "long.wav", *LONG, "-o", "out")
    monkeypatch.setattr(Journal, "note", note_some)
    assert run(*command)[0] == 130
    (notes,) = Path("out").glob(".*.jsonl")
    before = notes.read_text()
    assert before.count("\n") == 1 + n_noted
    n_noted = 0
    code, _, err = run(*command)
    assert code == 130
    assert "long.wav is begun anew. With --resume it would go on" in err
    assert notes.read_text() == before


def test_another_model_does_not_go_on(run, done):
    write(Path("b.wav"), "chirp")
    command = ("transcribe", "b.wav", "late.wav", "-m", "model", "-l", "en", "-o", "out")
    done("convert", ATTENTION, "-o", "model")
    assert run(*command)[0] == 1
    done("convert", CTC, "-o", "model", "--overwrite")
    write(Path("late.wav"), "short")
    code, _, err = run(*command, "--resume")
    assert code == 1
    assert "out/b.txt exists." in err
    done(*command, "--overwrite")
    assert list(texts(Path("out"))) == ["b.txt", "late.txt"]


# Folders.


@pytest.fixture
def interviews() -> None:
    """Recordings in subfolders, and other files."""
    for name in ("interviews/b.wav", "interviews/2/a.WAV", "interviews/.hidden.wav", "interviews/.cache/x.wav"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        write(Path(name), "short")
    Path("interviews/notes.txt").write_text("mine")


def test_a_folder_stands_for_its_recordings(run, interviews):
    code, _, err = run("transcribe", "interviews", "-m", ATTENTION, "-l", "en", "-o", "out")
    assert code == 0
    assert err.splitlines() == [
        f"{Path('interviews/2/a.WAV')} -> {Path('out/2/a.txt')}",
        f"{Path('interviews/b.wav')} -> {Path('out/b.txt')}",
    ]
    out = run("transcribe", "interviews/", "-m", ATTENTION, "-l", "en")[1]
    assert out.splitlines()[::2] == ["== interviews/2/a.WAV ==", "== interviews/b.wav =="]
    assert run("transcribe", "interviews", "-m", "x", "-f", "srt")[0] == 2, "two do not fit on stdout"


def test_what_is_named_is_always_tried(run, interviews):
    """Whatever its name; and a folder without recordings does not stop the others."""
    Path("empty").mkdir()
    os.rename("interviews/b.wav", "interviews/recording")
    code, out, err = run("transcribe", "empty", "interviews/recording", "-m", ATTENTION, "-l", "en")
    assert (code, out) == (1, "== interviews/recording ==\nThank you!\n")
    assert err.startswith("Error: empty is a folder without recordings.")


def test_a_folder_that_grows(run, done, interviews, decoded):
    """As in a run every night: nothing that was done is heard again, and no model is loaded for nothing."""
    command = ("transcribe", "interviews", "-l", "en", "-f", "txt,srt", "-o", "out", "--skip-existing")
    done(*command, "-m", ATTENTION)
    assert run(*command, "-m", "no-such-model") == (0, "", "2 recordings are left out: all outputs exist.\n")
    write(Path("interviews/2/c.wav"), "chirp")
    decoded.clear()
    done(*command, "-m", ATTENTION)
    assert decoded == [0.0]
    Path("out/b.srt").unlink()
    Path("out/b.txt").write_text("changed by its reader")
    done(*command, "-m", ATTENTION)
    assert Path("out/b.srt").exists()
    assert Path("out/b.txt").read_text() == "changed by its reader"
    write(Path("others/b.wav"), "short")
    code, _, err = run(*command[:2], "others", *command[2:], "-m", ATTENTION)
    assert (code, "would be both" in err) == (1, True)


def test_a_folder_that_may_not_be_read_takes_no_other_with_it(run, interviews):
    """In a process of its own, which has no privileges."""
    Path("interviews/2").chmod(0)
    script = "import sys; from mlx_canary.cli.inputs import find_inputs; found = find_inputs(['interviews']); "
    script += "print([one.file for one in found.recordings], *found.problems)"
    line = [sys.executable, "-c", script]
    try:
        found = subprocess.run(line, preexec_fn=without_privileges, capture_output=True, text=True).stdout
    finally:
        Path("interviews/2").chmod(0o755)
    assert found == "['interviews/b.wav'] interviews/2 cannot be read: Permission denied.\n"


# What is wrong with a recording.


def test_a_recording_that_is_cut_off_says_so_in_json(run, done):
    whole = write(Path("talk.wav"), "speech").read_bytes()
    Path("cut.wav").write_bytes(whole[: len(whole) // 2])
    write(Path("quiet.wav"), 2.0)
    code, _, err = run("transcribe", "cut.wav", "talk.wav", "quiet.wav", "-m", CTC, "-l", "en", "-f", "json", "-o", ".")
    assert code == 0
    warnings = {name: json.loads(Path(f"{name}.json").read_text())["warnings"] for name in ("cut", "talk", "quiet")}
    assert [len(told) for told in warnings.values()] == [1, 0, 1]
    assert warnings["cut"][0].startswith("cut.wav is cut off or damaged: 3.5 s of its 7.0 s could be read")
    assert f"Warning: {warnings['cut'][0]}" in err
    assert warnings["quiet"] == ["Nothing was heard in quiet.wav."]
    assert warnings["quiet"][0] in err


@pytest.fixture
def address(tmp_path):
    """Of this test's folder, on loopback."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            return None

    def handler(*arguments):
        return Handler(*arguments, directory=str(tmp_path))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_what_is_secret_in_an_address_is_told_nowhere(run, address):
    """Its query stood in messages, in the JSON and in the name of the notes."""
    whole = write(Path("quiet.wav"), 2.0).read_bytes()
    Path("cut.wav").write_bytes(whole[: len(whole) // 2])
    files = [f"{address}/{name}.wav?key=hunter2" for name in ("cut", "missing")]
    code, _, err = run("transcribe", *files, "-m", CTC, "-l", "en", "-f", "json", "-o", "out")
    assert code == 1
    assert err.count(f"{address}/missing.wav") == 1, "an error names the recording once"
    assert f"Nothing was heard in {address}/cut.wav." in err
    document = json.loads(Path("out/cut.json").read_text())
    assert document["options"]["file"] == f"{address}/cut.wav"
    assert len(document["warnings"]) == 2
    noted = list(Path("out").glob(".*.unfinished.jsonl"))
    assert noted
    assert "hunter2" not in "".join([err, *map(str, noted), *(path.read_text() for path in Path("out").iterdir())])
    code, _, err = run("transcribe", *[f"{address}/cut.wav?key=hunter{n}" for n in "23"], "-m", CTC, "-o", "out")
    assert (code, err.count("cut.wav"), "hunter" in err) == (1, 2, False), "two outputs of one name"


MEASURED = """
import resource, sys
from mlx_canary.backend import mx
from mlx_canary.cli.main import main
from mlx_canary.longform.journal import Journal
try:
    main(sys.argv[1:])
finally:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(peak * (1 if sys.platform == "darwin" else 1024), file=sys.stderr)
"""


@pytest.mark.skipif(os.name == "nt", reason="resource")
def test_an_hour_needs_no_more_memory_than_five_minutes(tmp_path):
    """As samples, the hour alone is 230 MB. Most of it is silent here, to have it heard soon."""
    peaks = []
    for minutes in (5, 60):
        write(tmp_path / f"{minutes}.wav", *["speech", 0.5] * 2, 284.98, times=minutes // 5)
        arguments = ("transcribe", f"{minutes}.wav", "-m", CTC, "-l", "en", "-f", "srt", "--batch-size", "1", "-q")
        result = subprocess.run(
            [sys.executable, "-c", MEASURED, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert result.returncode == 0, result.stderr
        assert len(list(srt.parse(result.stdout))) >= minutes // 5
        peaks.append(int(result.stderr.split()[-1]))
    assert peaks[1] - peaks[0] < 50e6


# Alignment.


@pytest.mark.parametrize("model", [CTC, ATTENTION])
def test_align(model, done):
    Path("speech.txt").write_text(f"{TEXT[:26]}\n{TEXT[27:]}\n", encoding="utf-8")
    out = done("align", SPEECH, "speech.txt", "-m", model, "-f", "json")
    transcript = read_json(out)
    assert transcript.text == TEXT
    assert len(transcript.words) == 19
    cues = list(srt.parse(done("align", SPEECH, "speech.txt", "-m", model)))
    assert " ".join(" ".join(cue.content.split()) for cue in cues) == TEXT


def test_align_writes_files(done, run):
    Path("speech.txt").write_text(TEXT, encoding="utf-8")
    common = ("align", SPEECH, "speech.txt", "-m", CTC, "-f", "srt,vtt", "-o", "out")
    assert done(*common) == ""
    assert list(texts(Path("out"))) == ["speech_7s01.srt", "speech_7s01.vtt"]
    assert run(*common)[0] == 1
    done(*common, "--overwrite", "--highlight-words")
    assert "<u>" in texts(Path("out"))["speech_7s01.srt"]


@pytest.mark.parametrize(
    ("arguments", "holds"),
    [
        (["--max-duration", "1.5"], lambda cue: cue.end - cue.start <= timedelta(seconds=1.5)),
        (["--max-words", "2"], lambda cue: len(cue.content.split()) <= 2),
        (["--max-lines", "1", "--max-line-chars", "20"], lambda cue: len(cue.content) <= 20),
    ],
)
def test_the_shape_of_subtitles(arguments, holds, done):
    Path("speech.txt").write_text(TEXT, encoding="utf-8")
    common = ("align", SPEECH, "speech.txt", "-m", CTC)
    assert not all(map(holds, srt.parse(done(*common))))
    cues = list(srt.parse(done(*common, *arguments)))
    assert all(map(holds, cues))
    assert " ".join(" ".join(cue.content.split()) for cue in cues) == TEXT


def test_gaps_and_pauses_of_subtitles(done):
    Path("speech.txt").write_text(TEXT, encoding="utf-8")

    def cues(*arguments):
        common = ("align", SPEECH, "speech.txt", "-m", CTC, "--max-words", "4", "--min-duration", "0")
        return list(srt.parse(done(*common, *arguments)))

    def gaps(*arguments):
        return [(after.start - before.end).total_seconds() for before, after in pairwise(cues(*arguments))]

    assert min(gaps("--min-gap", "0")) == 0
    assert min(gaps("--min-gap", "0.1")) == pytest.approx(0.1)
    assert len(cues("--max-pause", "0.05")) > len(cues())


def test_align_reads_standard_input(tmp_path):
    arguments = [sys.executable, "-m", "mlx_canary", "align", SPEECH, "-", "-m", CTC, "-f", "json"]
    result = subprocess.run(arguments, input=TEXT.encode("utf-8-sig"), cwd=tmp_path, capture_output=True, timeout=60)
    assert read_json(result.stdout.decode()).text == TEXT


def test_align_leaves_the_byte_order_mark_out(done):
    """Editors on Windows write it; it stood in front of the first word of the subtitles."""
    Path("speech.txt").write_text(TEXT, encoding="utf-8-sig")
    assert read_json(done("align", SPEECH, "speech.txt", "-m", CTC, "-f", "json")).text == TEXT


def test_align_says_in_json_what_it_was_given_and_what_is_wrong_with_it(run):
    whole = write(Path("talk.wav"), "speech").read_bytes()
    Path("cut.wav").write_bytes(whole[: len(whole) // 2])
    Path("speech.txt").write_text(TEXT[:26], encoding="utf-8")
    code, out, err = run("align", "./cut.wav", "speech.txt", "-m", CTC, "-l", "en", "-f", "json")
    assert code == 0
    document = json.loads(out)
    assert document["model"] == loaded("canary2-unified").config.name
    assert document["options"] == {"file": "./cut.wav", "text": "speech.txt", "language": "en"}
    [warning] = document["warnings"]
    assert warning.startswith("./cut.wav is cut off or damaged: 3.5 s of its 7.0 s could be read")
    assert f"Warning: {warning}" in err


def test_align_says_once_that_a_text_is_hardly_what_is_said(run):
    Path("other.txt").write_text("The coat costs sixteen euros.", encoding="utf-8")
    code, out, err = run(
        "align", str(DATA / "demo/en_kokoro_1.flac"), "other.txt", "-m", "demo", "-l", "en", "-f", "json"
    )
    [warning] = json.loads(out)["warnings"]
    assert (code, err.count(warning)) == (0, 1)
    assert "Is it what is said?" in warning


def test_align_takes_a_language_in_capitals(done):
    Path("speech.txt").write_text(TEXT, encoding="utf-8")
    assert read_json(done("align", SPEECH, "speech.txt", "-m", CTC, "-f", "json", "-l", "EN")).source_lang == "en"


@pytest.mark.parametrize("text", ["", "\ufeff", " \n"])
def test_align_needs_a_text(run, text):
    """An empty one gave empty subtitles."""
    Path("empty.txt").write_text(text, encoding="utf-8")
    code, out, err = run("align", SHORT, "empty.txt", "-m", CTC)
    assert (code, out) == (1, "")
    assert "The text empty.txt is empty. Give the words that are spoken" in err


def test_align_says_what_does_not_fit(run):
    Path("much.txt").write_text(TEXT * 3, encoding="utf-8")
    code, out, err = run("align", SHORT, "much.txt", "-m", CTC)
    assert (code, out) == (1, "")
    assert "Is it the text of this recording?" in err
    code, out, err = run("align", SHORT, "missing.txt", "-m", CTC)
    assert (code, out) == (1, "")
    assert "The text missing.txt cannot be read" in err


# Combinations that make no sense: refused before anything is loaded.

CONFLICTS = {
    "boost-alpha alone": (["--boost-alpha", "2"], "--boost-alpha needs --boost."),
    "lm-alpha alone": (["--lm-alpha", "0.5"], "--lm-alpha needs --lm."),
    "one language in two": (["--bilingual"], "--bilingual needs --also-translate."),
    "length penalty alone": (["--length-penalty", "1"], "is for beam search"),
    "seed alone": (["--seed", "0"], "seed=0 is for sampling"),
    "beams and sampling": (["--beam-size", "4", "--temperature", "0.5"], "use one"),
    "negative temperature": (["--temperature", "-1"], "temperature=-1.0 must be a number from 0"),
    "no phrases": (["--boost", "missing.txt"], "missing.txt"),
    "negative strength": (["--boost", SPEECH + ".txt", "--boost-alpha", "-1"], "speech"),
    "nemo and beams": (["--longform", "nemo", "--beam-size", "4"], "--beam-size is not for --longform nemo"),
    "nemo and translations": (
        ["--longform", "nemo", "--also-translate", "de"],
        "--also-translate is not for",
    ),
    "nemo and windows": (["--longform", "nemo", "--longest-window", "20"], "--longest-window is not for"),
    "nemo and guards": (["--longform", "nemo", "--no-guards"], "--no-guards is not for --longform nemo"),
    "no choice": (["-l", "auto:en"], "language='auto:en' leaves no choice"),
    "nemo and auto": (["--longform", "nemo", "-l", "auto"], "the language must be said"),
    "nemo and resume": (["--longform", "nemo", "--resume", "-o", "out"], "--resume is not for --longform nemo"),
    "resuming stdout": (["--resume"], "--resume is for files"),
    "a window too long": (["--longest-window", "90"], "The longest window is 90 s; expected 1 to 60 s."),
    "a window of nothing": (["--longest-window", "0"], "The longest window is 0 s"),
    "unknown format": (["-f", "pdf"], "pdf"),
    "subtitles of three languages on stdout": (["-f", "srt", "--also-translate", "de,fr"], "Only one text fits"),
    "no line": (["-f", "srt", "--max-line-chars", "0"], "max_line_chars=0"),
    "n best without beams": (
        ["--n-best", "3", "-f", "json", "--timestamps", "none"],
        "n_best=3 texts need as many beams",
    ),
    "n best with times": (["--n-best", "3", "--beam-size", "3", "-f", "json"], "--n-best needs --timestamps none"),
    "n best in no place": (["--n-best", "2", "--beam-size", "2"], "--n-best needs --format json."),
    "confidence in no place": (["--confidence", "-f", "srt"], "--confidence needs --format json."),
    "subtitles in no file": (["--max-words", "3"], "--max-words needs --format srt, vtt, lrc or ass."),
    "lines of a table": (["--max-lines", "2", "-f", "tsv"], "--max-lines needs --format srt"),
    "pauses of a table": (["--max-pause", "1.5", "-f", "tsv"], "--max-pause needs --format srt"),
    "marks in json": (["--highlight-words", "-f", "json"], "--highlight-words needs --format srt"),
    "one text in two languages": (["--bilingual", "--also-translate", "de", "-o", "out"], "--bilingual needs --format"),
    "marks without times": (
        ["-f", "srt", "--highlight-words", "--timestamps", "none"],
        "needs the times of words, not --timestamps none",
    ),
    "marks of sentences": (["-f", "srt", "--highlight-words", "--timestamps", "segment"], "not --timestamps segment"),
    "times from nowhere": (["-f", "srt", "--times-from", "model", "--timestamps", "none"], "--times-from needs times"),
    "times in plain text": (["--times-from", "attention"], "--times-from needs times"),
    "kept and replaced": (["-o", "out", "--skip-existing", "--overwrite"], "either kept"),
    "names not known yet": (
        ["-o", "out", "--skip-existing", "-l", "auto", "--also-translate", "de"],
        "--skip-existing needs --language",
    ),
    "memory below zero": (["--memory-limit", "-1"], "-1.0 GB is not possible"),
}


@pytest.mark.parametrize("what", CONFLICTS)
def test_conflicts(what, run, tmp_path):
    """The model does not exist; nobody notices."""
    arguments, message = CONFLICTS[what]
    code, out, err = run("transcribe", SPEECH, "-m", "no-such-model", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["-", "-"], 2, "can be read once"),
        ([SPEECH, "t.txt", "-f", "srt,vtt"], 2, "Only one format fits on stdout"),
        ([SPEECH, "t.txt", "--overwrite"], 2, "--overwrite is for files"),
        ([SPEECH, "t.txt", "-f", "pdf"], 2, "pdf"),
        ([SPEECH, "t.txt", "-f", "json", "--highlight-words"], 2, "--highlight-words needs --format srt"),
        ([SPEECH, "t.txt", "--max-duration", "0.5"], 2, "min_duration=1 is above max_duration=0.5"),
        ([SPEECH, "missing.txt"], 1, "cannot be read"),
        ([SPEECH, "t.txt", "-f", "txt", "-o", "."], 1, "speech_7s01.txt exists"),
    ],
)
def test_conflicts_of_align(arguments, code, message, run):
    for name in ("t.txt", "speech_7s01.txt"):
        Path(name).write_text(TEXT, encoding="utf-8")
    got, out, err = run("align", *arguments, "-m", "no-such-model")
    assert (got, out) == (code, "")
    assert message in err
