"""Sampling: repeatable, alone as in a batch, and by the probabilities."""

from __future__ import annotations

from collections import Counter

import pytest
from conftest import clip, loaded, texts
from table_network import EOS, START, TableNetwork, encoded, table

from mlx_canary.decoding.generate import Decoder
from mlx_canary.decoding.options import DecodingOptions
from mlx_canary.decoding.rows import Symbols
from mlx_canary.decoding.sampling import Sampler
from mlx_canary.decoding.search import search

MODEL = "canary2-flash"
COIN = table(4, t0=[0, 0.1, 0.6, 0.3])


def drawn(sampler, network=None, limit=5):
    network = network or TableNetwork(COIN)
    return search(network, encoded(), [[START]], [limit], Symbols(EOS, 4), sampler)[0].hypotheses()


def sampled(seed, clips=("chirp", "short"), n_best=3, temperature=1.5):
    model = loaded(MODEL)
    states = model.network.encode(model.preprocessor([clip(name) for name in clips]))
    options = DecodingOptions(temperature=temperature, seed=seed, n_best=n_best)
    decoder = Decoder(model.network, model.tokenizer, options)
    n = len(clips)
    return decoder(states, [texts(MODEL)["prompt"]] * n, [25] * n, ["en"] * n)


def test_one_seed_gives_one_result():
    assert sampled(7) == sampled(7)
    assert sampled(7) != sampled(8)


def test_an_item_of_a_batch_gets_what_it_would_get_alone():
    together = sampled(7)
    for i, name in enumerate(("chirp", "short")):
        assert [h.tokens for h in sampled(7, [name])[0]] == [h.tokens for h in together[i]]


def test_draws_by_the_probabilities():
    counts = Counter(h.tokens for h in drawn(Sampler(4000, 1.0, 3)))
    for tokens, chance in {(): 0.1, (2,): 0.6, (3,): 0.3}.items():
        assert counts[tokens] / 4000 == pytest.approx(chance, abs=0.03)  # four standard deviations


def test_a_low_temperature_is_greedy():
    assert {h.tokens for h in drawn(Sampler(200, 0.05, 3))} == {(2,)}


def test_samples_come_best_first_and_with_their_own_probability():
    samples = sampled(3, n_best=6)[0]
    assert [h.score for h in samples] == sorted((h.score for h in samples), reverse=True)
    for hypothesis in samples:
        if not hypothesis.finished:
            assert hypothesis.score == pytest.approx(sum(hypothesis.token_logprobs), abs=1e-3)
