"""Items that take the places of finished ones: each gets what it would get in a batch that nobody joins."""

from __future__ import annotations

from functools import cache

import pytest
from conftest import clip, loaded, texts

from mlx_canary.backend import mx
from mlx_canary.decoding import batch
from mlx_canary.decoding.batch import Entry
from mlx_canary.decoding.boosting import Phrase
from mlx_canary.decoding.confidence import ConfidenceMethod
from mlx_canary.decoding.generate import Decoder
from mlx_canary.decoding.greedy import Greedy
from mlx_canary.decoding.options import Boosting, DecodingOptions
from mlx_canary.decoding.rows import Symbols
from mlx_canary.network import cache as caches
from mlx_canary.network.canary import CanaryNetwork

MODELS = ["canary1-agg-gz", "canary2-flash", "canary2-unified"]
SURE = DecodingOptions(confidence=ConfidenceMethod())
LIMITS = [9, 25, 2, 0, 14, 30, 5, 1, 22, 7, 18]


@pytest.fixture(params=[False, True], ids=["step by step", "a step ahead"])
def ahead(request, monkeypatch):
    """As on a CPU, and as on a GPU."""
    if request.param:
        monkeypatch.setattr(batch, "numpy_is_faster", lambda x: False)


@pytest.fixture
def steps(monkeypatch):
    """The rows of each step, prompts included."""
    rows: list[int] = []
    step = CanaryNetwork.step

    def counted(self, ids, cache):
        rows.append(len(ids))
        return step(self, ids, cache)

    monkeypatch.setattr(CanaryNetwork, "step", counted)
    return rows


def entries(name: str, decoder: Decoder) -> list[Entry]:
    """Clips of three lengths, prompts of two, shortest first."""
    model, prompt = loaded(name), list(texts(name)["prompt"])
    states = []
    for sound in ("short", "chirp", "speech"):
        encoded = model.network.encode(model.preprocessor([clip(sound)]))
        states.append(encoded.states[0, : encoded.lengths[0]])
    kinds = [(states[i * 3 // len(LIMITS)], prompt if i % 3 else prompt[:1] + prompt) for i in range(len(LIMITS))]
    return [decoder.entry(*kind, limit, "en", True) for kind, limit in zip(kinds, LIMITS, strict=True)]


def found(name, batch_size, refill, options=None):
    decoder = Decoder(loaded(name).network, loaded(name).tokenizer, options or DecodingOptions())
    everything = dict(decoder.each(entries(name, decoder), batch_size, refill))
    return [everything[n] for n in range(len(LIMITS))]


@cache
def alone(name):
    """What each item gets with nobody beside it."""
    return found(name, 1, False, SURE)


def assert_same(some, others, sure=True):
    for (one,), (other,) in zip(some, others, strict=True):
        assert one.tokens == other.tokens
        assert one.finished == other.finished
        assert one.token_logprobs == pytest.approx(other.token_logprobs, abs=1e-4)
        if sure:
            assert one.token_confidences == pytest.approx(other.token_confidences, abs=1e-4)
        assert one.no_speech_prob == pytest.approx(other.no_speech_prob, abs=1e-4)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("batch_size", [2, 3, 20])
@pytest.mark.usefixtures("ahead")
def test_texts_are_the_same(name, batch_size):
    assert_same(found(name, batch_size, True, SURE), alone(name))


@pytest.mark.usefixtures("ahead")
def test_tokens_that_nobody_needs_are_forgotten(monkeypatch):
    """However many items there are, a row is no longer than the longest of them."""
    monkeypatch.setattr(caches, "_GROWTH", 2)
    lengths = []
    step = CanaryNetwork.step

    def measured(self, ids, cache):
        logits = step(self, ids, cache)
        lengths.append(cache.length)
        return logits

    monkeypatch.setattr(CanaryNetwork, "step", measured)
    found("canary2-flash", 1, False)
    longest, lengths[:] = max(lengths), []
    assert_same(found("canary2-flash", 2, True, SURE), alone("canary2-flash"))
    assert max(lengths) <= longest + 4


def test_rows_are_kept_full(steps):
    found("canary2-flash", 4, False)
    n_batches, steps[:] = len(steps), []
    found("canary2-flash", 4, True)
    assert len(steps) < n_batches


def test_a_prompt_that_is_too_long_waits():
    """Its row cannot begin before the batch did."""
    name = "canary2-flash"
    decoder = Decoder(loaded(name).network, loaded(name).tokenizer, DecodingOptions())
    short, long, *_ = entries(name, decoder)
    waits = Entry(long.states, [*long.prompt[:-1], *[long.prompt[-1]] * 40], 10)
    asked = [Entry(short.states, short.prompt, limit) for limit in (2, 12)]
    expected = [dict(decoder.each([entry], 1, False))[0] for entry in (*asked, waits, asked[1])]
    together = dict(decoder.each([*asked, waits, asked[1]], 2, True))
    assert_same([together[n] for n in range(4)], expected)


@pytest.mark.usefixtures("ahead")
def test_phrases_of_one_that_joins_are_boosted():
    """Though the batch began without any."""
    name = "canary2-flash"
    model, boosting = loaded(name), Boosting((Phrase("hello"), Phrase("weather")), alpha=5.0)
    plain = Decoder(model.network, model.tokenizer, DecodingOptions())
    boosted = Decoder(model.network, model.tokenizer, DecodingOptions(boosting=boosting))
    asked = [*entries(name, plain)[1:3], *entries(name, boosted)[4:6]]  # the second is done first
    expected = [dict(plain.each([entry], 1, False))[0] for entry in asked]
    without = dict(plain.each(entries(name, plain)[4:6], 2, False))
    assert expected[2][0].tokens != without[0][0].tokens  # the phrases do matter
    together = dict(plain.each(asked, 2, True))
    assert_same([together[n] for n in range(4)], expected, sure=False)


def test_nothing_grows_with_the_steps(tmp_path):
    """What a device is not asked for waits to be computed, with all that it would be computed of."""
    name = "canary2-flash"
    decoder = Decoder(loaded(name).network, loaded(name).tokenizer, DecodingOptions())
    first, second, *_ = entries(name, decoder)
    long, short = Entry(first.states, first.prompt, 40), Entry(second.states, second.prompt, 5)
    going = batch.Batch(loaded(name).network, Symbols(-1, 10**6), Greedy(), None, False, [(0, long), (1, short)])

    def waiting() -> int:
        path = tmp_path / "graph.dot"
        mx.export_to_dot(str(path), going._rows.ended, going._rows.lengths)
        return len(path.read_text().splitlines())

    sizes = []
    for n in range(30):
        going.advance(may_shrink=False)
        if n % 10 == 9:
            assert going.n_free
            going.admit([(n, short)])
        sizes.append(waiting())
    assert max(sizes) == sizes[0]


@pytest.mark.parametrize("options", [DecodingOptions(beam_size=3), DecodingOptions(temperature=1.0, seed=3)])
def test_other_ways_of_decoding_are_not_joined(options):
    assert found("canary2-flash", 3, True, options) == found("canary2-flash", 3, False, options)


def test_items_are_taken_when_there_is_room():
    """So not more encoder states are held than are decoded, and one item beyond."""
    name = "canary2-flash"
    decoder = Decoder(loaded(name).network, loaded(name).tokenizer, DecodingOptions())
    taken = 0

    def coming():
        nonlocal taken
        for entry in entries(name, decoder):
            taken += 1
            yield entry

    for n_done, _ in enumerate(decoder.each(coming(), 2, True), 1):
        assert taken <= n_done + 2 + 1
    assert taken == len(LIMITS)
