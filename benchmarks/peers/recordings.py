"""Sound to measure with: the demo's clips in random order, and windows of it as WAV files that all peers get alike."""

from __future__ import annotations

import json
import random
import wave
from importlib.resources import files
from pathlib import Path

import numpy as np
from common import RATE, TOKENS_PER_SECOND

WINDOW = 30
"""Seconds: what most peers take at most, or cut to themselves."""


def english_clips() -> list[np.ndarray]:
    """Those of the package, apart from the long one."""
    from mlx_canary import load_audio

    folder = Path(str(files("mlx_canary") / "demo" / "clips"))
    rows = [json.loads(line) for line in (folder / "clips.jsonl").read_text(encoding="utf-8").splitlines()]
    names = [row["file"] for row in rows if row["lang"] == "en" and row["file"].endswith(".flac")]
    return [load_audio(folder / name).samples for name in names]


def speech(seconds: int, seed: int = 0) -> np.ndarray:
    """Clips with pauses of 0.3 to 1.2 s of faint noise between, exactly as long as asked."""
    chooser, noise = random.Random(seed), np.random.default_rng(seed)
    clips, parts, n = english_clips(), [], 0
    while n < seconds * RATE:
        pause = noise.normal(0, 3e-4, int(chooser.uniform(0.3, 1.2) * RATE))
        parts += [chooser.choice(clips), pause]
        n += len(parts[-2]) + len(pause)
    return np.concatenate(parts)[: seconds * RATE].astype(np.float32)


def case(seconds: int, folder: Path) -> dict[str, object]:
    """The windows' files, made if need be, and how many tokens each window gets.

    Raises:
        SystemExit: The length is neither a window's at most nor a number of windows.
    """
    length = min(seconds, WINDOW)
    if seconds % length:
        raise SystemExit(f"--seconds {seconds} is not a multiple of the windows of {WINDOW} s.")
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{seconds}s-{n:03}.wav" for n in range(seconds // length)]
    if not paths[-1].exists():
        for path, samples in zip(paths, np.split(speech(seconds), len(paths)), strict=True):
            write_wav(path, samples)
    return {"windows": [str(path) for path in paths], "n_tokens": TOKENS_PER_SECOND * length}


def write_wav(path: Path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
