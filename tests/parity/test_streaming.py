"""NeMo's streaming policies: what is written after every step of the recorded runs."""

from __future__ import annotations

import json

import pytest
from conftest import DATA, clip, loaded

from mlx_canary.streaming.options import StreamingOptions
from mlx_canary.streaming.policies import AlignAtt, WaitK

RUNS = json.loads((DATA / "streaming/streaming.json").read_text(encoding="utf-8"))["runs"]
POLICIES = {"waitk": WaitK, "alignatt": AlignAtt}


def policy_of(run, model):
    options = StreamingOptions(
        policy=run["options"]["streaming_policy"],
        **{name: value for name, value in run["options"].items() if name != "streaming_policy"},
        **run["seconds"],
    )
    return POLICIES[options.policy](model, run["prompt"], options)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run['options']['streaming_policy']}")
@pytest.mark.parametrize("block", [160, 1777, 112160])
def test_recorded_runs(run, block):
    """The ids after every step, however the sound is divided; a large block makes several steps at once."""
    policy, samples = policy_of(run, loaded("canary2-flash")), clip("speech")
    written = {}
    for start in range(0, len(samples), block):
        policy.feed(samples[start : start + block])
        written[policy.n_heard] = policy.tokens
    policy.finish()
    written[policy.n_heard] = policy.tokens
    expected = dict(zip(run["audio_to"], run["n_written"], strict=True))
    assert policy.tokens == run["ids"]
    if block < 10_000:
        assert {n: tokens for n, tokens in written.items() if n} == {n: run["ids"][:k] for n, k in expected.items()}


def test_text():
    model = loaded("canary2-flash")
    assert {model.tokenizer.decode(run["ids"]) for run in RUNS} == {run["text"] for run in RUNS}
