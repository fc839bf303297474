"""Single German words by a person: python german_words.py OUT_DIR writes recordings and german_words.jsonl.

The sounds of the game KTuberling (GPL, Debian's ktuberling-data): for judging
only, nothing of them is kept in the package or heard in training. Kept are the
things that the world knows too; each is said without its article.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import texts
from people import decode, unpack
from shards import SAMPLE_RATE

OTHER_NAMES = {"shoes": "shoe", "bicycle": "bike"}


def main() -> None:
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    german = {row[0]: row[1].partition("|")[0].split()[-1] for row in texts.world()["words"]["noun"]}
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = unpack("ktuberling-data", Path(scratch)) / "usr/share/ktuberling/sounds/de"
        for path in sorted(folder.glob("*.ogg")):
            thing = path.stem.rpartition("_")[2]
            thing = OTHER_NAMES.get(thing, thing)
            if thing in german:
                name = f"german_{thing}.flac"
                soundfile.write(out / name, (decode(path) * 32767).astype(np.int16), SAMPLE_RATE)
                rows.append(
                    {"audio_filepath": name, "text": german[thing] + ".", "lang": "de", "speaker": "KTuberling"}
                )
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (out / "german_words.jsonl").write_text(lines, encoding="utf-8")
    print(len(rows), "words:", ", ".join(row["text"] for row in rows))


if __name__ == "__main__":
    main()
