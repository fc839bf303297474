"""Times are NeMo's, to the frame and to the digit: inline tokens, forced alignment, grouping, cross-attention."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from conftest import DATA

from mlx_canary.alignment.ctc import align_ctc
from mlx_canary.alignment.inline import parse_inline
from mlx_canary.alignment.spans import Span, TokenSpan, group_segments, group_words
from mlx_canary.alignment.viterbi import viterbi
from mlx_canary.backend import mx
from mlx_canary.load_models import LoadedModel, load_nemo
from mlx_canary.network.cross_attention import cross_attention
from mlx_canary.types import EncoderOutput

FRAME = 0.08  # seconds


def recorded(name):
    return json.loads((DATA / "alignment" / name).read_text(encoding="utf-8"))


def entries(spans, kind):
    """Our values under NeMo's keys."""
    names = {"text": kind, "piece": "token"}
    return [{names.get(key, key): value for key, value in asdict(span).items()} for span in spans]


def span(entry, kind):
    return Span(entry[kind], *(entry[key] for key in ("start_offset", "end_offset", "start", "end")))


def log_probs(clip):
    """The recorded columns in their places; the texts use no others."""
    table = np.load(DATA / "alignment" / "log_probs.npz")
    full = np.full((len(table[clip]), int(table["vocabulary_size"])), -100, np.float32)
    full[:, table["ids"]] = table[clip]
    return full


@pytest.fixture(scope="module")
def unified() -> LoadedModel:
    return load_nemo(DATA / "models" / "canary2-unified.nemo")


@pytest.mark.parametrize("case", recorded("inline.json"), ids=lambda case: case["text_in"][:30])
def test_inline_times_are_nemo_s(case):
    got = parse_inline(case["text_in"], FRAME)
    assert got.text == case["text_out"]
    assert entries(got.words, "word") == case["timestamp"]["word"]
    assert entries(got.segments, "segment") == case["timestamp"]["segment"]


@pytest.mark.parametrize("case", recorded("forced.json"), ids=lambda case: case["text"][:30])
def test_the_best_path_is_nemo_s(case):
    states = np.array(case["token_ids_with_blanks"])
    assert viterbi(log_probs(case["clip"]), states).tolist() == case["alignment"]


@pytest.mark.parametrize("case", recorded("forced.json"), ids=lambda case: case["text"][:30])
def test_forced_alignment_is_nemo_s(case, unified):
    """With its truncated offsets, its punctuation and its unknown characters."""
    got = align_ctc(case["text"], log_probs(case["clip"]), unified.tokenizer, FRAME)
    assert entries(got.words, "word") == case["timestamp"]["word"]
    assert entries(got.segments, "segment") == case["timestamp"]["segment"]
    whole = align_ctc(case["text"], log_probs(case["clip"]), unified.tokenizer, FRAME, whole=True)
    assert entries(whole.tokens, "char") == case["timestamp_char"]["char"]


@pytest.mark.parametrize("case", recorded("grouping.json")["words"], ids=lambda case: case["words"][0]["word"])
def test_tokens_become_nemo_s_words(case):
    tokens = [
        TokenSpan(t["char"], t["token_id"], t["token"], t["start_offset"], t["end_offset"], t["start"], t["end"])
        for t in case["chars"]
    ]
    assert group_words(tokens) == [span(word, "word") for word in case["words"]]


@pytest.mark.parametrize("case", recorded("grouping.json")["segments"], ids=lambda case: f"{case['delimiters']}")
def test_words_become_nemo_s_segments(case):
    words = [span(word, "word") for word in case["words"]]
    expected = [span(segment, "segment") for segment in case["segments"]]
    assert group_segments(words, case["delimiters"], case["gap"]) == expected


def test_cross_attention_is_nemo_s():
    """1e-5: probabilities of float32 softmaxes over states that are recorded."""
    network = load_nemo(DATA / "models" / "canary2-flash.nemo").network
    record = np.load(DATA / "alignment" / "cross_attention.npz")
    encoded = EncoderOutput(mx.array(record["states"]), (int(record["mask"].sum()),))
    weights = cross_attention(network, encoded, mx.array(record["ids"])[None])
    assert len(weights) == len(network.decoder.layers)
    np.testing.assert_allclose(np.array(weights[-2]), record["weights"], atol=1e-5)
