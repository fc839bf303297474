"""Times from cross-attention: the right heads are found, words keep to the speech, nothing is lost."""

import numpy as np
import pytest
from conftest import DATA
from hypothesis import given
from hypothesis import strategies as st

from mlx_canary.alignment.attention import attention_words, head_shares, word_evidence, words_of_tokens
from mlx_canary.alignment.layout import expected_lengths, lay_words
from mlx_canary.alignment.pauses import pause_odds
from mlx_canary.backend import mx
from mlx_canary.load_models import LoadedModel, load_nemo
from mlx_canary.types import Audio

SPEECH = np.full(30, -3.0)


@pytest.fixture(scope="module", params=["canary1-agg-gz", "canary2-flash", "canary2-unified", "var-bf16"])
def model(request) -> LoadedModel:
    return load_nemo(DATA / f"models/{request.param}.nemo")


@pytest.fixture(scope="module")
def sound() -> Audio:
    noise = np.random.default_rng(0).normal(size=24_000).astype(np.float32) * 0.1
    return Audio(noise, 16_000)


def align(model, audio, text):
    tokens = model.tokenizer.encode(text, "en")
    encoded = model.network.encode(model.preprocessor([audio.samples]))
    prompt = [model.tokenizer.bos_id]
    return attention_words(model.network, encoded, prompt, tokens, model.tokenizer, audio, 0.08)


def attention_at(frames, n_frames):
    """One head whose tokens look at these frames, (1, U, S)."""
    weights = np.full((len(frames), n_frames), 0.01)
    for row, (first, end) in zip(weights, frames, strict=True):
        row[first:end] = 1 / (end - first)
    return weights[None]


@pytest.mark.parametrize("text", ["Hello, the weather is cold.", "one", "Thank you! Good morning, every one."])
def test_text_is_kept_and_times_rise_inside_the_recording(model, sound, text):
    """Whatever a model of random weights looks at."""
    words = align(model, sound, text)
    assert " ".join(word.text for word in words) == model.tokenizer.decode(model.tokenizer.encode(text, "en")).strip()
    times = [t for word in words for t in (word.start, word.end)]
    assert times == sorted(times)
    assert all(0 <= t <= sound.duration for t in times)


def test_more_words_than_frames_are_spread_evenly(model, sound):
    words = align(model, sound, "a " * 100)
    assert len(words) == 100
    assert words[-1].end == pytest.approx(sound.duration)


def test_special_tokens_are_no_words(model, sound):
    tokenizer = model.tokenizer
    tokens = [tokenizer.special_id("<|nospeech|>"), *tokenizer.encode("to me", "en"), tokenizer.eos_id]
    words, word_of = words_of_tokens(tokens, tokenizer)
    assert words == ["to", "me"]
    assert word_of[0] == word_of[-1] == -1
    assert set(word_of[1:-1]) == {0, 1}


def test_unknown_tokens_part_no_words(model):
    tokenizer = model.tokenizer
    word = tokenizer.encode("everyone", "en")
    for unknown in tokenizer.unknown_ids:
        assert words_of_tokens([*word[:1], unknown, *word[1:]], tokenizer)[0] == ["everyone"]


def test_a_token_belongs_to_the_word_that_the_text_up_to_it_ends_with(model):
    """Whatever follows what: parts of words, other languages' pieces, lone spaces, special and unknown tokens."""
    tokenizer, rng = model.tokenizer, np.random.default_rng(0)
    spaces = [i for i in range(tokenizer.size) if tokenizer.piece(i) == "▁"]
    kinds = [range(tokenizer.size), sorted(tokenizer.special_ids), sorted(tokenizer.unknown_ids), spaces]
    for _ in range(200):
        tokens = [int(rng.choice(kinds[kind])) for kind in rng.choice(4, size=30, p=[0.85, 0.05, 0.05, 0.05])]
        words, word_of = words_of_tokens(tokens, tokenizer)
        before, stretch = [], []
        for token, word in zip(tokens, word_of, strict=True):
            if token not in tokenizer.special_ids:
                stretch.append(token)
                n_words = len(tokenizer.decode(stretch).split()) + (token in spaces)
                assert word == min(len(before) + max(n_words - 1, 0), len(words) - 1)
                continue
            assert word == -1
            if token not in tokenizer.unknown_ids:
                before += tokenizer.decode(stretch).split()
                stretch = []
        assert words == before + tokenizer.decode(stretch).split()


def test_a_text_is_not_decoded_again_for_each_of_its_tokens(model, monkeypatch):
    """300 tokens took a quarter of a second."""
    tokenizer, n_decoded = model.tokenizer, []
    tokens, decode = tokenizer.encode("he was there and then " * 30, "en"), tokenizer.decode
    monkeypatch.setattr(tokenizer, "decode", lambda ids: n_decoded.append(len(ids)) or decode(ids))
    assert len(words_of_tokens(tokens, tokenizer)[0]) == 150
    assert sum(n_decoded) < 10 * len(tokens)


def test_a_text_as_long_as_it_may_be_has_its_times(model, sound):
    """Its last token has no row in the position table: MLX would read whatever lies behind it, here not a number."""
    embedding, tokens = model.network.decoder.embedding, model.tokenizer.encode("Thank you all", "en")
    whole = embedding.position
    behind = np.full_like(np.array(whole.astype(mx.float32)), np.nan)
    embedding.position = mx.concatenate([whole[: len(tokens)], mx.array(behind).astype(whole.dtype)])[: len(tokens)]
    mx.eval(embedding.position)
    try:
        cut = align(model, sound, "Thank you all")
    finally:
        embedding.position = whole
    assert cut == align(model, sound, "Thank you all")


def test_heads_that_move_with_the_speech_are_chosen():
    """A head that looks everywhere, one that looks at one place, one that goes backwards and one that goes forwards."""
    frames = [(5 * u, 5 * u + 5) for u in range(6)]
    still, back = attention_at([(0, 5)] * 6, 30), attention_at(frames[::-1], 30)
    shares = head_shares(np.concatenate([np.full((1, 6, 30), 1 / 30), still, back, attention_at(frames, 30)]))
    assert shares == pytest.approx([0, 0, 0, 1])


def test_words_stand_where_the_attention_is():
    frames = [(2, 7), (7, 11), (11, 20), (20, 30)]
    evidence = word_evidence(attention_at(frames, 30), np.arange(4), 4)
    firsts, ends = lay_words(evidence, SPEECH, np.full(4, 7.0))
    assert firsts.tolist()[1:] == ends.tolist()[:-1] == [7, 11, 20]


def test_a_pause_belongs_to_no_word():
    pauses = SPEECH.copy()
    pauses[12:18] = 3
    evidence = word_evidence(attention_at([(0, 15), (15, 30)], 30), np.arange(2), 2)
    firsts, ends = lay_words(evidence, pauses, np.array([12.0, 12.0]))
    assert (ends[0], firsts[1]) == (12, 18)


def test_without_evidence_words_last_as_long_as_their_letters():
    expected = expected_lengths(["a", "longest"], 22, 10)
    firsts, ends = lay_words(np.zeros((2, 22)), np.full(22, -3.0), expected)
    assert (ends - firsts).tolist() == [5, 17]


@given(st.integers(1, 6), st.integers(6, 25), st.integers(0, 2**32 - 1))
def test_every_word_gets_a_frame_of_its_own(n_words, n_frames, seed):
    rng = np.random.default_rng(seed)
    evidence = np.log(rng.random((n_words, n_frames)) + 1e-3)
    firsts, ends = lay_words(evidence, rng.uniform(-3, 3, n_frames), rng.uniform(1, 9, n_words))
    assert (firsts < ends).all()
    assert (firsts[1:] >= ends[:-1]).all()
    assert firsts[0] >= 0
    assert ends[-1] <= n_frames


def test_quiet_stretches_are_pauses_and_constant_noise_is_not():
    noise = np.random.default_rng(0).normal(size=16_000).astype(np.float32)
    assert (pause_odds(noise, 10, 1_600) < 0).all()
    noise[4_800:8_000] *= 0.01
    assert (pause_odds(noise, 10, 1_600) > 0).tolist() == [False] * 3 + [True] * 2 + [False] * 5
