"""The demo model, which was trained: what NeMo writes for its recordings, and when its words are said."""

from __future__ import annotations

import json
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from conftest import DATA

from mlx_canary import CanaryModel, TranscriptionOptions
from mlx_canary.load_models import DEMO

FOLDER = DATA / "demo"
ROWS = [json.loads(line) for line in (FOLDER / "clips.jsonl").read_text(encoding="utf-8").splitlines()]
TIMED = [row for row in ROWS if "words" in row]
LANGUAGES = ("en", "de", "es", "fr")


def recordings(rows, **more):
    """The rows, each under its file's name."""
    return pytest.mark.parametrize("row", [pytest.param(row, id=row["audio_filepath"]) for row in rows], **more)


@pytest.fixture(scope="module")
def with_aligner(tmp_path_factory) -> CanaryModel:
    """The same model with its aligner in one file, as canary-1b-v2 has it."""
    path = tmp_path_factory.mktemp("aligner") / "demo-with-aligner.nemo"
    join(DEMO, FOLDER / "aligner.tar", path)
    return CanaryModel.from_pretrained(path)


def join(model: Path, aligner: Path, out: Path) -> None:
    with tarfile.open(model) as first, tarfile.open(aligner) as second, tarfile.open(out, "w") as both:
        for archive in (first, second):
            for member in archive.getmembers():
                data = archive.extractfile(member).read() if member.isfile() else b""
                if member.name.endswith("model_config.yaml") and archive is first:
                    data = data.replace(b"restore_timestamps_model: false", b"restore_timestamps_model: true")
                member.size = len(data)
                both.addfile(member, BytesIO(data))


@recordings(ROWS)
def test_texts_are_nemos(demo, row):
    """The spoken language and three translations, in float32 from the same half-precision file."""
    for target in LANGUAGES:
        task = "transcribe" if target == row["lang"] else "translate"
        found = demo.transcribe(FOLDER / row["audio_filepath"], language=row["lang"], task=task, target_lang=target)
        assert found.text == row["nemo"][target], target


@recordings(TIMED)
def test_asking_for_times_changes_no_word(demo, row):
    """Its own time tokens would (docs/accuracy.md), so times come from attention unless they are asked for."""
    path, lang = FOLDER / row["audio_filepath"], row["lang"]
    looked, own = (
        demo.transcribe(path, options=TranscriptionOptions(lang, timestamps="word", times_from=way))
        for way in ("attention", "model")
    )
    found = demo.transcribe(path, language=lang, timestamps="word")
    assert found.text == row["nemo"][lang]
    assert found.words == looked.words != own.words


def test_the_decoder_looks_at_words_when_they_begin(demo):
    """Where it finds the right words; a frame is 80 ms long."""
    found = [demo.transcribe(FOLDER / r["audio_filepath"], language=r["lang"], timestamps="word") for r in TIMED]
    right = [(text, row) for text, row in zip(found, TIMED, strict=True) if text.text == row["text"]]
    errors = [error for text, row in right for error in start_errors(text, row)]
    assert np.median(errors) <= 0.08
    assert np.quantile(errors, 0.9) <= 0.16


def start_errors(found, row):
    words = [word for segment in found.segments for word in segment.words]
    assert [word.text for word in words] == row["text"].split()
    return [abs(word.start - start) for word, (_, start, _) in zip(words, row["words"], strict=True)]


def test_the_aligner_knows_when_known_words_begin(with_aligner):
    """Frames are 80 ms long; a word is found in the right one or in a neighbour."""
    errors = [
        error
        for row in TIMED
        for error in start_errors(
            with_aligner.align(FOLDER / row["audio_filepath"], row["text"], language=row["lang"]), row
        )
    ]
    assert np.median(errors) <= 0.08
    assert np.quantile(errors, 0.9) <= 0.16


def test_a_text_that_is_not_said_is_doubted(demo):
    """Its own text never is, that of another recording nearly always."""
    doubted = []
    for row in TIMED:
        for text in (other["text"] for other in TIMED if other["lang"] == row["lang"]):
            found = demo.align(FOLDER / row["audio_filepath"], text, language=row["lang"])
            if text == row["text"]:
                assert found.warnings == ()
            else:
                doubted.append(found.warnings != ())
    assert np.mean(doubted) >= 0.9


@recordings(TIMED)
def test_texts_are_timed_by_the_aligner(with_aligner, row):
    """A model with an aligner times its own words by it: the same times as for the text given."""
    path, lang = FOLDER / row["audio_filepath"], row["lang"]
    found = with_aligner.transcribe(path, language=lang, timestamps="word")
    given = with_aligner.align(path, found.text, language=lang)
    times = [[(w.text, w.start, w.end) for s in each.segments for w in s.words] for each in (found, given)]
    assert times[0] == times[1]
