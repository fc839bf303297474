"""What the streaming policies cost, and how late and how good their words are.

    python benchmarks/streaming.py --model demo --manifest tests/data/demo/clips.jsonl

Each clip of one language, with a second of quiet after it, is fed in blocks of 0.1 s; --joined joins several to a talk
without pauses. Latency is counted in sound, not in computing: a word's delay is how much had been heard when the word
was committed. "first word" is the first delay; LAAL is the length-adaptive average lagging, with the words of the text
or of the reference, whichever are more; both are means over talks. Errors in words (WER) are against what was said or
its translation, and the offline text of each talk is scored beside them. "times real time" is seconds of sound for each
second of computing; on a machine that others use too the work says more: "encoder" is how often each frame of sound is
encoded, "decoder" how many passes the decoder makes for each second of sound. Prints a table; --json writes it too.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import time
from pathlib import Path
from typing import Any

import numpy as np

from mlx_canary import Audio, CanaryModel, StreamingOptions, load_audio
from mlx_canary.network.cache import DecoderCache
from mlx_canary.network.canary import CanaryNetwork
from mlx_canary.types import EncoderOutput, Features

RATE = 16_000
BLOCK = RATE // 10
FRAME = 0.08  # seconds
WAYS: dict[str, dict[str, Any]] = {
    "windowed, chunk 0.5": {"policy": "windowed", "chunk": 0.5},
    "windowed, chunk 1": {"policy": "windowed", "chunk": 1.0},
    "windowed, chunk 2": {"policy": "windowed", "chunk": 2.0},
    "alignatt, 10 / 1 / 0.5": {"policy": "alignatt"},
    "alignatt, 10 / 2 / 2": {"policy": "alignatt", "chunk": 2.0, "right": 2.0},
    "waitk 2, 10 / 1 / 0.5": {"policy": "waitk"},
    "waitk 2, 10 / 0.32 / 0.5": {"policy": "waitk", "chunk": 0.32},
}


class Work:
    """Counts what the network does."""

    def __init__(self) -> None:
        self.n_frames = self.n_passes = 0
        encode, place = CanaryNetwork.encode, DecoderCache.place

        def counted_encode(network: CanaryNetwork, features: Features) -> EncoderOutput:
            encoded = encode(network, features)
            self.n_frames += sum(encoded.lengths)
            return encoded

        def counted_place(cache: DecoderCache, n_tokens: int) -> Any:
            self.n_passes += 1
            return place(cache, n_tokens)

        CanaryNetwork.encode, DecoderCache.place = counted_encode, counted_place  # type: ignore[method-assign]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument(
        "--manifest",
        type=Path,
        required=True,
        help="JSON lines with audio_filepath, lang and text, or as for `evaluate`",
    )
    parser.add_argument("--language", default="en")
    parser.add_argument("--to", help="translate into this language; the manifest has the texts")
    parser.add_argument("--joined", type=int, default=1, help="clips that follow each other without a pause")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    model, work = CanaryModel.from_pretrained(args.model), Work()
    rows = []
    talks = joined_clips(args)
    for way in args.ways:
        results = [run(model, talk, args, way, work) for talk in [*talks[:1], *talks]][1:]  # the first warms up
        rows.append({"way": way} | combined(results))
        print_row(rows[-1], header=len(rows) == 1)
    offline = [score(whole(model, talk, args), talk["text"]) for talk in talks]
    rows.append({"way": "offline, whole", "WER %": percent(offline)})
    print_row({**dict.fromkeys(rows[0], ""), **rows[-1]}, header=False)
    if args.json:
        machine = {"system": platform.platform(), "python": platform.python_version()}
        args.json.write_text(json.dumps({"model": args.model, "machine": machine, "rows": rows}, indent=2) + "\n")


def joined_clips(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Talks of some sentences each, with breaths of 0.15 s after them and 1 s of quiet at the end."""
    lines = [json.loads(line) for line in args.manifest.read_text(encoding="utf-8").splitlines()]
    lines = [line | {"wanted": text} for line in lines if (text := wanted(line, args)) is not None]
    noise = np.random.default_rng(0)
    talks = []
    for start in range(0, len(lines), args.joined):
        parts, texts = [], []
        for line in lines[start : start + args.joined]:
            parts += [load_audio(args.manifest.parent / line["audio_filepath"]).samples]
            parts += [noise.normal(0, 3e-4, round(0.15 * RATE)).astype(np.float32)]
            texts.append(line["wanted"])
        parts.append(noise.normal(0, 3e-4, RATE).astype(np.float32))
        samples = np.concatenate(parts)
        talks.append({"samples": samples, "speech": len(samples) / RATE - 1.15, "text": " ".join(texts)})
    return talks


def wanted(line: dict[str, Any], args: argparse.Namespace) -> str | None:
    """The text that is asked for; None where a line has none, or another language is spoken."""
    spoken = line.get("lang", line.get("source_lang"))
    texts = {line.get("target_lang", spoken): line["text"]} | line.get("translations", {})
    return texts.get(args.to or args.language) if spoken == args.language else None


def run(model: CanaryModel, talk: dict[str, Any], args: argparse.Namespace, way: str, work: Work) -> dict[str, Any]:
    stream = model.stream(language=args.language, target_lang=args.to, options=StreamingOptions(**WAYS[way]))
    samples, delays, slowest = talk["samples"], [], 0.0
    frames, passes, started = work.n_frames, work.n_passes, time.perf_counter()
    for start in range(0, len(samples), BLOCK):
        before = time.perf_counter()
        update = stream.add_audio(samples[start : start + BLOCK])
        slowest = max(slowest, time.perf_counter() - before)
        heard = min(start + BLOCK, len(samples)) / RATE
        delays += [heard] * (len(update.committed.split()) - len(delays))
    transcript = stream.finish()
    seconds = time.perf_counter() - started
    delays += [len(samples) / RATE] * (len(transcript.text.split()) - len(delays))
    return {
        "sound": len(samples) / RATE,
        "seconds": seconds,
        "frames": work.n_frames - frames,
        "passes": work.n_passes - passes,
        "slowest": slowest,
        "first": delays[0] if delays else None,
        "laal": laal(delays, talk["speech"], len(talk["text"].split())),
        "score": score(transcript.text, talk["text"]),
    }


def whole(model: CanaryModel, talk: dict[str, Any], args: argparse.Namespace) -> str:
    audio, language = Audio(talk["samples"], RATE), args.language
    if args.to:
        return model.translate(audio, source_lang=language, target_lang=args.to).text
    return model.transcribe(audio, language=language).text


def laal(delays: list[float], duration: float, n_reference: int) -> float | None:
    """Length-adaptive average lagging in seconds: of the words up to the first that comes after all sound."""
    if not delays:
        return None
    rate = max(len(delays), n_reference) / duration
    last = next((n for n, delay in enumerate(delays) if delay >= duration), len(delays) - 1)
    return float(np.mean([min(delay, duration) - n / rate for n, delay in enumerate(delays[: last + 1])]))


def score(found: str, said: str) -> tuple[int, int]:
    """Word errors, and words said; punctuation and capitals do not count."""
    a, b = (re.sub(r"[^\w\s'-]", "", text.lower()).split() for text in (said, found))
    row = list(range(len(b) + 1))
    for i, word in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (word != other))
    return row[-1], len(a)


def percent(scores: list[tuple[int, int]]) -> float:
    return round(100 * sum(errors for errors, _ in scores) / sum(words for _, words in scores), 1)


def combined(results: list[dict[str, Any]]) -> dict[str, Any]:
    def mean(name: str) -> float:
        return round(float(np.mean([result[name] for result in results if result[name] is not None])), 2)

    sound = sum(result["sound"] for result in results)
    return {
        "times real time": round(sound / sum(r["seconds"] for r in results), 1),
        "encoder": round(sum(r["frames"] for r in results) * FRAME / sound, 1),
        "decoder": round(sum(r["passes"] for r in results) / sound, 1),
        "slowest step s": round(max(result["slowest"] for result in results), 2),
        "first word s": mean("first"),
        "LAAL s": mean("laal"),
        "WER %": percent([result["score"] for result in results]),
    }


def print_row(row: dict[str, Any], header: bool) -> None:
    if header:
        print("| " + " | ".join(row) + " |\n|" + "---|" * len(row))
    print("| " + " | ".join(str(value) for value in row.values()) + " |", flush=True)


if __name__ == "__main__":
    main()
