"""The JSON document: its schema, its way back, its description."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from transcripts import spoken, transcript, transcripts

from mlx_canary.types import Alternative, Segment, Transcript, Word
from mlx_canary.version import __version__
from mlx_canary.writers import OutputError, Provenance, SubtitleOptions, read_json, render

SCHEMA = json.loads(files("mlx_canary.writers").joinpath("transcript.schema.json").read_text("utf-8"))
DOCUMENT = Path(__file__).parents[3] / "docs" / "json.md"
TALK = transcript(spoken("Guten Abend, „Zürich“."), lang="de")


def validate(text: str) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(text))


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@given(transcripts())
def test_documents_follow_the_schema_and_read_back(given_transcript):
    text = render(given_transcript, "json", provenance=Provenance("canary-1b-v2", {"beam_size": 4}))
    validate(text)
    assert asdict(read_json(text)) == asdict(given_transcript)  # which compares what == of segments leaves out too


def test_the_schema_names_every_key():
    """A key that only the code knows is not documented."""
    several = replace(TALK.segments[0], n_best=(Alternative("Guten Abend.", -0.5),))
    document = json.loads(render(replace(TALK, segments=(several,)), "json"))
    assert list(document) == list(SCHEMA["properties"]) == SCHEMA["required"]
    segment, word = document["segments"][0], document["segments"][0]["words"][0]
    assert list(segment) == list(SCHEMA["$defs"]["segment"]["properties"]) == SCHEMA["$defs"]["segment"]["required"]
    assert list(segment["n_best"][0]) == list(SCHEMA["$defs"]["alternative"]["properties"])
    assert list(word) == list(SCHEMA["$defs"]["word"]["properties"]) == SCHEMA["$defs"]["word"]["required"]


def test_warnings_of_the_recording_and_of_the_transcript():
    doubtful = replace(TALK, warnings=("This sounds like German (de).",))
    text = render(doubtful, "json", provenance=Provenance(warnings=("talk.wav is cut off.",)))
    validate(text)
    assert json.loads(text)["warnings"] == ["talk.wav is cut off.", "This sounds like German (de)."]
    assert read_json(text) == replace(TALK, warnings=("talk.wav is cut off.", "This sounds like German (de)."))


def test_text_is_not_escaped():
    assert "„Zürich“" in render(TALK, "json")


def test_options_become_plain_values():
    options = {
        "path": Path("a/b"),
        "beam_size": np.int64(4),
        "weight": np.float32(0.5),
        "langs": ("en", "de"),
        "set": {"b", "a"},
        "subtitles": SubtitleOptions(),
        "none": None,
    }
    document = json.loads(render(TALK, "json", provenance=Provenance(None, options)))
    assert document["options"]["langs"] == ["en", "de"]
    assert document["options"]["set"] == ["a", "b"]
    assert document["options"]["path"] == str(Path("a/b"))
    assert document["options"]["weight"] == 0.5
    assert document["options"]["subtitles"]["max_lines"] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x": float("inf")}, "options.x is inf"),
        ({"x": [object()]}, r"options.x\[0\] is a object"),
        ({"x": b"raw"}, "options.x is a bytes"),
    ],
)
def test_options_that_json_cannot_hold_are_named(options, message):
    with pytest.raises(OutputError, match=message):
        render(TALK, "json", provenance=Provenance(None, options))


def test_times_that_are_no_numbers_are_named():
    wrong = transcript(Segment("a", 0.0, 1.0, (Word("a", 0.0, float("nan")),)))
    with pytest.raises(OutputError, match=r"segments\[0\].words\[0\].end is nan"):
        render(wrong, "json")


def test_confidence_that_is_no_number_is_unknown():
    """Hours of work are not thrown away for one number that nobody can read anyway."""
    nan = float("nan")
    odd = transcript(
        Segment("a", 0.0, 1.0, confidence=nan, avg_logprob=nan, no_speech_prob=nan),
        Segment("b", 1.0, 2.0, confidence=1.0000001),
    )
    text = render(odd, "json")
    validate(text)
    first, second = read_json(text).segments
    assert (first.confidence, first.avg_logprob, first.no_speech_prob) == (None, None, None)
    assert second.confidence == 1.0


def test_flags_survive():
    flagged = transcript(Segment("a", 0.0, 1.0, flags=("unfinished", "loop")))
    assert read_json(render(flagged, "json")).segments[0].flags == ("unfinished", "loop")


def test_keys_of_later_versions_are_passed_over():
    document = json.loads(render(TALK, "json"))
    document["later"] = document["segments"][0]["later"] = 1
    assert read_json(json.dumps(document)) == TALK


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "schema_version is None, expected 1"),
        ('{"schema_version": 2}', "schema_version is 2, expected 1"),
        ('{"schema_version": 1}', "incomplete or damaged .*segments"),
        ('{"schema_version": 1, "segments": 5}', "incomplete or damaged"),
        pytest.param(render(TALK, "json").replace(": 0.0", f": {10**400}"), "incomplete or damaged", id="huge"),
        pytest.param("[" * 200_000, "not JSON", id="deep"),
    ],
)
def test_what_is_no_transcript_is_refused(text, message):
    with pytest.raises(OutputError, match=message):
        read_json(text)


def test_a_translation_is_a_document_of_its_own():
    both = replace(TALK, translations=(transcript(spoken("Guten Abend."), lang="de"),))
    assert render(both, "json") == render(TALK, "json")


def test_the_document_about_it_is_true(capsys):
    """Runs the example of docs/json.md and compares what it prints."""
    blocks = dict(re.findall(r"```(python|json)\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL))
    exec(blocks["python"], {})
    printed, shown = json.loads(capsys.readouterr().out), json.loads(blocks["json"])
    shown["generator"]["version"] = __version__
    assert json.dumps(printed) == json.dumps(shown)


def test_an_empty_transcript_reads_back():
    silence = Transcript((), "en", "en", 0.0)
    validate(render(silence, "json"))
    assert read_json(render(silence, "json")) == silence
