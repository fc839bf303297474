"""What beam search keeps to, on a network that can be read and on one of the small checkpoints."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import clip, loaded, texts
from table_network import EOS, START, TableNetwork, encoded, table

from mlx_canary.backend import mx
from mlx_canary.decoding.beam import Beam
from mlx_canary.decoding.generate import Decoder, symbols_of
from mlx_canary.decoding.greedy import Greedy, decode_greedy
from mlx_canary.decoding.options import DecodingOptions
from mlx_canary.decoding.rows import Symbols
from mlx_canary.decoding.search import search

MODEL = "canary2-flash"
# The likeliest first token leads to an unlikely text: greedy search walks into it, beams do not.
TRAP = table(5, t0=[0, 0, 0.6, 0.4, 0], t2=[0, 0.3, 0, 0.3, 0.4], t3=[0, 0.9, 0.1, 0, 0])
# Any token but the end of the text is possible after any other.
NEVER = [0.0] * 36
WANDERING = table(40, t0=[0, 0.2, 0.5, 0.3, *NEVER], t2=[0, 0.3, 0.3, 0.4, *NEVER], t3=[0, 0.4, 0.4, 0.2, *NEVER])


def decode(network, chooser, limit=6, n_items=1):
    found = search(
        network,
        encoded(n_items),
        [[START]] * n_items,
        [limit] * n_items,
        Symbols(EOS, network.tables.shape[-1]),
        chooser,
    )
    return [item.hypotheses() for item in found]


def small_batch():
    """The three clips encoded together, with prompts of different lengths and limits of their own."""
    model = loaded(MODEL)
    samples = [clip(name) for name in ("chirp", "speech", "short")]
    context = model.tokenizer.encode("Good morning everyone.", "en")
    prompt = texts(MODEL)["prompt"]
    return model, samples, [prompt, [prompt[0], *context, *prompt[1:]], prompt], [40, 60, 20]


def test_finds_what_greedy_search_misses():
    network = TableNetwork(TRAP)
    assert decode(network, Greedy())[0][0].tokens[0] == 2
    best = decode(network, Beam(2))[0][0]
    assert best.tokens == (3,)
    assert best.score == pytest.approx(math.log(0.4 * 0.9))


def test_a_beam_of_one_is_greedy_search():
    for network in (TableNetwork(TRAP), TableNetwork(WANDERING)):
        assert decode(network, Beam(1))[0][0] == decode(network, Greedy())[0][0]


def test_a_beam_of_one_is_greedy_search_on_a_checkpoint():
    model, samples, prompts, limits = small_batch()
    states = model.network.encode(model.preprocessor(samples))
    symbols = symbols_of(model.tokenizer)
    beams = search(model.network, states, prompts, limits, symbols, Beam(1))
    greedy = decode_greedy(model.network, states, prompts, limits, symbols.eos_id, symbols.size)
    assert [item.hypotheses()[0].tokens for item in beams] == [hypothesis.tokens for hypothesis in greedy]


def test_exhausts_the_table():
    """With as many rows as there are texts, the search finds all of them, in the order of their probability."""
    paths = decode(TableNetwork(WANDERING), Beam(30, 30), limit=4)[0]
    ended = {path.tokens: path.score for path in paths if path.finished}
    chances = {(): 0.2, (2,): 0.5 * 0.3, (3,): 0.3 * 0.4, (2, 3): 0.5 * 0.4 * 0.4, (2, 2): 0.5 * 0.3 * 0.3}
    for tokens, chance in chances.items():
        assert ended[tokens] == pytest.approx(math.log(chance), abs=1e-4)
    assert len({path.tokens for path in paths if path.finished}) == len(ended)


def test_an_end_that_comes_first_ends_the_text():
    """NeMo's beam search overlooks it and goes on; with its faults switched on, so does ours."""
    silence = TableNetwork(table(4, t0=[0, 0.9, 0.1, 0], t1=[0, 0, 0.9, 0.1], t2=[0, 0.9, 0.1, 0]))
    assert decode(silence, Beam(2))[0][0].tokens == ()
    assert decode(silence, Beam(1, nemo_faults=True))[0][0].tokens == (EOS, 2)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, -0.5])
def test_fewer_wanted_are_the_first_of_many(length_penalty):
    """The search stops early when nothing can overtake what was asked for; that must not change the answer."""
    network = TableNetwork(WANDERING)
    everything = decode(network, Beam(6, 6, length_penalty), limit=12)[0]
    for n_wanted in range(1, 7):
        some = decode(network, Beam(6, n_wanted, length_penalty), limit=12)[0]
        assert some[:n_wanted] == everything[:n_wanted]


def test_hypotheses_are_sorted():
    scores = [hypothesis.score for hypothesis in decode(TableNetwork(WANDERING), Beam(6, 6))[0]]
    assert scores == sorted(scores, reverse=True)


def test_length_penalty_prefers_longer_texts():
    network = TableNetwork(WANDERING)
    plain = decode(network, Beam(8), limit=8)[0][0]
    longer = decode(network, Beam(8, length_penalty=4.0), limit=8)[0][0]
    assert len(longer.tokens) > len(plain.tokens)


def test_an_item_of_a_batch_is_decoded_as_if_alone():
    """Items differ in length, prompt and limit, and the encoder pads them; the words must not change."""
    model, samples, prompts, limits = small_batch()
    decoder = Decoder(model.network, model.tokenizer, DecodingOptions(beam_size=4, n_best=4))
    together = decoder(model.network.encode(model.preprocessor(samples)), prompts, limits, ["en"] * 3)
    for i, sample in enumerate(samples):
        alone = decoder(
            model.network.encode(model.preprocessor([sample])), prompts[i : i + 1], limits[i : i + 1], ["en"]
        )
        assert [h.tokens for h in alone[0]] == [h.tokens for h in together[i]]
        assert [h.score for h in alone[0]] == pytest.approx([h.score for h in together[i]], abs=1e-3)


def test_forgetting_abandoned_beams_changes_nothing():
    """Every 64 steps the pool of tokens is cleared of those that no beam descends from."""
    model, samples, _, _ = small_batch()
    states = model.network.encode(model.preprocessor(samples[:1]))
    prompt = texts(MODEL)["prompt3"]  # never trained: it wanders on
    item = search(model.network, states, [prompt], [150], Symbols(0, model.tokenizer.size), Beam(3, 3))[0]
    best = item.hypotheses()[0]
    assert len(best.tokens) == 150
    ids = mx.array([[*prompt, *best.tokens]])
    logits = model.network.step(ids, model.network.start(states, [0]))[0, len(prompt) - 1 : -1]
    logprobs = np.array(logits - mx.logsumexp(logits, axis=-1, keepdims=True))
    assert best.token_logprobs == pytest.approx(logprobs[range(150), best.tokens], abs=1e-3)


def test_no_room_is_an_unfinished_empty_text():
    hypothesis = decode(TableNetwork(TRAP), Beam(2), limit=0)[0][0]
    assert (hypothesis.tokens, hypothesis.finished) == ((), False)
