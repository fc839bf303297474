"""The operations that a Mac's GPU gets, computed on a CPU: MLX's own throughout, where a CPU would take NumPy's.

That Metal computes them is not shown by it; that the program asks for the right ones is.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from conftest import DATA

from mlx_canary import CanaryModel, TranscriptionOptions, kernels, memory
from mlx_canary.audio import features
from mlx_canary.backend import mx
from mlx_canary.decoding import batch
from mlx_canary.decoding.options import DecodingOptions
from mlx_canary.load_models import DEMO
from mlx_canary.network import canary, conformer, decoder
from mlx_canary.text.prompt import Task

FOLDER = DATA / "demo"
ROWS = [json.loads(line) for line in (FOLDER / "clips.jsonl").read_text(encoding="utf-8").splitlines()]
LANGUAGES = ("en", "de", "es", "fr")


@contextmanager
def as_on_a_mac() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (kernels, features, canary, conformer, decoder, batch):
            patch.setattr(module, "numpy_is_faster", lambda x: False)
        # On a CPU MLX compiles with a C++ compiler.
        for module in (kernels, decoder):
            patch.setattr(module, "compiling_pays", lambda: shutil.which("g++") is not None)
        patch.setattr(mx.metal, "is_available", lambda: True)
        patch.setattr(memory, "_usable", lambda: 16 << 30)
        yield


def test_texts_are_nemos():
    """All of them at once, four at a time: as one ends, another takes its place."""
    asked = [
        (FOLDER / row["audio_filepath"], TranscriptionOptions(row["lang"], task(row, target), target))
        for row in ROWS
        for target in LANGUAGES
    ]
    with as_on_a_mac():
        model = CanaryModel.from_pretrained("demo")
        found = [outcome.transcript for outcome in model.transcribe_each(asked, batch_size=4)]
    assert [text.text for text in found] == [row["nemo"][lang] for row in ROWS for lang in LANGUAGES]


def task(row: dict[str, Any], target: str) -> Task:
    return "transcribe" if target == row["lang"] else "translate"


@pytest.mark.parametrize(
    "options",
    [
        TranscriptionOptions("en", decoding=DecodingOptions(beam_size=3)),
        TranscriptionOptions("en", timestamps="word"),
    ],
    ids=["beams", "times"],
)
def test_a_long_recording_is_as_on_a_cpu(demo, options):
    """Over a minute: tokens of abandoned beams are forgotten on the way."""
    expected = demo.transcribe(DEMO.parent / "clips/en_long.opus", options=options)
    with as_on_a_mac():
        found = CanaryModel.from_pretrained("demo").transcribe(DEMO.parent / "clips/en_long.opus", options=options)
    assert found.text == expected.text
    assert [word.text for word in found.words] == [word.text for word in expected.words]
    starts = [word.start for word in expected.words]
    assert [word.start for word in found.words] == pytest.approx(starts, abs=0.081)  # a frame
