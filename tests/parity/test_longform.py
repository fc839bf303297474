"""Long recordings as NeMo does them: windows, merged text and times of canary-1b-v2, pieces of the flash models."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from conftest import DATA, clip, loaded

from mlx_canary import Prompt, nemo_longform
from mlx_canary.nemo_longform import transcribe_like_nemo

# How NeMo's recording of 75.3 s was put together: clips, divided by a number, and silences in samples.
PLAN = (
    *(("speech", 1), ("chirp", 2), (None, 11200), ("speech", 2 / 3), ("short", 1), ("speech", 1), ("chirp", 1)),
    *(("speech", 2), (None, 24000), ("speech", 1), ("short", 2), ("speech", 3), ("speech", 1), ("chirp", 3)),
    *(("speech", 2), ("speech", 1), ("chirp", 1)),
)


def recorded(name):
    return json.loads((DATA / f"longform/{name}.json").read_text(encoding="utf-8"))


@cache
def recording() -> np.ndarray:
    """The recording, proved by its hash to be NeMo's."""
    parts = []
    for name, number in PLAN:
        if name is None:
            parts.append(np.zeros(number, np.int64))
            continue
        samples = (clip(name) * 32768).astype(np.int64)
        numerator, denominator = (2, 3) if number == 2 / 3 else (1, number)
        parts.append(np.sign(samples) * (np.abs(samples * numerator) // denominator))
    joined = np.concatenate(parts)
    joined = np.tile(joined, 2)[:1204800].astype(np.int16)
    assert hashlib.sha256(joined.astype("<i2").tobytes()).hexdigest() == recorded("longform")["sha256_int16"]
    return joined.astype(np.float32) / 32768


def assert_spans(got, expected, kind):
    assert [span.text for span in got] == [entry[kind] for entry in expected]
    for span, entry in zip(got, expected, strict=True):
        assert (span.start_offset, span.end_offset) == (entry["start_offset"], entry["end_offset"])
        assert (span.start, span.end) == pytest.approx((entry["start"], entry["end"]), abs=1e-6)


@pytest.mark.parametrize("timestamps", [False, True])
def test_overlapping_windows(timestamps):
    expected = recorded("longform")["timestamps" if timestamps else "plain"]
    got = transcribe_like_nemo(loaded("canary2-unified"), recording(), Prompt("en", "en"), timestamps)
    assert [list(chunk) for chunk in got.chunks] == [chunk["ids"] for chunk in expected["chunks"]]
    assert got.text == expected["merged"]["text"]
    if timestamps:
        assert_spans(got.words, expected["merged"]["timestamp"]["word"], "word")
        assert_spans(got.segments, expected["merged"]["timestamp"]["segment"], "segment")


def test_a_rest_too_short_for_a_frame_after_an_hour_stops_nothing(monkeypatch):
    monkeypatch.setattr(nemo_longform, "HOUR", 4)
    model, samples, prompt = loaded("canary2-unified"), recording()[: 4 * 16_000 + 160], Prompt("en", "en")
    hour = transcribe_like_nemo(model, samples[: 4 * 16_000], prompt, timestamps=False)
    for rest in (1, 100, 159):
        assert transcribe_like_nemo(model, samples[: 4 * 16_000 + rest], prompt, timestamps=False) == hour


def test_pieces_without_overlap():
    expected = recorded("buffered")
    model, samples = loaded("canary2-flash"), recording()[: expected["samples"]]
    # It was recorded without NeMo's script, which sets the decoding.
    got = transcribe_like_nemo(model, samples, Prompt("en", "en"), timestamps=True, pieces=model.config.decoding)
    assert [list(chunk) for chunk in got.chunks] == [chunk["ids"] for chunk in expected["chunks"]]
    assert got.text == expected["merged"]["text"]
    assert_spans(got.words, expected["merged"]["timestamp"]["word"], "word")
    assert_spans(got.segments, expected["merged"]["timestamp"]["segment"], "segment")


def with_decoding(name, **section):
    """A checkpoint whose configuration has another decoding section."""
    model = loaded(name)
    decoding = model.config.decoding.model_copy(update=section)
    return replace(model, config=model.config.model_copy(update={"decoding": decoding}))


# What NeMo 3.0's transcribe() said of the clip after the same change; its beam search overlooks an end at once.
@pytest.mark.parametrize(
    ("section", "text"),
    [
        ({"strategy": "greedy"}, ""),
        ({"strategy": "greedy", "beam_size": 4, "length_penalty": 1.0}, ""),
        ({"beam_size": 4}, "<|endoftext|>orgen"),
        ({"beam_size": 4, "length_penalty": 1.0}, "<|endoftext|>ond wen Mornelleyir<|759|>"),
    ],
    ids=str,
)
def test_overlapping_windows_are_decoded_as_the_checkpoint_says(section, text):
    """Every checkpoint was once decoded with a beam of one."""
    asked = Prompt("en", "de", pnc=False)
    assert transcribe_like_nemo(with_decoding("canary2-unified", **section), clip("short"), asked, False).text == text


def test_a_penalty_changes_nothing_for_a_single_beam():
    plain, penalised = (with_decoding("canary2-unified", length_penalty=penalty) for penalty in (0.0, 1.0))
    asked = Prompt("en", "de", pnc=False)
    texts = [transcribe_like_nemo(model, clip("short"), asked, False).text for model in (plain, penalised)]
    assert texts[0] == texts[1]
    assert texts[0].startswith("<|endoftext|>ornelle The wea for colt!")


# How NeMo's class for pieces ends the last of the recording when its script has set the decoding.
SCRIPT_END = [1161, 277, 278, 1155, 1220, 1168, 1222, 1232, 281]


@pytest.mark.parametrize(
    "section", [{}, {"strategy": "greedy"}, {"beam_size": 4}, {"max_generation_delta": 0}], ids=str
)
def test_pieces_are_decoded_as_nemo_s_script_does(section):
    """Whatever the checkpoint says: a beam of one, and as many tokens as the decoder has places for."""
    expected = recorded("buffered")
    model, samples = with_decoding("canary2-flash", **section), recording()[: expected["samples"]]
    got = transcribe_like_nemo(model, samples, Prompt("en", "en"), timestamps=True)
    *whole, cut = (tuple(chunk["ids"]) for chunk in expected["chunks"])
    assert got.chunks == (*whole, (*cut, *SCRIPT_END))
