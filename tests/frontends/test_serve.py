"""`mlx-canary serve`, called as OpenAI's clients call it. The texts are those that `CanaryModel.transcribe` gives."""

from __future__ import annotations

import json
import subprocess
import warnings
from collections.abc import Iterator

import httpx
import openai
import pytest
from conftest import DATA
from openai.types.audio import TranscriptionVerbose
from servers import CLIPS, running

from mlx_canary import TranscriptionOptions, render

SHORT, LONG, GERMAN = CLIPS / "en_kokoro_1.flac", CLIPS / "en_long.opus", CLIPS / "de_kokoro_1.flac"
CLEAR = DATA / "demo/en_joined_1.flac"  # of a language that the model is sure of
UNCLEAR = DATA / "audio/chirp_2s3.wav"


@pytest.fixture(scope="module")
def client(server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_a_text(client, demo):
    found = client.audio.transcriptions.create(file=SHORT, model="demo", language="en")
    offline = demo.transcribe(SHORT, language="en")
    assert found.text == offline.text
    assert found.usage.seconds == pytest.approx(offline.duration, abs=0.001)


def test_the_usual_name_of_the_model_and_plain_text(client, demo):
    found = client.audio.transcriptions.create(file=SHORT, model="whisper-1", response_format="text")
    assert found == f"{demo.transcribe(SHORT, language='en').text}\n"


def test_words_and_segments(client, demo):
    found = client.audio.transcriptions.create(
        file=SHORT,
        model="demo",
        language="en",
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    offline = demo.transcribe(SHORT, language="en", timestamps="word")
    assert [(w.word, w.start, w.end) for w in found.words] == [(w.text, w.start, w.end) for w in offline.words]
    assert [(s.text, s.start, s.end) for s in found.segments] == [(s.text, s.start, s.end) for s in offline.segments]
    assert (found.language, found.duration) == ("english", offline.duration)
    # Three nulls once stood in each segment, where clients expect numbers.
    TranscriptionVerbose.model_validate(found.model_dump(), strict=True)
    assert [tuple(s.tokens) for s in found.segments] == [s.tokens for s in offline.segments]
    for told, known in zip(found.segments, offline.segments, strict=True):
        assert told.avg_logprob == pytest.approx(known.avg_logprob, abs=1e-5)
        assert told.no_speech_prob == pytest.approx(known.no_speech_prob, abs=1e-5)


@pytest.mark.parametrize("format", ["srt", "vtt"])
def test_subtitles(client, demo, format):
    found = client.audio.transcriptions.create(file=SHORT, model="demo", language="en", response_format=format)
    assert found == render(demo.transcribe(SHORT, language="en", timestamps="word"), format)


@pytest.mark.parametrize("times_from", ["model", "attention"])
def test_what_tells_the_times(client, demo, times_from):
    found = client.audio.transcriptions.create(
        file=SHORT,
        model="demo",
        language="en",
        response_format="verbose_json",
        timestamp_granularities=["word"],
        extra_body={"times_from": times_from},
    )
    options = TranscriptionOptions(language="en", timestamps="word", times_from=times_from)
    offline = demo.transcribe(SHORT, options=options)
    assert [(w.word, w.start, w.end) for w in found.words] == [(w.text, w.start, w.end) for w in offline.words]


def test_a_temperature_next_to_nothing(client, demo):
    """Scores divided by it were infinite, and the text was empty."""
    found = client.audio.transcriptions.create(file=SHORT, model="demo", language="en", temperature=1e-40)
    assert found.text == demo.transcribe(SHORT, language="en").text


def test_events_of_a_long_recording(client, demo):
    """The deltas are the text, in order."""
    stream = client.audio.transcriptions.create(file=LONG, model="demo", language="en", stream=True)
    *deltas, done = stream
    offline = demo.transcribe(LONG, language="en")
    assert done.type == "transcript.text.done"
    assert "".join(event.delta for event in deltas) == done.text == offline.text
    assert len(deltas) > 3


def test_a_translation_into_english(client, demo):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer clients would rather that nobody called it
        found = client.audio.translations.create(file=GERMAN, model="demo", extra_body={"language": "de"})
    assert found.text == demo.translate(GERMAN, source_lang="de").text


def test_english_into_english(client, demo):
    """OpenAI's API writes it down; ours said that translating needs two languages, which its clients cannot name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        found = client.audio.translations.create(file=CLEAR, model="demo")
    assert found.text == demo.transcribe(CLEAR, language="en").text


def test_the_language_of_a_translation_is_that_of_its_text(client):
    """Always English, says OpenAI's reference of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        found = client.audio.translations.create(
            file=GERMAN, model="demo", response_format="verbose_json", extra_body={"language": "de"}
        )
    assert (found.language, found.source_language, found.target_language) == ("english", "de", "en")


def test_a_translation_into_another_language(client, demo):
    """OpenAI's API has no such thing; the field is ours."""
    found = client.audio.transcriptions.create(
        file=SHORT, model="demo", language="en", extra_body={"target_language": "de"}
    )
    assert found.text == demo.translate(SHORT, source_lang="en", target_lang="de").text


@pytest.mark.parametrize("format", ["json", "verbose_json"])
def test_a_language_that_nobody_named(client, server, demo, format):
    """OpenAI's clients mostly name none, and get a translation of what is not in the default language."""
    found = client.audio.transcriptions.create(file=GERMAN, model="demo", response_format=format)
    offline = demo.transcribe(GERMAN)
    assert (found.text, found.warnings) == (offline.text, list(offline.warnings))
    assert "This sounds like German (de), but was taken for English (en)" in found.warnings[0]
    *_, done = client.audio.transcriptions.create(file=GERMAN, model="demo", stream=True)
    assert done.warnings == found.warnings
    told = [json.loads(line) for line in server.lines if "sounds like" in line]
    assert told
    assert all(line["warnings"] == found.warnings and line["request_id"] for line in told)
    for language in ("en", "de"):
        named = client.audio.transcriptions.create(file=GERMAN, model="demo", language=language)
        assert not hasattr(named, "warnings")


def test_a_server_that_finds_languages_out(demo, tmp_path):
    with (
        running("--language", "auto", "--data-dir", str(tmp_path)) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client,
    ):
        found = client.audio.transcriptions.create(file=GERMAN, model="demo", response_format="verbose_json")
        offline = demo.transcribe(GERMAN, language="de")
        assert (found.text, found.source_language) == (offline.text, "de")
        for language in ("auto:de,en", "auto:fr,de,en,es"):
            named = client.audio.transcriptions.create(file=GERMAN, model="demo", language=language)
            assert named.text == offline.text
        with pytest.raises(openai.BadRequestError, match="cannot be told for certain"):
            client.audio.transcriptions.create(file=UNCLEAR, model="demo")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            english = client.audio.translations.create(file=GERMAN, model="demo")
        assert english.text == demo.translate(GERMAN, source_lang="de").text
        assert client.models.retrieve("demo").canary["default_language"] == "auto"
        with GERMAN.open("rb") as file:
            sent = httpx.post(f"{server.url}/v1/jobs", files={"file": file}, data={"model": "demo"})
        assert sent.status_code == 202


def test_models(client, demo):
    assert [entry.id for entry in client.models.list()] == ["demo", "whisper-1"]
    known = client.models.retrieve("demo").canary
    assert [language["code"] for language in known["languages"]] == list(demo.config.languages.spoken)
    assert {"source": "en", "target": "de"} in known["translations"]
    assert known["word_times"] is True


def test_curl(server, demo):
    arguments = ["-F", f"file=@{SHORT}", "-F", "model=demo", "-F", "language=en"]
    done = subprocess.run(
        ["curl", "-sS", f"{server.url}/v1/audio/transcriptions", *arguments], capture_output=True, check=True
    )
    assert json.loads(done.stdout)["text"] == demo.transcribe(SHORT, language="en").text
