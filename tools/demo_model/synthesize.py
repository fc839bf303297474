"""Make speech: python synthesize.py ENGINE OUT_DIR --hours 2 [--langs en,de] [--held-out]

Sentences of texts.py, spoken by kokoro.py, pico.py or espeak.py, cut to the
speech, levelled, written as shards that training may read at once. Can be
stopped at any time; the same seed makes the same speech. With --held-out
voices and sentences are those that training never meets.
"""

import argparse
import importlib
import random
import time
from pathlib import Path

import numpy as np
import texts
from shards import SAMPLE_RATE, Utterance, write_shard

LANGS = ("en", "de", "es", "fr")
MARGIN = 800  # samples kept before and after the speech


def cut(samples: np.ndarray, words: tuple[float, ...]) -> tuple[np.ndarray, tuple[float, ...]] | None:
    """Speech with a short margin at half of full scale (int16), and its word times; None if empty or too long."""
    peak = np.abs(samples).max() if len(samples) else 0.0
    if peak < 1e-3:
        return None
    loud = np.flatnonzero(np.abs(samples) > 0.01 * peak)
    first, last = max(0, loud[0] - MARGIN), min(len(samples), loud[-1] + MARGIN)
    if not 0.25 < (last - first) / SAMPLE_RATE < 16:
        return None
    shifted = tuple(round(max(0.0, float(t) - first / SAMPLE_RATE), 3) for t in words)
    return (samples[first:last] / peak * 16_000).astype(np.int16), shifted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=("kokoro", "pico", "espeak", "joe", "flite"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--langs", default=",".join(LANGS))
    parser.add_argument("--kinds", default="", help="of sentences, with commas; all without it")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shard", type=int, default=200, help="utterances a shard")
    parser.add_argument("--prefix", default="")
    parser.add_argument("--held-out", action="store_true")
    args = parser.parse_args()
    engine = importlib.import_module(args.engine)
    rng = random.Random(f"{args.engine}-{args.seed}-{args.held_out}")
    langs, total, began, index = args.langs.split(","), 0.0, time.time(), 0
    kinds = set(filter(None, args.kinds.split(",")))
    made: list[Utterance] = []
    while total < args.hours * 3600:
        sentence = texts.sample(rng, held_out=args.held_out)
        lang = rng.choice(langs)
        if lang not in sentence.text or (kinds and sentence.kind not in kinds):
            continue
        spoken = engine.speak(sentence.text[lang], lang, rng, args.held_out)
        kept = cut(spoken[0], spoken[1]) if spoken else None
        if not kept or not spoken:
            continue
        made.append(
            Utterance(kept[0], lang, sentence.text, sentence.itn, args.engine, spoken[2], sentence.kind, kept[1])
        )
        total += made[-1].duration
        if len(made) == args.shard or total >= args.hours * 3600:
            write_shard(args.out, f"{args.prefix}{args.engine}-{args.seed}-{index:04d}", made)
            print(f"{total / 60:.1f} min, {total / (time.time() - began):.1f} x real time", flush=True)
            made, index = [], index + 1


if __name__ == "__main__":
    main()
