"""Finished speech on disk: utterances in, shards out, and back.

A shard is NAME.npy (int16 samples of all its utterances, end to end, 16 kHz)
and NAME.jsonl (one row an utterance). The rows are written last, so a shard
whose .jsonl exists is complete and training can pick it up while synthesis
goes on. Knows nothing about texts, engines or models.
"""

import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

SAMPLE_RATE = 16_000
INEXACT = ("recorded", "mixed")  # kinds whose texts in other languages are no exact translations


@dataclass(frozen=True)
class Utterance:
    """Speech and what is said in it.

    Args:
        samples: (N,) int16 at 16 kHz, possibly a view of a memory map.
        lang: Language spoken.
        text: Language to text; the spoken language and its translations.
        itn: The same with numbers as digits; empty where nothing differs.
        engine: Who made it: kokoro, pico, espeak, people, joined.
        speaker: Voice within the engine.
        kind: Which part of the world the sentence belongs to.
        words: Start of each whitespace-separated word of text[lang] and the
            end of the last, in seconds; empty where they are not known.
        ends: End of each word, where it is not the start of the next one.
    """

    samples: np.ndarray
    lang: str
    text: dict[str, str]
    itn: dict[str, str]
    engine: str
    speaker: str
    kind: str
    words: tuple[float, ...]
    ends: tuple[float, ...] = ()

    @property
    def spans(self) -> list[tuple[float, float]]:
        """Start and end of each word, where they are known."""
        return list(zip(self.words[:-1], self.ends or self.words[1:], strict=True))

    @property
    def duration(self) -> float:
        return len(self.samples) / SAMPLE_RATE


def in_a_row(row: list[Utterance], rng: random.Random) -> Utterance:
    """Utterances of one language, up to a second apart, as one."""
    if len(row) == 1:
        return row[0]
    sounds, starts, ends, at = [], [], [], 0.0
    for u in row:
        pause = np.zeros(int(rng.uniform(0.1, 1.0) * SAMPLE_RATE), np.int16)
        starts += [at + begin for begin, _ in u.spans]
        ends += [at + end for _, end in u.spans]
        sounds += [u.samples, pause]
        at += u.duration + len(pause) / SAMPLE_RATE
    timed = all(u.words for u in row)
    text = {k: " ".join(u.text[k] for u in row) for k in row[0].text if all(k in u.text for u in row)}
    itn = {k: " ".join(u.itn.get(k, u.text[k]) for u in row) for k in text} if any(u.itn for u in row) else {}
    return replace(
        row[0],
        samples=np.concatenate(sounds),
        text=text,
        itn=itn,
        kind=next((u.kind for u in row if u.kind in INEXACT), row[0].kind),
        words=(*starts, ends[-1]) if timed else (),
        ends=tuple(ends) if timed else (),
    )


def write_shard(folder: Path, name: str, utterances: list[Utterance]) -> None:
    """Write utterances as folder/name.npy and folder/name.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"{name}.npy", np.concatenate([u.samples for u in utterances]))
    rows = [
        {k: v for k, v in vars(u).items() if k not in ("samples", "ends")} | {"n_samples": len(u.samples)}
        for u in utterances
    ]
    partial = folder / f"{name}.partial"
    partial.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    os.replace(partial, folder / f"{name}.jsonl")


def read_shard(rows_path: Path) -> Iterator[Utterance]:
    """Utterances of one shard; their samples stay on disk until they are used."""
    audio = np.load(rows_path.with_suffix(".npy"), mmap_mode="r")
    begin = 0
    for line in rows_path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        end = begin + row.pop("n_samples")
        row["words"] = tuple(row["words"])
        yield Utterance(samples=audio[begin:end], **row)
        begin = end


def read_new(folders: list[Path], seen: set[Path]) -> list[Utterance]:
    """Utterances of the shards that are not in `seen`, which is added to."""
    found = []
    for folder in folders:
        for path in sorted(folder.glob("*.jsonl")):
            if path not in seen:
                seen.add(path)
                found += read_shard(path)
    return found
