"""`evaluate` and `benchmark` on the command line: what is printed and written, exit codes, going on."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import DATA, WAVS

from mlx_canary import CanaryModel
from mlx_canary.cli.benchmark import _recordings as recordings_to_measure
from mlx_canary.evaluate import subjects

MODEL = str(DATA / "models/canary2-flash.nemo")
SPEECH, CHIRP, SHORT = (DATA / "audio" / WAVS[name] for name in ("speech", "chirp", "short"))
TEXTS = {
    SPEECH: "Good morning everyone. The quick brown fox jumps over the lazy cat, "
    "while forty two sailors count the stars.",
    CHIRP: "Hello, the weather is cold.",
    SHORT: "Thank you!",
}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """All three clips, and one word of the first is not what is said."""
    path = tmp_path / "clips.jsonl"
    lines = [json.dumps({"audio_filepath": str(audio), "text": text, "lang": "en"}) for audio, text in TEXTS.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_json_to_a_pipe_needs_no_notes(run, manifest: Path, tmp_path: Path) -> None:
    """They were written beside it, which for /dev/stdout nobody but root may."""
    manifest.write_text(manifest.read_text(encoding="utf-8") + "{}\n", encoding="utf-8")  # fails, so notes would stay
    os.mkfifo("pipe")
    with ThreadPoolExecutor() as reader:
        read = reader.submit(Path("pipe").read_text, encoding="utf-8")
        assert run("evaluate", manifest, "--model", MODEL, "--json", "pipe").code == 1
        assert json.loads(read.result())["n_failed"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clips.jsonl", "pipe"]


def test_scores_are_printed_and_written(run, manifest: Path, tmp_path: Path) -> None:
    """One word of 27 is wrong; 'forty two' becomes one word when normalised."""
    result = run("evaluate", manifest, "--model", MODEL, "--json", "scores/clips.json")
    assert result.code == 0
    assert "lazy cat" in result.out.partition("Worst files:")[2]
    report = json.loads((tmp_path / "scores/clips.json").read_text(encoding="utf-8"))
    assert (report["n_files"], report["n_failed"], report["model"]) == (
        3,
        0,
        CanaryModel.from_pretrained(MODEL).config.name,
    )
    english = report["languages"]["en"]["wer"]
    assert english["raw"] == pytest.approx(1 / english["n_reference"])
    assert english["normalised"] == pytest.approx(1 / english["n_reference_normalised"])
    assert report["rtfx"] > 0
    assert [path.name for path in (tmp_path / "scores").iterdir()] == ["clips.json"], "no notes are left"


def test_failures_are_told_and_the_others_scored(run, manifest: Path, tmp_path: Path) -> None:
    with manifest.open("a", encoding="utf-8") as file:
        file.write("{broken\n" + json.dumps({"audio_filepath": "missing.wav", "text": "x", "lang": "en"}) + "\n")
    result = run("evaluate", manifest, "--model", MODEL)
    assert result.code == 1
    assert "3 files" in result.out
    assert "Not scored: 2" in result.out
    assert "line 4: not JSON" in result.out
    assert f"\n  {manifest.parent}/missing.wav: no such file." in result.out
    assert f"Error: {manifest.parent}/missing.wav: no such file." in result.err


def fail_with_a_missing_file(run, manifest: Path) -> tuple[object, ...]:
    """An evaluation that leaves notes; its command."""
    with manifest.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"audio_filepath": "late.wav", "text": "Thank you!", "lang": "en"}) + "\n")
    command = ("evaluate", manifest, "--model", MODEL, "--json", "x.json")
    assert run(*command).code == 1
    return command


def noted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which recordings are heard from now on."""
    asked: list[str] = []
    real = CanaryModel.transcribe_each
    monkeypatch.setattr(
        CanaryModel,
        "transcribe_each",
        lambda self, requests, **more: asked.extend(str(r[0]) for r in requests) or real(self, requests, **more),
    )
    return asked


def test_other_weights_do_not_go_on(run, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that went on has the same name and configuration."""
    command = fail_with_a_missing_file(run, manifest)
    asked = noted(monkeypatch)
    assert run(*command, "--resume").code == 1
    assert asked == [str(tmp_path / "late.wav")]
    monkeypatch.setattr(CanaryModel, "fingerprint", "of other weights")
    assert run(*command, "--resume").code == 1
    assert len(asked) == 1 + 4


def test_going_on(run, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failure the notes stay; with --resume only what failed is heard."""
    late = tmp_path / "late.wav"
    command = fail_with_a_missing_file(run, manifest)
    assert (tmp_path / ".x.json.unfinished.jsonl").exists()
    before = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    shutil.copyfile(SHORT, late)
    asked = noted(monkeypatch)
    assert run(*command, "--resume").code == 0
    assert asked == [str(late)]
    after = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    assert after["files"][:3] == before["files"]
    assert after["n_files"] == 4
    assert not (tmp_path / ".x.json.unfinished.jsonl").exists()
    for again in (command, (*command, "--resume")):  # there is nothing to go on from
        result = run(*again)
        assert result.code == 1
        assert "x.json exists" in result.err
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == after
    assert run(*command, "--overwrite").code == 0


def test_folder_with_translations(run, tmp_path: Path) -> None:
    for audio, text in ((CHIRP, "Hallo, das Wetter ist kalt."), (SHORT, "Danke!")):
        shutil.copyfile(audio, tmp_path / audio.name)
        (tmp_path / audio.with_suffix(".txt").name).write_text(text, encoding="utf-8")
    result = run("evaluate", tmp_path, "--model", MODEL, "-l", "en", "--target-lang", "de", "--json", "out/x.json")
    assert result.code == 0
    report = json.loads((tmp_path / "out/x.json").read_text(encoding="utf-8"))
    assert list(report["languages"]) == ["en->de"]
    assert report["languages"]["en->de"]["translation"]["chrf"] >= 0
    assert report["transcripts"] is None
    assert "BLEU" in result.out
    assert "WER" not in result.out


def test_text_that_is_no_unicode_costs_no_scores(run, tmp_path: Path) -> None:
    """Half a surrogate pair, as programs that cut strings leave it, ended in a traceback after all the work."""
    (tmp_path / "x.jsonl").write_text(
        json.dumps({"audio_filepath": str(SHORT), "text": "Thank you!\ud83d", "lang": "en"})
    )
    assert run("evaluate", "x.jsonl", "-m", MODEL, "--json", "x.json").code == 0
    (file,) = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))["files"]
    assert file["reference"] == "Thank you!\ud83d"


def test_scores_that_cannot_be_written_leave_the_old_ones(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    (tmp_path / "speed.json").write_text("old")
    result = run("benchmark", "-m", MODEL, "--seconds", "1", "--repeats", "1", "--json", "speed.json", "--overwrite")
    assert (result.code, result.err.splitlines()[-1]) == (
        1,
        "Error: speed.json cannot be written: No space left on device.",
    )
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("speed.json", "old")]


def test_missing_extra_is_told_before_the_work(run, manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jiwer", None)
    result = run("evaluate", manifest, "--model", "not even looked for")
    assert result.code == 1
    assert "pip install jiwer sacrebleu whisper-normalizer" in result.err
    assert result.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("evaluate", "clips.jsonl", "--resume", "-m", "demo"), 2, "--resume needs a --json FILE"),
        (("evaluate", "clips.jsonl", "--resume", "--json", "/dev/stdout", "-m", "demo"), 2, "needs a --json FILE"),
        (("evaluate", "nothing.jsonl", "-m", "demo"), 1, "nothing.jsonl cannot be read as a manifest: No such file"),
        (("evaluate", SPEECH, "-m", "not even looked for"), 1, "it is no text in UTF-8. Expected: lines of JSON with"),
        (("evaluate", __file__, "-m", "not even looked for"), 1, "has nothing to evaluate (line 1: not JSON"),
        (("benchmark",), 2, "Say which model"),
        (("benchmark", "-m", "demo", "--random", "canary-1b"), 2, "either --model or --random"),
        (("benchmark", "-m", "demo", "--audio", "a.wav", "--seconds", "3"), 2, "either --audio or --seconds"),
        (("benchmark", "-m", "demo", "--batch-size", "1,x"), 2, "--batch-size"),
        (("benchmark", "-m", "demo", "--dtype", "float64"), 2, "'float64' is not one of"),
        (("benchmark", "--random", "canary-2b"), 1, "'canary-2b' is not a published model"),
        (("benchmark", "-m", MODEL, "--audio", "missing.wav"), 1, "missing.wav"),
        (("benchmark", "-m", MODEL, "--audio", "HTTP://["), 1, "is not a URL"),
        (("benchmark", "-m", "not even looked for", "--json", "clips.jsonl"), 1, "clips.jsonl exists"),
        (("benchmark", "-m", "not even looked for", "--json", "/dev/stdout"), 1, "There is no model"),
        (("benchmark", "-m", "not even looked for", "--json", "."), 1, ". is a folder"),
        (("evaluate", "clips.jsonl", "-m", "not even looked for", "--json", "."), 1, ". is a folder"),
        (
            ("evaluate", "clips.jsonl", "-m", "not even looked for", "--json", "clips.jsonl/x.json"),
            *(1, "clips.jsonl/x.json cannot be written: clips.jsonl is not a folder"),
        ),
        (
            ("evaluate", "clips.jsonl", "-m", "not even looked for", "--json", "./clips.jsonl", "--overwrite"),
            *(1, "clips.jsonl is what this command reads"),
        ),
        (
            ("evaluate", "clips.jsonl", "-m", "not even looked for", "--json", SPEECH, "--overwrite"),
            *(1, "is what this command reads"),
        ),
        (
            ("benchmark", "-m", "not even looked for", "--audio", SHORT, "--json", SHORT, "--overwrite"),
            *(1, "is what this command reads"),
        ),
    ],
)
def test_what_makes_no_sense_is_refused(run, manifest: Path, arguments, code: int, message: str) -> None:
    result = run(*arguments)
    assert result.code == code
    assert message in result.err


def test_what_is_secret_in_an_address_is_no_name() -> None:
    [(name, source)] = recordings_to_measure({"audio": ["https://example.org/a.wav?key=1"]})
    assert (name, source) == ("https://example.org/a.wav", "https://example.org/a.wav?key=1")


def test_benchmark_of_a_checkpoint(run, tmp_path: Path) -> None:
    """Every combination has its numbers."""
    result = run(
        *("benchmark", "-m", MODEL, "--audio", CHIRP, "--batch-size", "1,2", "--bits", "none,4", "--repeats", "1"),
        *("--dtype", "float32,bfloat16", "--json", "speed.json"),
    )
    assert result.code == 0
    assert "x real time" in result.out
    report = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))
    conditions = [(case["dtype"], case["bits"], case["batch_size"]) for case in report["cases"]]
    assert conditions == [(d, b, n) for d in ("float32", "bfloat16") for b in (None, 4) for n in (1, 2)]
    assert not report["random_weights"]
    assert all(case["rtfx"]["median"] > 0 for case in report["cases"])


def test_benchmark_with_random_weights(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a published model's shape with fewer layers; MLX_CANARY_MODEL does not stand in the way of --random."""
    monkeypatch.setenv("MLX_CANARY_MODEL", "demo")
    real = subjects.published_config

    def smaller(name, dtype, bits):
        config = real(name, dtype, bits)
        encoder, decoder = (part.model_copy(update={"n_layers": 1}) for part in (config.encoder, config.decoder))
        return config.model_copy(update={"encoder": encoder, "decoder": decoder})

    monkeypatch.setattr(subjects, "published_config", smaller)
    command = ("benchmark", "--random", "canary-180m-flash", "--seconds", "1,2", "--repeats", "1", "--json", "x.json")
    assert run(*command).code == 0
    report = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    assert [case["n_tokens"] for case in report["cases"]] == [4, 8]
    assert report["random_weights"]
    assert report["model"] == "canary-180m-flash"
