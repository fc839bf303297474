"""Held-out speech as files for any program: python as_manifest.py TEST_DIR OUT_DIR [--every 4]

Writes each utterance of the shards as FLAC, and two manifests in NeMo's form:
transcribe.jsonl with word times where they are known, and translate.jsonl with
every n-th utterance in every other language. `mlx-canary evaluate` reads them.
"""

import argparse
import json
from pathlib import Path

import soundfile
from shards import SAMPLE_RATE, Utterance, read_new


def rows(u: Utterance, name: str) -> tuple[dict, list[dict]]:
    """The line for its own language, and those for translations."""
    own = {"audio_filepath": name, "duration": u.duration, "source_lang": u.lang, "text": u.text[u.lang]}
    own |= {"target_lang": u.lang, "engine": u.engine, "speaker": u.speaker, "kind": u.kind}
    words = u.text[u.lang].split()
    if len(words) == len(u.spans):
        times = [
            {"word": w, "start": round(a, 3), "end": round(b, 3)} for w, (a, b) in zip(words, u.spans, strict=True)
        ]
        own_with_times = own | {"words": times}
    else:
        own_with_times = own
    return own_with_times, [own | {"target_lang": k, "text": v} for k, v in u.text.items() if k != u.lang]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("test", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--every", type=int, default=1, help="translate only every n-th utterance")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    transcribe, translate = [], []
    for i, u in enumerate(read_new([args.test], set())):
        name = f"{u.lang}_{u.engine}_{i:04d}.flac"
        soundfile.write(args.out / name, u.samples, SAMPLE_RATE, subtype="PCM_16")
        own, others = rows(u, name)
        transcribe.append(own)
        translate += others if i % args.every == 0 else []
    for name, lines in (("transcribe", transcribe), ("translate", translate)):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in lines)
        (args.out / f"{name}.jsonl").write_text(text, encoding="utf-8")
    print(f"{len(transcribe)} recordings, {len(translate)} translations")


if __name__ == "__main__":
    main()
