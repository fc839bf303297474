"""What the command line tells of the cache, of downloads and of licences."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_hub import DATA, NEMO, FakeHub, endpoint

from mlx_canary.cli.main import main
from mlx_canary.cli.progress import loading_progress
from mlx_canary.hub.fetch import fetch
from mlx_canary.hub.names import HubModel

pytest_plugins = ["hub_fixtures"]

FLASH = HubModel("nvidia/canary-180m-flash")


class Terminal(io.StringIO):
    """A stderr that somebody looks at."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def log() -> Iterator[None]:
    """`main` adds a handler; each test begins and ends without."""
    logger = logging.getLogger("mlx_canary")
    before = list(logger.handlers)
    yield
    logger.handlers[:] = before


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return int(end.value.code or 0)


def test_models_marks_what_is_in_the_cache(hub: FakeHub, caches: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hub.add("somebody/canary-tuned", {"x.nemo": NEMO})
    folder, tuned = fetch(FLASH), fetch(HubModel("somebody/canary-tuned"))
    n_requests = len(hub.requests)
    assert run("models") == 0
    blocks = capsys.readouterr().out.split("\ncanary")
    assert [f"downloaded: 1 MB in {folder}" in block for block in blocks] == [False, True, False, False, False]
    assert blocks[-1].splitlines()[-2:] == ["somebody/canary-tuned", f"  downloaded: 1 MB in {tuned}"]
    assert run("models", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert {name: row["folder"] for name, row in rows.items() if row["folder"]} == {"canary-180m-flash": str(folder)}
    assert len(hub.requests) == n_requests


def test_doctor_shows_the_cache(hub: FakeHub, caches: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fetch(FLASH)
    run("doctor")
    found = capsys.readouterr().out
    assert f"{caches / 'ours'}: nvidia/canary-180m-flash (1 MB); " in found
    assert "interrupted" not in found
    hub.add("a/b", {"b.nemo": NEMO})
    hub.cuts = [len(NEMO) // 2, 0]
    run("languages", "--model", "a/b")
    run("doctor")
    found = capsys.readouterr().out
    assert "1 MB of interrupted downloads" in found
    assert f"rm -r {caches / 'ours/.downloads'}" in found


def test_doctor_notices_a_cache_that_cannot_be(caches: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (caches / "ours").write_text("in the way")
    assert run("doctor") == 1
    assert "Set MLX_CANARY_CACHE to a folder that you can write to" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["canary-1b-v2", "nvidia/canary-1b-v2"])
def test_languages_of_a_published_model_need_no_download(
    caches: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """The hub cannot be reached here at all."""
    assert run("languages", "--model", name) == 0
    assert "Always writes punctuation" in capsys.readouterr().out


@pytest.mark.parametrize("language", ["ja", "auto:en,ja"])
def test_a_language_that_a_published_model_lacks_needs_no_download(
    caches: Path, capsys: pytest.CaptureFixture[str], language: str
) -> None:
    sound = str(DATA / "audio/speech_7s01.wav")
    assert run("transcribe", sound, "--model", "canary-180m-flash", "--language", language) == 1
    assert "canary-180m-flash does not know the spoken language 'ja'." in capsys.readouterr().err


def test_a_folder_comes_before_a_published_name(
    caches: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(caches)
    (caches / "canary-1b-v2").write_bytes((DATA / "models/canary2-flash.nemo").read_bytes())
    assert run("languages", "--model", "canary-1b-v2") == 0
    assert "Always writes punctuation" not in capsys.readouterr().out


def test_a_person_sees_what_happens(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Download, conversion, place and licence, one line each, and a bar; with the model in the cache none of it."""
    sound = str(DATA / "audio/speech_7s01.wav")
    monkeypatch.setattr(sys, "stderr", seen := Terminal())
    assert run("transcribe", sound, "--model", "canary-180m-flash", "--language", "en") == 0
    for line in (
        "Downloading canary-180m-flash.nemo of nvidia/canary-180m-flash, 1 MB.",
        "Converting canary-180m-flash.nemo, once.",
        "The weights of nvidia/canary-180m-flash have the licence CC-BY-4.0.",
    ):
        assert line in seen.getvalue().replace("\n", "")
    assert "Warning" not in seen.getvalue()
    monkeypatch.setattr(sys, "stderr", seen := Terminal())
    logging.getLogger("mlx_canary").handlers.clear()
    assert run("transcribe", sound, "--model", "canary-180m-flash", "--language", "en") == 0
    assert "licence" not in seen.getvalue()
    assert "Loading canary-180m-flash" in seen.getvalue()


def test_a_program_sees_nothing_but_the_licence_that_forbids(
    hub: FakeHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("nvidia/canary-1b", {"canary-1b.nemo": NEMO})
    sound = str(DATA / "audio/speech_7s01.wav")
    for name, seen in (
        ("canary-180m-flash", ""),
        ("canary-1b", "Warning: The weights of nvidia/canary-1b have the licence CC-BY-NC-4.0: no commercial use.\n"),
    ):
        logging.getLogger("mlx_canary").handlers.clear()
        assert run("transcribe", sound, "--model", name, "--language", "en") == 0
        assert capsys.readouterr().err == seen


def test_an_error_is_one_sentence(
    hub: FakeHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint(monkeypatch, "http://127.0.0.1:9")
    sound = str(DATA / "audio/speech_7s01.wav")
    assert run("transcribe", sound, "--model", "canary-180m-flash") == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: nvidia/canary-180m-flash cannot be downloaded from http://127.0.0.1:9")
    assert error.count("\n") == 1


def test_names_from_the_hub_are_not_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    """rich would read brackets in a file's name as colours, or fail."""
    monkeypatch.setattr(sys, "stderr", seen := Terminal())
    with loading_progress("[/x]") as tell:
        tell("Downloading [/red]", 1, 2)
        tell("Waiting", 0, 0)
        tell("Converting [bold]", 2, 2)
    assert "Converting [bold]" in seen.getvalue()
