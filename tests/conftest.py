"""What all tests share: NeMo's checkpoints and recordings, three clips of sound, the command line, and a server."""

from __future__ import annotations

import ctypes
import json
import os
import sys
import tempfile
import wave
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import settings
from servers import Server, running

from mlx_canary import Audio, CanaryModel
from mlx_canary.backend import mx
from mlx_canary.cli.main import main
from mlx_canary.load_models import LoadedModel, load_nemo

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "tests" / "data"
MODELS = sorted(path.stem for path in (DATA / "models").glob("*.nemo"))
WAVS = {"chirp": "chirp_2s3.wav", "speech": "speech_7s01.wav", "short": "short_0s4.wav"}

# No test reaches the Hugging Face hub, or a person's models: nobody is at this port, and nothing in this folder.
_CACHE = tempfile.TemporaryDirectory(prefix="mlx-canary-cache-")
os.environ.update(HF_ENDPOINT="http://127.0.0.1:9", MLX_CANARY_CACHE=_CACHE.name, HF_HUB_DISABLE_XET="1")
# Otherwise NVIDIA's GPUs, and Apple's from the M5 on, multiply float32 less exactly than what is compared here.
os.environ.setdefault("MLX_ENABLE_TF32", "0")

# The adapter that compares the package with NeMo's recordings serves the tests too.
sys.path.insert(0, str(ROOT / "tools"))


@pytest.fixture(scope="session", autouse=True)
def _sorts_as_on_a_mac() -> Iterator[None]:
    """Metal has no kernels that sort booleans. Other devices have, so that nothing else would notice."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("sort", "argsort", "partition", "argpartition", "topk"):
            patch.setattr(mx, name, _refusing_booleans(getattr(mx, name)))
        yield


def _refusing_booleans(function: Callable[..., mx.array]) -> Callable[..., mx.array]:
    def refusing(array: mx.array, *arguments: Any, **options: Any) -> mx.array:
        assert array.dtype != mx.bool_
        return function(array, *arguments, **options)

    return refusing


def without_privileges() -> None:
    """Root may write anywhere; without these two capabilities it has to keep to the permissions."""
    pr_capbset_drop, dac_override, dac_read_search = 24, 1, 2
    libc = ctypes.CDLL(None)
    for capability in (dac_override, dac_read_search):
        libc.prctl(pr_capbset_drop, capability, 0, 0, 0)


@cache
def loaded(name: str) -> LoadedModel:
    """One of the small checkpoints; loaded once, because nothing that uses it changes it."""
    return load_nemo(DATA / "models" / f"{name}.nemo")


@cache
def texts(name: str) -> dict[str, Any]:
    """NeMo's prompts, ids and texts for a checkpoint."""
    recorded: dict[str, Any] = json.loads((DATA / f"reference/{name}.json").read_text(encoding="utf-8"))
    return recorded


@cache
def arrays(name: str) -> dict[str, np.ndarray]:
    """NeMo's arrays for a checkpoint, or its features."""
    with np.load(DATA / f"reference/{name}.npz") as recorded:
        return dict(recorded)


@cache
def clip(name: str) -> np.ndarray:
    """One of the clips, (N,) float32."""
    with wave.open(str(DATA / "audio" / WAVS[name])) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768


def sound(*parts: str | float) -> Audio:
    """Clips by name and pauses in seconds, one after the other."""
    samples = [clip(part) if isinstance(part, str) else np.zeros(round(part * 16_000), np.float32) for part in parts]
    return Audio(np.concatenate(samples), 16_000)


def run(name: str) -> tuple[np.ndarray, np.ndarray]:
    """A recorded run, "single.<clip>" or "batch", as zero-padded samples (B, N) and lengths (B,)."""
    clips = [clip(c) for c in (WAVS if name == "batch" else [name.removeprefix("single.")])]
    padded = np.zeros((len(clips), max(map(len, clips))), np.float32)
    for row, samples in zip(padded, clips, strict=True):
        row[: len(samples)] = samples
    return padded, np.array([len(samples) for samples in clips])


@pytest.fixture
def wav() -> dict[str, Path]:
    """The clips as files."""
    return {name: DATA / "audio" / file for name, file in WAVS.items()}


class Result(NamedTuple):
    """What a command ended with, and what it wrote."""

    code: int
    out: str
    err: str


@pytest.fixture(name="run")
def command_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Result]:
    """The command in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLX_CANARY_MODEL", raising=False)

    def command(*arguments: object) -> Result:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        return Result(int(ended.value.code or 0), *capsys.readouterr())

    return command


@pytest.fixture(scope="session")
def flash() -> CanaryModel:
    """The small stand-in for canary-180m-flash."""
    return CanaryModel(loaded("canary2-flash"))


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One with the demo model and nothing else said, that several modules talk to."""
    with running() as server:
        yield server


@pytest.fixture(scope="session")
def demo() -> CanaryModel:
    """The same model, for what it says without a server."""
    return CanaryModel.from_pretrained("demo")


# Slow machines may take their time over an example. A change is judged by the same examples each time; new ones are
# tried by whoever works on it.
settings.register_profile("patient", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("patient")
