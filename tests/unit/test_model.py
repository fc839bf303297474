"""CanaryModel: recordings of any length, in any company, in order, and what happens to those that fail."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import tracemalloc
import weakref
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import DATA, MODELS, clip, loaded, sound

import mlx_canary
from mlx_canary import (
    Audio,
    AudioError,
    CanaryModel,
    CheckpointError,
    ConversionConfig,
    ConversionError,
    ModelNotFoundError,
    Prompt,
    PromptError,
    Segment,
    TranscriptionOptions,
    convert,
    load_audio,
)
from mlx_canary.backend import leave_thread, mx
from mlx_canary.load_models import choose_dtype, load_model
from mlx_canary.longform.assembly import Assembly
from mlx_canary.network.build import is_packed

RATE = 16000
CLIPS = Path(mlx_canary.__file__).parent / "demo" / "clips"
ENGLISH, GERMAN = TranscriptionOptions(language="en"), TranscriptionOptions(language="de")


def test_each_recording_has_its_outcome_in_order(flash):
    """Short ones are decoded before long ones, but told in their place."""
    requests = [(sound("speech"), ENGLISH), (sound("short"), ENGLISH), (sound("chirp"), ENGLISH)]
    outcomes = list(flash.transcribe_each(requests, batch_size=1))
    assert [outcome.index for outcome in outcomes] == [0, 1, 2]
    expected = ["Good morning everyone.", "Thank you!", "Hello, the weather is cold."]
    for outcome, beginning in zip(outcomes, expected, strict=True):
        assert outcome.transcript.text.startswith(beginning)


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_a_recording_that_fails_stops_no_other(batch_size, flash, tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF????WAVEnothing")
    sources = [sound("chirp"), tmp_path / "missing.wav", sound("short"), tmp_path / "broken.wav", sound("chirp")]
    outcomes = list(flash.transcribe_each([(source, ENGLISH) for source in sources], batch_size=batch_size))
    assert [outcome.error is None for outcome in outcomes] == [True, False, True, False, True]
    assert [outcome.transcript is None for outcome in outcomes] == [False, True, False, True, False]
    assert all(isinstance(outcomes[i].error, AudioError) for i in (1, 3))
    assert outcomes[0].transcript.text == outcomes[4].transcript.text == "Hello, the weather is cold."
    with pytest.raises(AudioError, match=r"missing\.wav"):
        flash.transcribe_batch(sources, ENGLISH)


@pytest.mark.parametrize("name", MODELS)
def test_nothing_to_hear_gives_an_empty_transcript(name):
    """A model that is asked about silence makes something up; so it is not asked."""
    model = CanaryModel(loaded(name))
    silence = np.zeros(RATE, np.float32)
    hiss = np.random.default_rng(0).uniform(-5e-5, 5e-5, 2 * RATE).astype(np.float32)
    for samples in (np.zeros(0, np.float32), silence[:1], silence, hiss, np.zeros(60 * RATE, np.float32)):
        transcript = model.transcribe(Audio(samples, RATE), language="en")
        assert (transcript.text, transcript.words) == ("", ())
        assert transcript.duration == len(samples) / RATE


@pytest.mark.parametrize("n_samples", [1, 2, 159, 160, 161, 1599, 15999, 16000, 16001])
def test_recordings_of_a_few_samples_are_heard_without_complaint(n_samples, flash):
    """What is audible but short is padded to a second, as NeMo does."""
    transcript = flash.transcribe(Audio(clip("speech")[5000 : 5000 + n_samples], RATE), language="en")
    assert transcript.duration == n_samples / RATE


def test_hours_of_silence_before_the_first_word_take_no_memory(flash):
    def blocks():
        for _ in range(120):
            yield np.zeros(10 * RATE, np.float32)

    reading = flash._reader._windows(0, blocks(), TranscriptionOptions(language="auto"), Assembly(1), None)
    tracemalloc.start()
    with pytest.raises(PromptError, match="Nothing is heard in the recording"):
        list(reading)
    (_, peak), _ = tracemalloc.get_traced_memory(), tracemalloc.stop()
    assert peak < 15e6  # of the 77 MB that the samples are


def test_silence_before_the_first_word_is_part_of_the_recording(demo):
    """Whose language is found out."""
    wanted = demo.transcribe(CLIPS / "en_kokoro_1.flac", language="en")
    samples = load_audio(CLIPS / "en_kokoro_1.flac").samples
    late = demo.transcribe(Audio(np.pad(samples, (90 * RATE, 0)), RATE), language="auto")
    assert late.text == wanted.text
    assert late.duration == pytest.approx(wanted.duration + 90)
    assert late.segments[-1].end == late.duration


def test_silent_windows_within_a_recording_are_left_out(flash):
    recording = sound("chirp", 110.0, "chirp")
    transcript = flash.transcribe(recording, language="en")
    silent = [s for s in transcript.segments if s.start > 2.31 and s.end < 112.3]
    assert silent
    assert {segment.text for segment in silent} == {""}
    assert transcript.duration == recording.duration
    assert transcript.text == " ".join(segment.text for segment in transcript.segments if segment.text)


@pytest.mark.parametrize("seconds", [34.9, 35.0, 40.0, 41.0, 180.0])
def test_long_recordings_are_covered_without_gap_or_overlap(seconds, flash):
    """The models were trained on up to 40 s; beyond, a recording is cut at quiet places."""
    clips = ["speech", 0.7, "chirp", 0.7, "short", 0.7]
    samples = sound(*clips * 20).samples[: round(seconds * RATE)]
    transcript = flash.transcribe(Audio(samples, RATE), language="en")
    segments = transcript.segments
    assert segments[0].start == 0
    assert segments[-1].end == pytest.approx(seconds, abs=1e-3)
    for before, after in pairwise(segments):
        assert before.end == pytest.approx(after.start)
    assert all(segment.end - segment.start <= 35.0 for segment in segments)
    assert transcript.duration == pytest.approx(seconds)


def test_batch_size_does_not_change_texts(flash):
    recording = sound(*["speech", 0.8, "chirp", 0.8] * 9)
    texts = {flash.transcribe(recording, language="en", batch_size=n).text for n in (1, 2, 3, 64)}
    assert len(texts) == 1
    assert texts.pop()


@pytest.mark.parametrize("leave", ["close", "forget"])
def test_nobody_reads_on_when_the_listener_left(leave, flash, wav):
    """The files of later windows are read ahead by a thread."""
    outcomes = flash.transcribe_each([(wav["speech"], ENGLISH)] * 99, batch_size=1)
    next(outcomes)
    assert [thread for thread in threading.enumerate() if thread.name == "read ahead"]
    if leave == "close":
        outcomes.close()
    del outcomes
    assert not [thread for thread in threading.enumerate() if thread.name == "read ahead"]


@pytest.mark.parametrize("batch_size", [0, -1])
def test_an_empty_batch_is_refused(batch_size, flash):
    with pytest.raises(PromptError, match="batch_size"):
        flash.transcribe(sound("chirp"), batch_size=batch_size)


def test_company_does_not_change_texts(flash):
    """Each recording of a batch, with options of its own, is written down as it would be alone."""
    requests = [
        (sound("speech"), ENGLISH),
        (sound("chirp"), TranscriptionOptions(language="en", task="translate", target_lang="de", pnc=False)),
        (sound("chirp"), GERMAN),
        (sound("short"), TranscriptionOptions(language="en", context="the weather")),
        (sound(*["speech", 0.5] * 6), ENGLISH),
    ]
    together = [outcome.transcript for outcome in flash.transcribe_each(requests, batch_size=5)]
    for (audio, options), transcript in zip(requests, together, strict=True):
        assert flash.transcribe(audio, options=options) == transcript
    assert [(t.source_lang, t.target_lang) for t in together[:3]] == [("en", "en"), ("en", "de"), ("de", "de")]


def test_options_go_with_recordings_one_by_one(flash):
    audio = [sound("chirp"), sound("chirp")]
    english, german = flash.transcribe_batch(audio, [ENGLISH, GERMAN])
    assert (english.target_lang, german.target_lang) == ("en", "de")
    with pytest.raises(PromptError, match="2 recordings but 3 options"):
        flash.transcribe_batch(audio, [ENGLISH] * 3)
    with pytest.raises(PromptError, match="either options or language"):
        flash.transcribe_batch(audio, [ENGLISH] * 2, language="en")
    assert flash.transcribe_batch([]) == []


def test_single_keywords_and_options_are_the_same(flash):
    asked = TranscriptionOptions(language="en", task="translate", target_lang="de")
    by_options = flash.transcribe(sound("chirp"), options=asked)
    assert by_options == flash.transcribe(sound("chirp"), language="en", task="translate", target_lang="de")
    assert by_options == flash.translate(sound("chirp"), source_lang="en", target_lang="de")
    with pytest.raises(PromptError, match="not both"):
        flash.transcribe(sound("chirp"), language="en", options=asked)


def test_a_context_that_leaves_no_room_is_refused(flash):
    """NeMo's limit counts the prompt; a long one would silently cut the text off, or overrun the position table."""
    for n_words in (300, 5000):
        with pytest.raises(PromptError, match="leaves no room for the text"):
            flash.transcribe(sound("chirp"), language="en", context="the weather was cold " * n_words)


def test_segments_are_told_in_order_as_they_are_known(flash):
    told: list[Segment] = []
    transcript = flash.transcribe(
        sound(*["speech", 0.8, "chirp", 0.8] * 12), language="en", batch_size=2, on_segment=told.append
    )
    assert tuple(told) == transcript.segments
    assert len(told) > 3
    assert [segment.start for segment in told] == sorted(segment.start for segment in told)


def test_the_same_recording_from_every_kind_of_source(flash, wav):
    path = wav["chirp"]
    with path.open("rb") as file:
        sources = [path, str(path), path.read_bytes(), file, sound("chirp")]
        assert {flash.transcribe(source, language="en").text for source in sources} == {"Hello, the weather is cold."}


def test_generate_refuses_another_sample_rate(flash):
    with pytest.raises(AudioError, match="needs 16000 Hz, this Audio has 8000; use load_audio"):
        flash.generate([Audio(clip("chirp"), 8000)], [Prompt("en", "en")])


def test_generate_is_what_transcribe_decodes(flash):
    (hypothesis,) = flash.generate([sound("chirp")], [Prompt("en", "en")])
    assert hypothesis.finished
    assert flash.tokenizer.decode(hypothesis.tokens).strip() == "Hello, the weather is cold."
    assert len(hypothesis.token_logprobs) == len(hypothesis.tokens)
    assert all(logprob <= 0 for logprob in hypothesis.token_logprobs)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_model_may_compute_in_another_type(dtype):
    model = CanaryModel.from_pretrained(DATA / "models/canary2-unified.nemo", dtype=dtype)
    assert model.transcribe(sound("chirp"), language="en").text == "Hello, the weather is cold."


@pytest.mark.skipif(mx.default_device().type != mx.cpu, reason="a GPU computes in what is stored")
def test_a_model_may_be_loaded_in_one_thread_and_used_in_another(tmp_path):
    convert(ConversionConfig(nemo_file=DATA / "models/canary2-unified.nemo", output_dir=tmp_path / "model"))
    model, texts = CanaryModel.from_pretrained(tmp_path / "model"), []

    def transcribe():
        texts.append(model.transcribe(sound("short"), options=replace(ENGLISH, timestamps="word")).text)
        leave_thread()

    thread = threading.Thread(target=transcribe)
    thread.start()
    thread.join()
    assert texts == ["Thank you!"]


def test_a_model_nobody_has_takes_no_memory():
    """Without waiting for the garbage collector, which counts objects and not bytes."""
    model = CanaryModel(load_model(DATA / "models/canary2-unified.nemo"))
    model.transcribe(sound("short"), options=ENGLISH)
    layer = weakref.ref(model._loaded.network.decoder.layers[0])
    gc.disable()
    try:
        del model
        assert layer() is None
    finally:
        gc.enable()


def test_on_a_cpu_small_weights_become_float32(tmp_path):
    """Half precision and packed matrices are slow there. The numbers are those of the packed matrices."""
    nemo, folder = DATA / "models/canary2-unified.nemo", tmp_path / "small"
    convert(ConversionConfig(nemo_file=nemo, output_dir=folder, dtype="float16", bits=8, group_size=32))
    features = loaded("canary2-unified").preprocessor([clip("speech")])
    networks = []
    for dtype in (None, "float32", "float16"):
        model = load_model(folder)
        choose_dtype(model, dtype)
        networks.append(model.network)
    assert [(network.dtype, is_packed(network)) for network in networks] == [
        (mx.float32, False),
        (mx.float32, True),
        (mx.float16, True),
    ]
    ids = mx.array([[3, 4]])
    plain, packed = (n.step(ids, n.start(n.encode(features), [0])) for n in networks[:2])
    assert float(mx.abs(plain - packed).max()) < 1e-3


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("no-such-model", ModelNotFoundError, "canary-180m-flash"),
        ("./no-such-folder", ModelNotFoundError, "no such file or folder"),
        ("missing.nemo", ModelNotFoundError, "no such file or folder"),
        ("n" * 5000, ModelNotFoundError, "no model"),
        ("~nobody-of-that-name/model", ModelNotFoundError, "no model"),
        ("zero\0byte", ModelNotFoundError, "no model"),
        (DATA / "audio/chirp_2s3.wav", ConversionError, "chirp_2s3.wav"),
        (DATA / "audio", ConversionError, "audio has no model_config.yaml"),
    ],
    ids=lambda value: str(value)[-20:].replace("\0", "0"),
)
def test_what_is_no_model_is_said(source, error, message):
    with pytest.raises(error, match=message):
        CanaryModel.from_pretrained(source)


def test_an_empty_folder_is_no_model(tmp_path):
    with pytest.raises((ConversionError, CheckpointError), match=r"holds nothing|not a model"):
        CanaryModel.from_pretrained(tmp_path)


# The import surface.


def test_every_public_name_exists_and_says_what_it_is():
    assert len(set(mlx_canary.__all__)) == len(mlx_canary.__all__)
    for name in mlx_canary.__all__:
        assert getattr(mlx_canary, name).__doc__ or name in ("__version__", "CANARY_MODELS")
    assert dir(mlx_canary) == sorted(mlx_canary.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mlx_canary.nothing  # noqa: B018


def test_star_import_gives_the_public_names():
    names: dict[str, object] = {}
    exec("from mlx_canary import *", names)
    assert set(mlx_canary.__all__) <= set(names)


def loaded_modules(statement: str) -> set[str]:
    """The modules that a fresh Python has after a statement."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return set(result.stdout.split())


def test_importing_the_package_loads_nothing_heavy():
    """The command line starts with it."""
    heavy = {"mlx", "mlx.core", "numpy", "av", "sentencepiece", "pydantic", "huggingface_hub", "rich", "click", "soxr"}
    assert not heavy & loaded_modules("import mlx_canary; mlx_canary.CanaryError")
    assert "mlx.core" in loaded_modules("from mlx_canary import CanaryModel")


def test_the_package_is_typed():
    assert (Path(mlx_canary.__file__).parent / "py.typed").exists()
