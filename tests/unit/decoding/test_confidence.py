"""Confidence: NeMo's numbers, and the range."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import DATA, MODELS, clip, loaded, texts

from mlx_canary.backend import mx
from mlx_canary.decoding.confidence import (
    ENTROPY_NORMS,
    ENTROPY_TYPES,
    ConfidenceMethod,
)
from mlx_canary.decoding.generate import Decoder
from mlx_canary.decoding.options import DecodingOptions
from mlx_canary.errors import PromptError

RECORDED = json.loads((DATA / "confidence.json").read_text(encoding="utf-8"))
METHODS = [ConfidenceMethod("max_prob")] + [
    ConfidenceMethod("entropy", kind, alpha, norm)
    for kind in ENTROPY_TYPES
    for norm in ENTROPY_NORMS
    for alpha in (0.33, 1)
]


def method(case):
    name, *entropy = case["measure"].split("_")
    if name == "max":
        return ConfidenceMethod("max_prob", alpha=case["alpha"])
    return ConfidenceMethod("entropy", entropy[0], case["alpha"], entropy[1])


@pytest.mark.parametrize("case", RECORDED["cases"], ids=lambda case: f"{case['measure']}-{case['alpha']}")
def test_equals_nemo(case):
    got = method(case)(mx.array(RECORDED["logprobs"]))
    np.testing.assert_allclose(got, np.clip(case["values"], 0, 1), atol=1e-5)  # float32 against float64


@pytest.mark.parametrize("measure", METHODS, ids=str)
@pytest.mark.parametrize("size", [8, 16384])
def test_from_zero_to_one(measure, size):
    """A vocabulary of real size makes some terms vanish; they must not become infinite."""
    logits = mx.random.normal((20, size), key=mx.random.key(1)) * mx.linspace(0, 60, 20)[:, None]
    got = np.array(measure(logits - mx.logsumexp(logits, axis=-1, keepdims=True)))
    assert np.all((got >= 0) & (got <= 1))
    assert got[0] == pytest.approx(0, abs=1e-3)
    assert got[-1] > 0.5


@pytest.mark.parametrize(("options", "n_best"), [({}, 1), ({"beam_size": 3}, 3), ({"temperature": 0.5}, 2)])
@pytest.mark.parametrize("name", MODELS[:2])
def test_every_token_gets_one(name, options, n_best):
    model = loaded(name)
    states = model.network.encode(model.preprocessor([clip("short"), clip("chirp")]))
    asked = DecodingOptions(confidence=ConfidenceMethod(), n_best=n_best, **options)
    decoder = Decoder(model.network, model.tokenizer, asked)
    for best in decoder(states, [texts(name)["prompt"]] * 2, [30, 30], ["en"] * 2):
        assert len(best) == n_best
        for hypothesis in best:
            assert hypothesis.token_confidences is not None
            assert len(hypothesis.token_confidences) == len(hypothesis.tokens)
            assert all(0 <= c <= 1 for c in hypothesis.token_confidences)
            assert hypothesis.no_speech_prob is not None
            assert 0 <= hypothesis.no_speech_prob <= 1


def test_none_where_not_asked_for():
    model = loaded(MODELS[0])
    states = model.network.encode(model.preprocessor([clip("short")]))
    decoder = Decoder(model.network, model.tokenizer, DecodingOptions())
    for limit in (30, 0):
        best = decoder(states, [texts(MODELS[0])["prompt"]], [limit], ["en"])
        assert best[0][0].token_confidences is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "luck"},
        {"entropy_type": "heat"},
        {"entropy_norm": "log"},
        {"alpha": 0.0},
        {"alpha": float("nan")},
        {"alpha": 90.0},
    ],
)
def test_wrong_methods_are_refused(wrong):
    with pytest.raises(PromptError, match=next(iter(wrong))):
        ConfidenceMethod(**wrong)
