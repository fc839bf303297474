"""Whether the demo model says on this device what NeMo said, and how far its numbers are from a CPU's."""

from __future__ import annotations

import json
import time
from difflib import SequenceMatcher
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from mlx_canary import Audio, CanaryModel
from mlx_canary.backend import mx

CLIPS = [
    Path(str(files("mlx_canary") / "demo" / "clips")),
    Path(__file__).resolve().parents[2] / "tests" / "data" / "demo",
]
LANGUAGES = ("en", "de", "es", "fr")


def rows() -> list[dict[str, Any]]:
    """Clips with what NeMo makes of them, the short ones first."""
    found = []
    for folder in CLIPS:
        for line in (folder / "clips.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            name = row.get("file") or row["audio_filepath"]
            if set(row.get("nemo", ())) == set(LANGUAGES) and name.endswith(".flac"):
                found.append(row | {"path": folder / name, "key": f"{folder.name}-{name}"})
    return sorted(found, key=lambda row: float(row["duration"]))


def save_samples(path: Path) -> None:
    """All clips as arrays, for a machine without the libraries that decode sound."""
    from mlx_canary import load_audio

    arrays = {row["key"]: (load_audio(row["path"]).samples * 32768).astype("<i2") for row in rows()}
    np.savez_compressed(path, **arrays)


def check(args: Any) -> dict[str, Any]:
    began, clips = time.perf_counter(), rows()
    if args.samples:
        stored = np.load(args.samples)
        sounds = [Audio(stored[row["key"]].astype(np.float32) / 32768, 16_000) for row in clips]
    else:
        from mlx_canary import load_audio

        sounds = [load_audio(row["path"]) for row in clips]
    found: dict[str, Any] = {
        "device": str(mx.default_device()),
        "info": {k: str(v) for k, v in mx.device_info().items()},
    }
    for dtype in args.dtypes:
        model = CanaryModel.from_pretrained("demo", dtype=dtype)
        found[dtype] = result = texts(model, clips, sounds, began + args.seconds_budget)
        print(dtype, json.dumps(result | {"different": len(result["different"])}), flush=True)
        for different in result["different"][:4]:
            print("   ", different, flush=True)
        save(args.json, found)
        # The texts count; what can go wrong between two devices must not cost the next type's.
        try:
            result["numbers"] = [distance(model, sound) for sound in sounds[:3]]
        except (RuntimeError, ValueError) as error:
            result["numbers"] = str(error)
        print(dtype, "largest differences from the CPU:", result["numbers"], flush=True)
        save(args.json, found)
    return found


def save(path: Path | None, found: dict[str, Any]) -> None:
    if path:
        path.write_text(json.dumps(found, indent=1, ensure_ascii=False), encoding="utf-8")


def texts(model: CanaryModel, clips: list[dict[str, Any]], sounds: list[Audio], deadline: float) -> dict[str, Any]:
    """How many are letter for letter NeMo's, of those that there was time for."""
    n, same, alike, different = 0, 0, 0.0, []
    started = time.perf_counter()
    for row, sound in zip(clips, sounds, strict=True):
        for target in LANGUAGES:
            if time.perf_counter() > deadline:
                break
            task = "transcribe" if target == row["lang"] else "translate"
            text = model.transcribe(sound, language=row["lang"], task=task, target_lang=target).text  # type: ignore[arg-type]
            expected = row["nemo"][target]
            n, same = n + 1, same + (text == expected)
            alike += SequenceMatcher(None, text, expected).ratio()
            if text != expected:
                different.append([row["key"], target, text, expected])
    seconds = time.perf_counter() - started
    return {"texts": n, "same": same, "alike": alike / max(n, 1), "seconds": seconds, "different": different}


def distance(model: CanaryModel, sound: Audio) -> dict[str, float]:
    """The largest differences between this device and a CPU: of features, encoder states and the first logits."""
    here = _numbers(model, sound)
    device = mx.default_device()
    mx.set_default_device(mx.cpu)
    try:
        there = _numbers(model, sound)
    finally:
        mx.set_default_device(device)
    return {name: float(np.abs(here[name] - there[name]).max()) for name in here}


def _numbers(model: CanaryModel, sound: Audio) -> dict[str, np.ndarray]:
    loaded = model._loaded
    features = loaded.preprocessor([sound.samples])
    encoded = loaded.network.encode(features)
    cache = loaded.network.start(encoded, [0])
    logits = loaded.network.step(mx.array([[1, 2, 3]]), cache)
    arrays = {"features": features.frames, "states": encoded.states, "logits": logits}
    return {name: np.array(array.astype(mx.float32)) for name, array in arrays.items()}
