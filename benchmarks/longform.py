"""What long recordings lose: clips joined to recordings of given lengths, their texts compared with the clips' own.

    python benchmarks/longform.py --model demo --manifest tests/data/demo/clips.jsonl --minutes 5 30 180

The words that the model finds in each clip alone are what the long recording should give, so that the comparison shows
what cutting and joining cost and not how good the model is. Peak memory is the process's. Prints a table; --json writes
the figures too.
"""

from __future__ import annotations

import argparse
import difflib
import json
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path
from typing import Any

import numpy as np

from mlx_canary import CanaryModel, TranscriptionOptions, load_audio

RATE = 16_000
WAYS: dict[str, dict[str, Any]] = {
    "ours": {},
    "ours, windows of 20 to 35 s": {"shortest_window": 20.0, "longest_window": 35.0},
    "NeMo's": {"longform": "nemo"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--manifest", type=Path, required=True, help="JSON lines with audio_filepath and lang")
    parser.add_argument("--language", default="en")
    parser.add_argument("--minutes", type=float, nargs="+", default=[5.0])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)  # a recording and a way, in a process of its own
    args = parser.parse_args()
    if args.run:
        print(json.dumps(one_run(args, Path(args.run[0]), args.run[1])))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        clips = transcribed_clips(args)
        for minutes in args.minutes:
            path, words = joined(clips, minutes, Path(folder) / f"{minutes:g}.wav")
            for way in args.ways:
                result = in_own_process(args, path, way)
                row = {"minutes": minutes, "way": way, "words": len(words)}
                rows.append(row | compared(words, result.pop("text").split()) | result)
                print_row(rows[-1], header=len(rows) == 1)
    if args.json:
        machine = {"system": platform.platform(), "python": platform.python_version()}
        args.json.write_text(json.dumps({"model": args.model, "machine": machine, "rows": rows}, indent=2) + "\n")


def transcribed_clips(args: argparse.Namespace) -> list[tuple[np.ndarray, list[str]]]:
    """Each clip's samples, with the words that the model finds in it alone."""
    model = CanaryModel.from_pretrained(args.model)
    rows = [json.loads(line) for line in args.manifest.read_text(encoding="utf-8").splitlines()]
    paths = [args.manifest.parent / row["audio_filepath"] for row in rows if row["lang"] == args.language]
    texts = model.transcribe_batch(paths, language=args.language)
    return [(load_audio(path).samples, text.text.split()) for path, text in zip(paths, texts, strict=True)]


def joined(clips: list[tuple[np.ndarray, list[str]]], minutes: float, path: Path) -> tuple[Path, list[str]]:
    """Clips at random with pauses of 0.3 to 1.2 s of faint noise between, as 16-bit WAV, and their words."""
    chooser, noise = random.Random(0), np.random.default_rng(0)
    words: list[str] = []
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        while file.tell() < minutes * 60 * RATE:
            samples, text = chooser.choice(clips)
            pause = noise.normal(0, 3e-4, int(chooser.uniform(0.3, 1.2) * RATE))
            sound = np.concatenate([samples, pause])
            file.writeframes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
            words += text
    return path, words


def in_own_process(args: argparse.Namespace, path: Path, way: str) -> dict[str, Any]:
    """So that one run's memory does not count for the next."""
    command = [sys.executable, __file__, "--model", args.model, "--manifest", str(args.manifest)]
    command += ["--language", args.language, "--run", str(path), way]
    finished = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(finished.stdout)
    return result


def one_run(args: argparse.Namespace, path: Path, way: str) -> dict[str, Any]:
    model = CanaryModel.from_pretrained(args.model)
    started = time.perf_counter()
    transcript = model.transcribe(path, options=TranscriptionOptions(language=args.language, **WAYS[way]))
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1 / 1024)
    flags = sum(len(segment.flags) for segment in transcript.segments)
    return {
        "text": transcript.text,
        "flags": flags,
        "peak_mib": round(peak / 2**20),
        "times_real_time": round(transcript.duration / seconds, 1),
    }


def compared(expected: list[str], found: list[str]) -> dict[str, int]:
    """Words that are missing, that are there too often or were never said, and that came out as others."""
    lost = added = changed = 0
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, expected, found, autojunk=False).get_opcodes():
        if tag == "replace":
            same = min(i2 - i1, j2 - j1)
            changed, lost, added = changed + same, lost + i2 - i1 - same, added + j2 - j1 - same
        lost += (i2 - i1) * (tag == "delete")
        added += (j2 - j1) * (tag == "insert")
    return {"lost": lost, "added": added, "changed": changed}


def print_row(row: dict[str, Any], header: bool) -> None:
    if header:
        print("| " + " | ".join(row) + " |\n|" + "---|" * len(row))
    print("| " + " | ".join(str(value) for value in row.values()) + " |", flush=True)


if __name__ == "__main__":
    main()
