"""The decoder's compiled steps, which only a GPU takes unless asked for: on a CPU MLX compiles with a C++ compiler."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from conftest import loaded, texts

from mlx_canary import kernels
from mlx_canary.backend import mx
from mlx_canary.network import decoder
from mlx_canary.network.build import build_network
from mlx_canary.network.canary import CanaryNetwork
from mlx_canary.network.decoder import DecoderLayer
from mlx_canary.types import EncoderOutput

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
# Of the reference recordings' logits.
TOLERANCE = 3e-4


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch):
    """MLX's own operations throughout."""
    for module in (kernels, decoder):
        monkeypatch.setattr(module, "numpy_is_faster", lambda x: False)


def compile_steps(monkeypatch, wanted: bool) -> None:
    monkeypatch.setattr(decoder, "compiling_pays", lambda: wanted)


def logits(network: CanaryNetwork, n_rows: int, ids: list[int]) -> np.ndarray:
    """After each token of a teacher-forced text, (B, U, V); the first three are read together, padded in one row."""
    frames = np.random.default_rng(5).normal(size=(n_rows, 9, network.decoder.embedding.position.shape[1]))
    cache = network.start(EncoderOutput(mx.array(frames.astype(np.float32)), (9,) * n_rows), [1] + [0] * (n_rows - 1))
    steps = [ids[:3], *([token] for token in ids[3:])]
    return np.concatenate([np.array(network.step(mx.array([step] * n_rows), cache)) for step in steps], axis=1)


@pytest.mark.parametrize("name", ["canary1-agg-gz", "canary2-flash", "canary2-unified"])
@pytest.mark.parametrize("n_rows", [1, 3])
def test_logits_are_the_same(name, n_rows, monkeypatch):
    found = []
    for wanted in (False, True):
        compile_steps(monkeypatch, wanted)
        found.append(logits(loaded(name).network, n_rows, list(texts(name)["prompt"])))
    assert np.abs(found[0] - found[1]).max() < TOLERANCE


def test_steps_are_compiled_once(monkeypatch):
    """For each number of rows: not for each length of a text or a recording. Prompts are not compiled."""
    compile_steps(monkeypatch, True)
    traced: list[tuple[int, ...]] = []
    after = DecoderLayer.after_frames

    def noted(self, x, attended):
        traced.append(tuple(x.shape))
        return after(self, x, attended)

    monkeypatch.setattr(DecoderLayer, "after_frames", noted)
    network = build()
    for n_rows in (1, 2, 1, 2):
        logits(network, n_rows, [1, 2, 3, 4, 5, 6, 7])
    n_layers = len(network.decoder.layers)
    assert [shape[1] for shape in traced].count(3) == 4 * n_layers
    assert [shape[:2] for shape in traced].count((1, 1)) == [shape[:2] for shape in traced].count((2, 1)) == n_layers


def test_other_weights_count_at_once(monkeypatch):
    network, ids = build(), [1, 2, 3, 4, 5]
    compile_steps(monkeypatch, True)
    logits(network, 2, ids)
    layer = network.decoder.layers[0]
    layer.update({"feed_forward": {"w1": {"weight": layer.feed_forward.w1.weight * 2}}})
    compiled = logits(network, 2, ids)
    compile_steps(monkeypatch, False)
    assert np.abs(compiled - logits(network, 2, ids)).max() < TOLERANCE


def build() -> CanaryNetwork:
    """A network of its own, for what is compiled stays with it."""
    network = build_network(loaded("canary2-flash").config)
    network.update(loaded("canary2-flash").network.parameters())
    return network
