"""What NeMo writes for recordings: python record_clips.py MODEL.nemo CLIPS.jsonl

Reads lines with `audio_filepath` or `file` (beside the manifest), `lang` and `text`, and adds
`nemo`: language to the text that NeMo gives, greedily and in float32, for the
spoken language and the other three. The tests compare the package with it.
"""

import argparse
import json
from pathlib import Path

import model as small
import soundfile
from evaluate import decode, load, written
from examples import Maker


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("clips", type=Path)
    args = parser.parse_args()
    network = load(args.model)
    maker = Maker(network.tokenizer, None)
    rows = [json.loads(line) for line in args.clips.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        samples, rate = soundfile.read(args.clips.parent / (row.get("file") or row["audio_filepath"]), dtype="int16")
        assert rate == 16_000
        prompts = [maker.prompt(row["lang"], target, True, False, False, "") for target in small.LANGS]
        # One at a time, so that no padding takes part.
        found = [written(network, decode(network, [samples], [prompt])[0]) for prompt in prompts]
        row["nemo"] = dict(zip(small.LANGS, found, strict=True))
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    args.clips.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
