"""Values of the wrong type from Python: a sentence that says what was expected, before anything is computed."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import clip, loaded

from mlx_canary import (
    AlignmentError,
    Audio,
    AudioError,
    CanaryModel,
    ModelNotFoundError,
    OutputError,
    Phrase,
    Prompt,
    PromptError,
    Segment,
    Transcript,
    TranscriptionOptions,
    iter_audio,
    load_audio,
    render,
)

RATE = 16_000
CHIRP = Audio(clip("chirp"), RATE)
ENGLISH = Prompt("en", "en")


@pytest.fixture(scope="module")
def model() -> CanaryModel:
    return CanaryModel(loaded("canary2-flash"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"language": ""}, "language='' is not the code of a language"),  # once meant the default
        ({"language": ["en"]}, r"language=\['en'\] is not the code"),
        ({"language": b"en"}, "language=b'en' is not the code"),
        ({"task": "translate", "target_lang": ""}, "target_lang='' is not the code"),
        ({"also_translate": "de"}, "also_translate='de' is not a tuple of codes"),  # once meant 'd' and 'e'
        ({"also_translate": None}, "also_translate=None is not a tuple"),
        ({"pnc": "no"}, "pnc='no' is neither True nor False"),  # once switched punctuation on
        ({"itn": None}, "itn=None is neither"),
        ({"guards": 0}, "guards=0 is neither"),
        ({"context": None}, "context=None is not a text"),
        ({"context": "\ud800"}, "is not a text"),  # as Python reads arguments that are no UTF-8
        ({"longest_window": "5"}, "longest_window='5' is not a number of seconds"),
        ({"decoding": "beam"}, "decoding is a str; expected DecodingOptions"),
    ],
)
def test_options_are_checked_when_they_are_made(options, message):
    with pytest.raises(PromptError, match=message):
        TranscriptionOptions(**options)


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, "2", None])
def test_a_batch_has_a_whole_number_of_windows(batch_size, model):
    with pytest.raises(PromptError, match="must be a whole number, at least 1"):
        model.transcribe(CHIRP, language="en", batch_size=batch_size)


@pytest.mark.parametrize("options", ["en", {}, None])
def test_options_are_of_their_own_type(options, model):
    with pytest.raises(PromptError, match="expected TranscriptionOptions"):
        list(model.transcribe_each([(CHIRP, options)]))


@pytest.mark.parametrize("dtype", ["int8", "zeros", "", 16])
def test_a_network_computes_in_floating_point(dtype):
    """int8 was taken: the weights became whole numbers, and the texts nonsense."""
    with pytest.raises(PromptError, match="is not one of: float32, float16, bfloat16"):
        CanaryModel.from_pretrained("demo", dtype=dtype)


@pytest.mark.parametrize("audio", ["talk.wav", CHIRP, b"RIFF", np.zeros(9)])
def test_a_batch_is_a_list(audio, model):
    """The letters of a file's name were once taken for names."""
    with pytest.raises(PromptError, match="give a list of them, or use transcribe"):
        model.transcribe_batch(audio, language="en")


@pytest.mark.parametrize("requests", [["talk.wav"], [("talk.wav",)], iter([("talk.wav", TranscriptionOptions())])])
def test_requests_are_a_list_of_pairs(requests, model):
    with pytest.raises(PromptError, match="not a list of pairs"):
        list(model.transcribe_each(requests))


def test_options_of_a_batch_may_come_from_anywhere(model):
    english = TranscriptionOptions(language="en")
    (one,) = model.transcribe_batch([CHIRP], options=(english for _ in range(1)))
    assert one.text == model.transcribe(CHIRP, options=english).text


@pytest.mark.parametrize("block_seconds", [float("nan"), float("inf"), 0, -1, 1e-9])
def test_blocks_have_a_length(block_seconds):
    with pytest.raises(AudioError, match="is not between one sample and"):
        next(iter_audio(CHIRP, block_seconds=block_seconds))


def test_samples_are_one_array():
    with pytest.raises(AudioError, match="the samples are no array"):
        load_audio(Audio([[1.0], [1.0, 2.0]], RATE))


@pytest.mark.parametrize("values", [("Meyer", "2"), (5,), ("Meyer", None)])
def test_phrases_are_texts_with_weights(values):
    with pytest.raises(PromptError, match=r"expected a text|it must be 0 or more"):
        Phrase(*values)


def test_a_model_has_a_name():
    """The current folder was taken."""
    with pytest.raises(ModelNotFoundError, match="name is empty"):
        CanaryModel.from_pretrained("")


@pytest.mark.parametrize("time", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["srt", "tsv", "json", "lrc"])
def test_times_are_finite(name, time):
    with pytest.raises(OutputError, match="finite"):
        render(Transcript((Segment("a", time, 1.0),), "en", "en", 1.0), name)


def test_each_recording_has_its_journal(model):
    with pytest.raises(PromptError, match="There are 1 recordings but 0 journals"):
        list(model.transcribe_each([(CHIRP, TranscriptionOptions(language="en"))], journals=[]))


def test_a_stream_wants_its_own_options(model):
    with pytest.raises(PromptError, match="options is a str; expected StreamingOptions"):
        model.stream(language="en", options="windowed")


@pytest.mark.parametrize("text", [None, ["Hello"], b"Hello"])
def test_a_text_to_align_is_a_text(text, model):
    with pytest.raises(AlignmentError, match="expected a str"):
        model.align(CHIRP, text, language="en")


def test_generate_wants_a_prompt_for_each_recording(model):
    assert model.generate([], []) == []
    with pytest.raises(PromptError, match="There are 1 recordings but 0 prompts"):
        model.generate([CHIRP], [])


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        ("talk.wav", "Here a recording is Audio, not a str; use load_audio"),
        (Audio(np.zeros((RATE, 2), np.float32), RATE), "expected one channel"),
        (Audio(np.full(RATE, np.nan, np.float32), RATE), "not numbers"),
        (Audio(np.zeros(8_000, np.float32), 8_000), "needs 16000 Hz, this Audio has 8000"),
    ],
)
def test_generate_wants_sound(audio, message, model):
    with pytest.raises(AudioError, match=message):
        model.generate([audio], [ENGLISH])


def test_generate_scales_integers(model):
    integers = Audio((CHIRP.samples * 32768).astype(np.int16), RATE)
    exact = Audio(integers.samples / np.float32(32768), RATE)
    assert model.generate([integers], [ENGLISH]) == model.generate([exact], [ENGLISH])
