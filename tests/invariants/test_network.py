"""What must not change a result: company in a batch, padding, the cache, another decoding, saving and loading.

float32 sums come in another order when shapes change, so numbers are compared to 1e-4 or better and tokens exactly.
"""

from __future__ import annotations

import numpy as np
import pytest
from conftest import MODELS, clip, loaded

from mlx_canary import CanaryModel, Prompt
from mlx_canary.backend import mx
from mlx_canary.load_models import LoadedModel
from mlx_canary.network import canary
from mlx_canary.network.attention import LocalRelPositionAttention, RelPositionAttention
from mlx_canary.network.build import build_network, parameters
from mlx_canary.text.prompt import encode_prompt
from mlx_canary.types import Audio, EncoderOutput, Features, Hypothesis

every_model = pytest.mark.parametrize("name", MODELS)
RATE, TOLERANCE = 16000, 1e-4


def recordings() -> list[np.ndarray]:
    """Of lengths whose frames and encoder frames round in every way: multiples of the hop and of eight, one off."""
    speech, chirp = clip("speech"), clip("chirp")
    return [
        speech,
        chirp,
        chirp[:-1],
        speech[: 160 * 128],
        speech[: 160 * 128 + 1],
        speech[: 160 * 129],
        speech[16000:],
    ]


def prompts(model: LoadedModel) -> list[list[int]]:
    """Of different lengths, where the checkpoint has a place for context."""
    asked = [Prompt("en", "en"), Prompt("de", "de", pnc=False), Prompt("en", "de", task="translate")]
    if model.config.prompt.format == "canary2":
        asked += [
            Prompt("en", "en", decodercontext="the weather"),
            Prompt("fr", "fr", decodercontext="a longer one here"),
        ]
    return [encode_prompt(prompt, model.config.prompt.format, model.tokenizer) for prompt in asked]


def decode(model: LoadedModel, samples: list[np.ndarray], asked: list[list[int]]) -> list[Hypothesis]:
    encoded = model.network.encode(model.preprocessor(samples))
    return CanaryModel(model).decode_greedy(encoded, asked, [40] * len(samples))


def maximum(a: mx.array, b: mx.array) -> float:
    return float(mx.abs(a - b).max())


@every_model
def test_features_in_a_batch_are_those_alone(name):
    preprocessor, samples = loaded(name).preprocessor, recordings()
    batch = preprocessor(samples)
    for row, item in enumerate(samples):
        alone = preprocessor([item])
        assert batch.lengths[row] == alone.lengths[0] == len(item) // 160
        assert maximum(batch.frames[row, : alone.lengths[0]], alone.frames[0]) < TOLERANCE
        assert not batch.frames[row, alone.lengths[0] :].any().item()


@every_model
def test_encoder_states_in_a_batch_are_those_alone(name):
    model, samples = loaded(name), recordings()
    batch = model.network.encode(model.preprocessor(samples))
    for row, item in enumerate(samples):
        alone = model.network.encode(model.preprocessor([item]))
        n = alone.lengths[0]
        assert batch.lengths[row] == n == -(-(len(item) // 160) // 8)
        assert maximum(batch.states[row, :n], alone.states[0, :n]) < TOLERANCE


@every_model
@pytest.mark.parametrize("n_frames", [1, 700, 1400])
def test_however_many_the_encoder_hears_at_once(name, n_frames, monkeypatch):
    """One at a time, or two and two: memory is bounded, states are the same."""
    model, samples = loaded(name), recordings()
    features = model.preprocessor(samples)
    whole = model.network.encode(features)
    monkeypatch.setattr(canary, "frames_at_once", lambda: n_frames)
    for ahead in (False, True):  # as on a Mac's GPU, as on NVIDIA's
        monkeypatch.setattr(canary, "is_cuda", lambda ahead=ahead: ahead)
        parts = model.network._encode_parts(features.frames, features.lengths)
        assert parts.lengths == whole.lengths
        for row, length in enumerate(whole.lengths):
            assert maximum(parts.states[row, :length], whole.states[row, :length]) < TOLERANCE


def test_the_encoder_hears_what_a_device_holds():
    assert canary.frames_within(100 << 20) == 12_000  # two minutes, whatever there is
    assert canary.frames_within(6 << 30) * 75_000 <= 6 << 30
    assert canary.frames_within(35 << 30) == 100_000  # more gains little


@every_model
def test_tokens_in_a_batch_are_those_alone(name):
    """Recordings and prompts of different lengths, ends at different steps."""
    model = loaded(name)
    asked = (prompts(model) * 3)[: len(recordings())]
    together = decode(model, recordings(), asked)
    for item, prompt, hypothesis in zip(recordings(), asked, together, strict=True):
        (alone,) = decode(model, [item], [prompt])
        assert hypothesis.tokens == alone.tokens
        assert hypothesis.finished == alone.finished
        np.testing.assert_allclose(hypothesis.token_logprobs, alone.token_logprobs, atol=1e-3)


@every_model
def test_the_order_of_a_batch_does_not_matter(name):
    model = loaded(name)
    asked = (prompts(model) * 3)[: len(recordings())]
    forwards = decode(model, recordings(), asked)
    backwards = decode(model, recordings()[::-1], asked[::-1])[::-1]
    assert [h.tokens for h in forwards] == [h.tokens for h in backwards]


@every_model
def test_what_lies_in_the_padding_does_not_matter(name):
    """Garbage past the lengths, as large as it likes, changes no valid frame and no token."""
    model = loaded(name)
    features = model.preprocessor([clip("speech"), clip("chirp")])
    n = features.lengths[1]
    garbage = mx.array(np.random.default_rng(0).normal(0, 100, features.frames[1, n:].shape).astype(np.float32))
    frames = mx.stack([features.frames[0], mx.concatenate([features.frames[1, :n], garbage])])
    longer = mx.concatenate([frames, mx.full((2, 40, frames.shape[2]), 1e3)], axis=1)
    clean, dirty = (model.network.encode(Features(f, features.lengths)) for f in (features.frames, longer))
    assert clean.lengths == dirty.lengths
    for row, length in enumerate(clean.lengths):
        assert maximum(clean.states[row, :length], dirty.states[row, :length]) < TOLERANCE
    asked = prompts(model)[:2]
    hypotheses = [CanaryModel(model).decode_greedy(e, asked, [40, 40]) for e in (clean, spoiled(dirty))]
    assert [h.tokens for h in hypotheses[0]] == [h.tokens for h in hypotheses[1]]


def spoiled(encoded: EncoderOutput) -> EncoderOutput:
    """Garbage past the valid encoder frames."""
    valid = mx.arange(encoded.states.shape[1]) < mx.array(encoded.lengths)[:, None]
    return EncoderOutput(mx.where(valid[..., None], encoded.states, 1e4), encoded.lengths)


def text_ids(model: LoadedModel) -> list[int]:
    return [*prompts(model)[0], *range(20, 60), model.tokenizer.eos_id, *range(30)]


@every_model
@pytest.mark.parametrize("sizes", [[1] * 70, [70], [9, 1, 1, 59], [64, 1, 5], [35, 35]], ids=str)
def test_the_cache_changes_nothing(name, sizes):
    """A text fed token by token, in pieces or whole gives the same logits; 70 tokens make the buffers grow."""
    model = loaded(name)
    ids = mx.array([text_ids(model)[:70]] * 2)
    encoded = model.network.encode(model.preprocessor([clip("speech"), clip("chirp")]))
    whole = model.network.step(ids, model.network.start(encoded, [0, 0]))
    cache, parts, start = model.network.start(encoded, [0, 0]), [], 0
    for size in sizes:
        parts.append(model.network.step(ids[:, start : start + size], cache))
        start += size
    assert maximum(mx.concatenate(parts, axis=1), whole) < TOLERANCE


@every_model
def test_padding_before_a_prompt_changes_nothing(name):
    model = loaded(name)
    ids = text_ids(model)[:20]
    encoded = model.network.encode(model.preprocessor([clip("speech")] * 3))
    alone = model.network.encode(model.preprocessor([clip("speech")]))
    plain = model.network.step(mx.array([ids]), model.network.start(alone, [0]))[0]
    padded = mx.array([[7, 3, 5, *ids], [9, *ids, 0, 0], [0, 0, *ids, 4]])
    got = model.network.step(padded, model.network.start(encoded, [3, 1, 2]))
    for row, n in enumerate((3, 1, 2)):
        assert maximum(got[row, n : n + len(ids)], plain) < TOLERANCE


@every_model
def test_rows_may_leave_the_batch(name):
    """When an item ends the others go on as if it had never been there."""
    model = loaded(name)
    ids = mx.array([text_ids(model)[:20]] * 3)
    encoded = model.network.encode(model.preprocessor([clip("speech"), clip("chirp"), clip("speech")[::-1].copy()]))
    stays, leaves = model.network.start(encoded, [0, 1, 2]), model.network.start(encoded, [0, 1, 2])
    for cache in (stays, leaves):
        model.network.step(ids[:, :10], cache)
    leaves.select([2, 0])
    expected = model.network.step(ids[:, 10:], stays)
    got = model.network.step(ids[:2, 10:], leaves)
    assert maximum(got[0], expected[2]) < TOLERANCE
    assert maximum(got[1], expected[0]) < TOLERANCE


@every_model
def test_two_decodings_on_one_model_do_not_disturb_each_other(name):
    """The network remembers nothing: caches belong to the caller."""
    model = loaded(name)
    ids, network = text_ids(model)[:24], model.network
    encoded = [network.encode(model.preprocessor([clip(c)])) for c in ("speech", "chirp")]

    def steps(which: int) -> list[mx.array]:
        cache = network.start(encoded[which], [0])
        return [network.step(mx.array([[i]]), cache) for i in ids[which:]]

    apart = [steps(0), steps(1)]
    caches = [network.start(e, [0]) for e in encoded]
    together: list[list[mx.array]] = [[], []]
    for n in range(len(ids) - 1):
        for which in (0, 1):
            together[which].append(network.step(mx.array([[ids[which:][n]]]), caches[which]))
    for which in (0, 1):
        for one, other in zip(together[which], apart[which], strict=False):
            assert mx.array_equal(one, other).item()


@every_model
def test_decoding_changes_no_weight(name):
    model = loaded(name)
    before = {key: np.array(value.astype(mx.float32)) for key, value in parameters(model.network)}
    decode(model, recordings()[:2], prompts(model)[:2])
    for key, value in parameters(model.network):
        assert np.array_equal(np.array(value.astype(mx.float32)), before[key]), key


@every_model
def test_saved_and_loaded_weights_compute_the_same_bits(name, tmp_path):
    model = loaded(name)
    mx.save_safetensors(str(tmp_path / "x.safetensors"), dict(parameters(model.network)))
    again = build_network(model.config)
    again.load_weights(str(tmp_path / "x.safetensors"), strict=True)
    again.eval()
    features = model.preprocessor([clip("speech")])
    assert mx.array_equal(again.encode(features).states, model.network.encode(features).states).item()


@every_model
def test_the_same_input_gives_the_same_bits_again(name):
    model = loaded(name)
    features = model.preprocessor([clip("speech"), clip("chirp")])
    first, second = (model.network.encode(features).states for _ in range(2))
    assert mx.array_equal(first, second).item()


# Attention, against its definition.


def filled(attention: RelPositionAttention) -> RelPositionAttention:
    """Random weights and biases, large enough that every term counts."""
    rng = np.random.default_rng(1)
    shapes = [(name, value.shape) for name, value in parameters(attention)]
    attention.load_weights([(name, mx.array(rng.normal(0, 0.5, shape).astype(np.float32))) for name, shape in shapes])
    return attention


def by_definition(a: RelPositionAttention, x: np.ndarray, valid: np.ndarray, left: int, right: int) -> np.ndarray:
    """Loops over queries and keys: score = ((q + u) k + (q + v) p(i - j)) / sqrt(K). x (S, D), valid (S,) -> (S, D)."""
    S, D = x.shape
    H, K = a.n_heads, D // a.n_heads
    w = {name: np.array(value, np.float64) for name, value in parameters(a)}
    q, k, v = (x @ w[f"{n}.weight"].T + w[f"{n}.bias"] for n in ("wq", "wk", "wv"))
    out = np.zeros((S, D))
    for h in range(H):
        part = slice(h * K, (h + 1) * K)
        for i in range(S):
            keys = [j for j in range(S) if valid[j] and -left <= j - i <= right]
            scores = [
                (q[i, part] + w["pos_bias_u"][h]) @ k[j, part]
                + (q[i, part] + w["pos_bias_v"][h]) @ (w["w_pos.weight"] @ sinusoid(i - j, D))[part]
                for j in keys
            ]
            weights = np.exp(np.array(scores) / np.sqrt(K))
            out[i, part] = (weights / weights.sum()) @ v[keys, part]
    return out @ w["wo.weight"].T + w["wo.bias"]


def sinusoid(offset: int, D: int) -> np.ndarray:
    """Interleaved sines and cosines of one offset."""
    angles = offset / 10000 ** (np.arange(0, D, 2) / D)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(-1)


def attend(a: RelPositionAttention, x: np.ndarray, valid: np.ndarray) -> np.ndarray:
    mask = None if valid.all() else mx.array(valid)[None, None, None]
    return np.array(a(mx.array(x[None], mx.float32), a.positions(len(x)), mask)[0])


@pytest.mark.parametrize("n_frames", [1, 2, 3, 7])
@pytest.mark.parametrize("n_valid", [1, 2, 5])
def test_relative_attention_is_its_definition(n_frames, n_valid):
    """Sign and place of the offsets, which other ports got wrong: with two and three frames every mistake shows."""
    valid = np.arange(n_frames) < n_valid
    attention = filled(RelPositionAttention(8, 2, (-1, -1), bias=True))
    x = np.random.default_rng(2).normal(size=(n_frames, 8))
    expected = by_definition(attention, x, valid, n_frames, n_frames)
    np.testing.assert_allclose(attend(attention, x, valid)[valid], expected[valid], atol=2e-5)


@pytest.mark.parametrize("context", [(1, 1), (2, 2), (3, 3), (10, 10)])
@pytest.mark.parametrize("n_frames", [1, 2, 3, 7])
def test_local_attention_is_full_attention_within_a_band(context, n_frames):
    """Where it looks as far to the left as to the right; otherwise NeMo misplaces its positions, and so do we."""
    local = filled(LocalRelPositionAttention(8, 2, context, bias=True))
    x, valid = np.random.default_rng(3).normal(size=(n_frames, 8)), np.ones(n_frames, bool)
    np.testing.assert_allclose(attend(local, x, valid), by_definition(local, x, valid, *context), atol=2e-5)


@pytest.mark.parametrize("context", [(2, 2), (2, 0), (0, 3), (-1, 1), (1, -1)])
def test_a_bounded_context_of_full_attention_is_a_band(context):
    left, right = (n if n >= 0 else 99 for n in context)
    attention = filled(RelPositionAttention(8, 2, context, bias=True))
    x, valid = np.random.default_rng(4).normal(size=(6, 8)), np.arange(6) < 5
    expected = by_definition(attention, x, valid, left, right)
    np.testing.assert_allclose(attend(attention, x, valid)[valid], expected[valid], atol=2e-5)


@every_model
def test_generate_takes_one_prompt_for_each_recording(name):
    model = CanaryModel(loaded(name))
    with pytest.raises(ValueError, match="one for each"):
        model.generate([Audio(clip("chirp"), RATE)] * 2, [Prompt("en", "en")])
