"""The texts that NeMo's transcribe() gave for the same files, by the public interface."""

from __future__ import annotations

import pytest
from conftest import MODELS, loaded, texts

from mlx_canary import CanaryModel

TASKS = {"asr": {}, "ast": {"task": "translate", "target_lang": "de", "pnc": False}}
# NeMo's beam search runs on after an end-of-text that comes first, so its text begins with that token. Ours is empty.
RAN_ON = "<|endoftext|>"


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("clip", ["chirp", "speech", "short"])
@pytest.mark.parametrize("task", TASKS)
def test_single_files(name, clip, task, wav):
    recorded = texts(name)["transcribe"]["single"][clip][task]["text"]
    expected = "" if recorded.startswith(RAN_ON) else recorded.strip()
    assert CanaryModel(loaded(name)).transcribe(wav[clip], language="en", **TASKS[task]).text == expected


@pytest.mark.parametrize("name", MODELS)
def test_a_batch_of_files(name, wav):
    recorded = [item["text"].strip() for item in texts(name)["transcribe"]["batch"]]
    got = CanaryModel(loaded(name)).transcribe_batch(list(wav.values()))
    assert [transcript.text for transcript in got] == recorded
