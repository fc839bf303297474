"""Encoder frames of 40 ms: two small checkpoints of factor 4, overfitted on two clips by NeMo, and NeMo's times."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
from conftest import DATA, WAVS, clip

from mlx_canary import CanaryModel, Prompt, TranscriptionOptions
from mlx_canary.load_models import load_nemo
from mlx_canary.nemo_longform import transcribe_like_nemo

FOLDER = DATA / "frames"
NEMO = json.loads((FOLDER / "nemo.json").read_text(encoding="utf-8"))


@cache
def model(name: str) -> CanaryModel:
    return CanaryModel.from_pretrained(FOLDER / f"{name}.nemo")


@pytest.mark.parametrize("name", ["canary2-flash", "canary2-unified"])
@pytest.mark.parametrize("wav", ["speech", "chirp"])
def test_times_of_words(name, wav):
    """By time tokens and by the auxiliary model."""
    expected = NEMO[name][wav]
    options = TranscriptionOptions("en", timestamps="word", guards=False)
    found = model(name).transcribe(DATA / "audio" / WAVS[wav], options=options)
    assert found.text == expected["text"]
    assert [word.text for word in found.words] == [word for word, *_ in expected["words"]]
    times = [time for word in found.words for time in (word.start, word.end)]
    assert times == pytest.approx([time for _, *pair in expected["words"] for time in pair], abs=1e-6)


def test_attention_keeps_to_the_frames():
    """NeMo has no such times; the auxiliary model's are the measure."""
    options = TranscriptionOptions("en", timestamps="word", times_from="attention", guards=False)
    found = model("canary2-unified").transcribe(DATA / "audio" / WAVS["speech"], options=options)
    expected = NEMO["canary2-unified"]["speech"]["words"]
    assert abs(found.words[-1].end - expected[-1][2]) < 0.3


@pytest.mark.parametrize("timestamps", [False, True])
def test_a_long_recording_as_nemo_does(timestamps):
    """52.3 s in overlapping windows: how many tokens are compared at a seam goes by the frames too."""
    samples = np.tile(clip("speech"), 8)[: int(52.3 * 16_000)]
    found = transcribe_like_nemo(load_nemo(FOLDER / "canary2-unified.nemo"), samples, Prompt("en", "en"), timestamps)
    assert found.text.strip() == NEMO["longform"]["timed" if timestamps else "plain"].strip()
    if timestamps:
        words = [
            (word.text, pytest.approx(word.start, abs=1e-6), pytest.approx(word.end, abs=1e-6)) for word in found.words
        ]
        assert words == [tuple(word) for word in NEMO["longform"]["words"]]
