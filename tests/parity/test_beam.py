"""Beam search equals NeMo's recorded single runs: every hypothesis and its score, with its faults switched on.

Its batches are not compared: they mix up the decoder states of the items.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import reference_adapter as adapter
from conftest import DATA, MODELS, clip, loaded, run, texts

from mlx_canary.decoding.beam import Beam
from mlx_canary.decoding.boosting import BoostingTree
from mlx_canary.decoding.fusion import Fusion
from mlx_canary.decoding.generate import symbols_of
from mlx_canary.decoding.greedy import Greedy
from mlx_canary.decoding.ngram import NGramModel
from mlx_canary.decoding.search import search
from mlx_canary.network.conformer import subsampled_length

every_model = pytest.mark.parametrize("name", MODELS)
# Sums of up to 140 log-probabilities; NeMo's own float32 noise is 3e-5 for each logit.
SCORE_TOLERANCE = 5e-3


@cache
def recorded(name: str) -> dict[str, Any]:
    beams: dict[str, Any] = json.loads((DATA / "decoding/beams.json").read_text(encoding="utf-8"))[name]
    return beams


def runs(name: str, length_penalty: float) -> list[tuple[str, dict[str, Any]]]:
    return [(key, run) for key, run in recorded(name).items() if run.get("length_penalty") == length_penalty]


def items(name: str, key: str, prompt: list[int], beam: Any, fusion: Fusion | None = None):
    model = loaded(name)
    samples = clip(key.partition(".")[0])
    encoded = model.network.encode(model.preprocessor([samples]))
    frames = subsampled_length(len(samples) // 160 + 1, model.config.encoder.subsampling_factor)
    limit = min(model.config.decoder.max_sequence_length, frames + 50) - len(prompt) + 1
    symbols = symbols_of(model.tokenizer)
    if fusion is not None:
        symbols = replace(symbols, size=FUSED["vocabulary_size"])
    return search(model.network, encoded, [prompt], [limit], symbols, beam, fusions=[fusion])[0].hypotheses()


@every_model
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_all_hypotheses_and_scores(name, length_penalty):
    """Prompts that the model learned and prompts that it never saw, whose beams run to the limit."""
    for key, run_ in runs(name, length_penalty):
        beam = Beam(4, 4, length_penalty, nemo_faults=True)
        got = items(name, key, run_["prompt"], beam)
        assert list(got[0].tokens) == run_["best"], key
        scores = {tuple(ids): score for ids, score in run_["hypotheses"]}
        assert {hypothesis.tokens for hypothesis in got} == set(scores), key
        for hypothesis in got:
            assert hypothesis.score == pytest.approx(scores[hypothesis.tokens], abs=SCORE_TOLERANCE), key


@every_model
def test_without_the_faults_the_best_is_the_same(name):
    """Without length penalty the faults show only where a beam's text ends before it began, as for the last clip."""
    sure = [(key, run_) for key, run_ in runs(name, 0.0) if not key.startswith("short.beam4_prompt")]
    for key, run_ in sure:
        assert list(items(name, key, run_["prompt"], Beam(4))[0].tokens) == run_["best"], key
    assert len(sure) >= 4


@every_model
def test_log_probabilities_of_each_token(name):
    """Of all outputs, the padding of the head included; the score has the closing one too."""
    run_ = recorded(name)["step_log_probs"]
    best = items(name, "chirp", run_["prompt"], Greedy())[0]
    np.testing.assert_allclose(best.token_logprobs, run_["logprobs"][:-1], atol=3e-4)
    assert best.score == pytest.approx(sum(run_["logprobs"]), abs=SCORE_TOLERANCE)


@every_model
def test_adapter_searches_the_same(name):
    """What `check_reference.py` sees."""
    key, run_ = runs(name, 0.0)[0]
    best, *_ = adapter.beam(loaded(name), *run(f"single.{key.partition('.')[0]}"), run_["prompt"], 4, 0.0, 50)[0]
    assert best[0] == run_["best"]


FUSED = json.loads((DATA / "decoding/fusion.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "run_", FUSED["runs"], ids=lambda run: f"{run['clip']}-{run['prompt']}-{run['boosting']}-{run['language_model']}"
)
def test_with_phrases_and_a_language_model(run_):
    """Every hypothesis and score, as NeMo's search adds up network, phrases and model."""
    name, size = "canary1-agg-gz", FUSED["vocabulary_size"]
    eos_id = loaded(name).tokenizer.eos_id
    tree = BoostingTree(FUSED["phrases"], size, eos_id, nemo_faults=True)
    model = NGramModel(DATA / "decoding/fusion.arpa", size, eos_id)
    weighted = [(tree, run_["boosting"]), (model, run_["language_model"])]
    fusion = Fusion([(scorer, alpha) for scorer, alpha in weighted if alpha > 0])
    prompt = texts(name)[run_["prompt"]]
    got = items(name, run_["clip"], prompt, Beam(4, 4, nemo_faults=True), fusion)
    scores = {tuple(ids): score for ids, score in run_["hypotheses"]}
    assert {hypothesis.tokens: hypothesis.score for hypothesis in got} == pytest.approx(scores, abs=SCORE_TOLERANCE)
