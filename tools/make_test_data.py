"""Take from NeMo's recordings what the tests need: a few stages in full, of the rest every eighth mel bin.

    python tools/make_test_data.py REFERENCE_FOLDER

The folder holds the checkpoints, arrays and texts that NeMo 3.0.0 recorded on fixed audio. Writes tests/data/reference
and tests/data/models.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).resolve().parents[1] / "tests" / "data"
# canary1-agg is there as a gzip only; the archive inside is the same.
MODELS = (
    *("canary1-agg-gz", "canary2-flash", "canary2-unified", "var-bf16", "var-fp16"),
    *("var-nobias", "var-layernorm", "var-localattn"),
)
BATCH_STAGES = ("pre_encode_len", "encoder", "encoder_len", "enc_dec_proj", "enc_mask", "dec_final", "logits")
DECODINGS = ("greedy", "greedy_prompt2", "greedy_prompt3", "greedy_delta5")


def main(reference: Path) -> None:
    (DATA / "reference").mkdir(parents=True, exist_ok=True)
    (DATA / "models").mkdir(exist_ok=True)
    for wav in ("chirp_2s3", "short_0s4", "speech_7s01"):
        shutil.copyfile(reference / f"audio/{wav}.wav", DATA / f"audio/{wav}.wav")
    for features in reference.glob("arrays/features-*.npz"):
        copy_features(features)
    for name in MODELS:
        shutil.copyfile(reference / f"models/{name}.nemo", DATA / f"models/{name}.nemo")
        recorded = name.removesuffix("-gz")
        copy_arrays(reference / f"arrays/{recorded}.npz", name)
        copy_texts(reference / f"text/{recorded}.json", name)


def copy_features(path: Path) -> None:
    """One clip in full, the batch in every eighth mel bin."""
    arrays = np.load(path)
    kept = {key: arrays[key] for key in ("single.chirp.mel", "single.chirp.mel_len", "batch.mel_len")}
    np.savez_compressed(DATA / "reference" / path.name, **kept, **{"batch.mel_8": arrays["batch.mel"][:, ::8]})


def copy_arrays(path: Path, name: str) -> None:
    arrays = np.load(path)
    kept = [key for key in arrays if key.startswith("single.chirp.") and "greedy" not in key and "beam" not in key]
    kept = [key for key in kept if "pre_encode_conv" not in key and "dec_xatt" not in key and "pos_emb" not in key]
    kept += [f"batch.{stage}" for stage in BATCH_STAGES if f"batch.{stage}" in arrays] + ["tf_ids"]
    np.savez_compressed(DATA / f"reference/{name}.npz", **{key: arrays[key] for key in kept})


def copy_texts(path: Path, name: str) -> None:
    texts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    kept: dict[str, Any] = {key: texts[key] for key in ("features", "prompts", "prompt", "prompt2", "prompt3")}
    kept["tokenizer"] = {key: texts["tokenizer"][key] for key in ("encode", "decode", "bos_id", "eos_id", "pad_id")}
    kept["decode"] = {
        run: {key: [{k: item[k] for k in ("ids", "min_margin")} for item in decoded[key]] for key in DECODINGS}
        for run, decoded in texts["decode"].items()
    }
    kept["transcribe"] = texts["transcribe"]
    text = json.dumps(kept, ensure_ascii=False, separators=(",", ":"))
    (DATA / f"reference/{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
