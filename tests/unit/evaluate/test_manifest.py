"""Manifests and folders become items; what makes no sense becomes a problem, and the rest counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlx_canary import EvaluationError, Word
from mlx_canary.evaluate.manifest import Item, read_manifest


def written(folder: Path, *lines: object) -> Path:
    path = folder / "manifest.jsonl"
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


def test_keys_of_nemo(tmp_path: Path) -> None:
    """`lang` is the older name of `source_lang`; keys that mean nothing here are left alone."""
    full = {
        "audio_filepath": "a.wav",
        "text": "Hi.",
        "source_lang": "de",
        "target_lang": "en",
        "duration": 2,
        "pnc": "yes",
    }
    path = written(tmp_path, full, "", {"audio_filepath": "/b/c.wav", "text": "", "lang": "fr"})
    manifest = read_manifest(path)
    assert manifest.problems == ()
    first, second = manifest.items
    # Without an offset the whole file is meant; what the manifest says of its length is not needed.
    assert first == Item("a.wav", 1, tmp_path / "a.wav", "Hi.", source_lang="de", target_lang="en")
    assert second == Item("/b/c.wav", 3, Path("/b/c.wav"), "", source_lang="fr")


def test_parts_and_word_times(tmp_path: Path) -> None:
    words = [{"word": "Hi", "start": 0.1, "end": 0.4}, {"text": "you", "start": 0.5, "end": 1}]
    path = written(tmp_path, {"audio_filepath": "a", "text": "Hi you", "offset": 3, "duration": 1.5, "words": words})
    (item,) = read_manifest(path).items
    assert (item.offset, item.duration) == (3.0, 1.5)
    assert item.words == (Word("Hi", 0.1, 0.4), Word("you", 0.5, 1.0))


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ({"text": "a"}, "lacks audio_filepath"),
        ({"audio_filepath": "a"}, "lacks text"),
        ({"audio_filepath": "a", "text": 3}, "text=3 is not a text"),
        ({"audio_filepath": "a", "text": "a", "offset": -1}, "offset=-1 is not a number of seconds"),
        ('{"audio_filepath": "a", "text": "a", "offset": NaN}', "offset=nan"),
        ({"audio_filepath": "a", "text": "a", "offset": 10**400}, f"offset={10**99} is not a number of seconds"),
        ("[" * 200_000, "its JSON is nested too deeply"),
        ({"audio_filepath": "a", "text": "a", "words": 3}, "words is not a list"),
        ({"audio_filepath": "a", "text": "a", "words": [3]}, "not an object"),
        (
            {"audio_filepath": "a", "text": "a", "words": [{"word": "a", "start": 1}]},
            "lacks text .or word., start or end",
        ),
    ],
)
def test_broken_line_is_a_problem_and_the_others_count(tmp_path: Path, line: object, error: str) -> None:
    manifest = read_manifest(written(tmp_path, line, {"audio_filepath": "b", "text": "b"}))
    assert [item.line for item in manifest.items] == [2]
    (problem,) = manifest.problems
    assert (problem.name, problem.line) == ("line 1", 1)
    assert problem.error.startswith(error) or error.replace(".", "") in problem.error.replace("(", "").replace(")", "")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_only_line_breaks_end_a_line(tmp_path: Path, end: str) -> None:
    """NeMo writes texts as they are, and Unicode knows more ends of lines than JSON Lines do."""
    texts = ["one\u2028two", "one\u0085two", "one\u2029two", "one\x7ftwo"]
    lines = [json.dumps({"audio_filepath": "a.wav", "text": text}, ensure_ascii=False) for text in texts]
    path = tmp_path / "manifest.jsonl"
    path.write_text(end.join(lines), encoding="utf-8", newline="")
    manifest = read_manifest(path)
    assert manifest.problems == ()
    assert [(item.line, item.text) for item in manifest.items] == list(enumerate(texts, 1))


def test_home_of_nobody_is_a_name_as_any_other(tmp_path: Path) -> None:
    (item,) = read_manifest(written(tmp_path, {"audio_filepath": "~nobody here/a.wav", "text": "a"})).items
    assert item.audio == tmp_path / "~nobody here/a.wav"


def test_endings_in_capitals(tmp_path: Path) -> None:
    (tmp_path / "one.wav").touch()
    (tmp_path / "one.TXT").write_text("Hello.")
    (tmp_path / "two.TXT").touch()
    manifest = read_manifest(tmp_path)
    assert [item.text for item in manifest.items] == ["Hello."]
    assert [problem.name for problem in manifest.problems] == ["two.TXT"]


def test_folder(tmp_path: Path) -> None:
    """Texts lie beside their recordings, in folders of any depth; what has no counterpart is told."""
    (tmp_path / "de").mkdir()
    for name, text in {
        "one.wav": "",
        "one.txt": "Hello\n there.\n",
        "de/zwei.FLAC": "",
        "de/film.mpg": "",
        "de/film.txt": "Drei.",
        "de/zwei.txt": "Hallo.",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    for name in ("lonely.mp3", "forgotten.txt", "notes.json", ".hidden.txt", "latin.wav", ".trash/old.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "latin.txt").write_bytes("Grüß Gott.".encode("latin-1"))
    manifest = read_manifest(tmp_path)
    assert {item.name: item.text for item in manifest.items} == {
        "de/film.mpg": "Drei.",
        "de/zwei.FLAC": "Hallo.",
        "one.wav": "Hello there.",
    }
    assert {problem.name: problem.error for problem in manifest.problems} == {
        "latin.wav": "latin.txt is no text in UTF-8",
        "lonely.mp3": "has no lonely.txt beside it",
        "forgotten.txt": "has no recording beside it",
    }


def test_nothing_to_evaluate(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="has nothing to evaluate"):
        read_manifest(tmp_path)
    with pytest.raises(EvaluationError, match="cannot be read as a manifest"):
        read_manifest(tmp_path / "missing.jsonl")
