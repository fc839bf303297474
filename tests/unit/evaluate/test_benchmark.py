"""Benchmarks: the numbers exist and agree with each other. How large they are is nobody's claim here."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from conftest import DATA, WAVS

from mlx_canary import CANARY_MODELS, Audio, CanaryModel, EvaluationError, load_audio
from mlx_canary.backend import mx
from mlx_canary.config import ModelConfig
from mlx_canary.evaluate.benchmark import STAGES, Case, measure, one_pass, synthetic_speech
from mlx_canary.evaluate.machine import this_machine
from mlx_canary.evaluate.speed_report import make_report, render_report
from mlx_canary.evaluate.subjects import TOKENS_PER_SECOND, Subject, loaded_subject, published_config, subject_of
from mlx_canary.network.build import build_network, parameters

MODEL = str(DATA / "models/canary2-flash.nemo")
SPEECH = DATA / "audio" / WAVS["speech"]


def small(dtype: str = "float32", bits: int | None = None) -> ModelConfig:
    """A published model with everything made small but what tells it apart."""
    config = published_config("canary-180m-flash", dtype, bits)
    encoder = config.encoder.model_copy(
        update={"n_layers": 2, "d_model": 64, "n_heads": 2, "d_ff": 64, "subsampling_conv_channels": 64}
    )
    decoder = config.decoder.model_copy(update={"n_layers": 2, "hidden_size": 128, "inner_size": 64, "n_heads": 2})
    return config.model_copy(update={"encoder": encoder, "decoder": decoder})


def case_of(subject: Subject, **conditions) -> Case:
    asked = {"recording": "r", "source": synthetic_speech(3), "batch_size": 1, "repeats": 2} | conditions
    return measure(subject, done=lambda: None, **asked)


@pytest.mark.parametrize(("dtype", "bits"), [("float32", None), ("bfloat16", None), ("float16", 8), ("float32", 4)])
def test_random_weights_write_a_fixed_number_of_tokens(dtype: str, bits: int | None) -> None:
    """Whatever they compute, and in every type: 4 for each second, none of them the end."""
    subject = subject_of(small(dtype, bits))
    assert (subject.dtype, subject.bits, subject.is_random) == (dtype, bits, True)
    run = one_pass(subject, [synthetic_speech(5)], batch_size=1)
    assert run.n_tokens == 5 * TOKENS_PER_SECOND
    assert run.audio_seconds == 5


def test_random_weights_are_finite() -> None:
    """Values that are not numbers could take another time."""
    subject = subject_of(small())
    features = subject.preprocessor([load_audio(synthetic_speech(2)).samples])
    assert mx.isfinite(subject.network.encode(features).states).all().item()


def test_numbers_agree_with_each_other() -> None:
    case = case_of(subject_of(small()))
    assert list(case.seconds) == ["total", *STAGES, "first_text"]
    for measured in (*case.seconds.values(), case.rtfx, case.tokens_per_second, case.decoder_tokens_per_second):
        assert 0 < measured.least <= measured.median <= measured.most
    run = one_pass(subject_of(small()), [synthetic_speech(3)], batch_size=1)
    assert sum(run.stages.values()) <= run.seconds * 1.001
    assert run.first_text <= run.seconds
    assert case.memory.process > case.memory.weights > 0
    assert case.memory.mlx > case.memory.weights


def test_stages_hold_the_whole_time() -> None:
    """If a stage were left unevaluated its work would be counted in the next one; if the clock missed some, here."""
    run = one_pass(subject_of(small()), [synthetic_speech(70)], batch_size=2)
    assert run.n_windows >= 2
    assert sum(run.stages.values()) > 0.95 * run.seconds


def test_batches_are_filled() -> None:
    """A short recording is heard as often as a batch takes windows; a long one is cut into them."""
    subject = subject_of(small())
    assert case_of(subject, batch_size=3, repeats=1).n_windows == 3
    assert case_of(subject, batch_size=3, repeats=1).audio_seconds == 9
    assert case_of(subject, source=synthetic_speech(80), batch_size=2, repeats=1).n_windows >= 3


def test_checkpoint_writes_what_it_transcribes(flash: CanaryModel) -> None:
    subject = loaded_subject(MODEL)
    assert not subject.is_random
    run = one_pass(subject, [SPEECH], batch_size=1)
    text = flash.transcribe(SPEECH, language="en").text
    assert run.n_tokens == len(flash.tokenizer.encode(text, "en")) + 1  # the end of the text is a step too


def test_bits_make_weights_smaller() -> None:
    plain, quantized = loaded_subject(MODEL), loaded_subject(MODEL, dtype="float16", bits=4)
    assert quantized.weight_bytes < plain.weight_bytes / 2
    assert (quantized.dtype, quantized.bits) == ("float16", 4)
    assert case_of(quantized, repeats=1).n_windows == 1


@pytest.mark.parametrize(
    ("name", "millions"),
    [("canary-180m-flash", 182), ("canary-1b-flash", 883), ("canary-1b", 1017), ("canary-1b-v2", 963)],
)
def test_published_sizes(name: str, millions: int) -> None:
    """Parameters by the model cards; canary-1b-v2's card counts differently, here its tensors' bytes were divided."""
    network = build_network(published_config(name, "float32", None))
    tables = network.decoder.embedding.position.size  # not trained
    n_parameters = sum(array.size for _, array in parameters(network)) - tables
    assert n_parameters / 1e6 == pytest.approx(millions, rel=0.005)
    assert name in CANARY_MODELS


def test_unknown_size() -> None:
    with pytest.raises(EvaluationError, match="'canary-2b' is not a published model; those are: canary-180m-flash"):
        published_config("canary-2b", "float32", None)


def test_nothing_to_measure() -> None:
    with pytest.raises(EvaluationError, match="There is no sound in r"):
        case_of(subject_of(small()), source=Audio(np.zeros(0, np.float32), 16000))


def test_made_up_sound_is_always_the_same() -> None:
    assert synthetic_speech(1.5) == synthetic_speech(1.5)
    audio = load_audio(synthetic_speech(1.5))
    assert audio.duration == 1.5
    assert 0.05 < abs(audio.samples).max() <= 1


def test_json_and_table() -> None:
    """Programs read the JSON: a change here needs another report_version and a line in the changelog."""
    case = case_of(subject_of(small()), repeats=1)
    report = make_report("canary-180m-flash", True, 1, this_machine(), [case, replace(case, bits=4)])
    values = json.loads(json.dumps(asdict(report)))
    assert list(values) == [
        *("report_version", "machine", "model", "random_weights", "fixed_tokens_per_second", "repeats", "cases"),
    ]
    assert list(values["machine"]) == ["mlx_canary", "mlx", "python", "system", "n_cpus", "device", "blas"]
    assert list(values["cases"][0]) == [
        *("recording", "dtype", "bits", "batch_size", "audio_seconds", "n_windows", "n_tokens", "rtfx"),
        *("tokens_per_second", "decoder_tokens_per_second", "seconds", "memory"),
    ]
    assert values["cases"][0]["rtfx"]["median"] == pytest.approx(3 / values["cases"][0]["seconds"]["total"]["median"])
    text = render_report(report)
    assert "x real time" in text
    assert "float32, 4 bits" in text
    assert "random weights, 4 tokens a second" in text
