"""mlx-audio's Canary on MLX: NeMo's names, which its loader translates itself, and one SentencePiece model.

Its loader drops the projection between an encoder and a decoder of different widths and computes with a random one:
the work is the same, a real checkpoint's text would not be.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from common import Hear, Samples, main

REQUIREMENTS = ["mlx-audio==0.6.2", "mlx[cpu]; sys_platform == 'linux'"]


def prepare(checkpoint: Path, folder: Path) -> None:
    import checkpoints

    source = checkpoints.read(checkpoint)
    arrays = {name: array for name, array in source.arrays.items() if not name.startswith("preprocessor")}
    checkpoints.save(folder / "model.safetensors", arrays)
    (folder / "tokenizer.model").write_bytes(checkpoints.one_sentencepiece(source))
    decoder = source.config["transf_decoder"]["config_dict"]
    config = {
        "model_type": "canary",
        "preprocessor": {**source.config["preprocessor"], "dither": 0.0},
        "encoder": source.config["encoder"],
        "transf_decoder": decoder,
        "vocab_size": len(arrays["log_softmax.mlp.layer0.bias"]),
        "enc_output_dim": decoder["hidden_size"],
    }
    (folder / "config.json").write_text(json.dumps(config))


def load(folder: Path, precision: str) -> Hear:
    import mlx.core as mx
    from mlx_audio.stt.utils import load_model

    model = load_model(folder)
    dtype = getattr(mx, precision)
    model.set_dtype(dtype)

    def hear(batch: list[Samples], n_tokens: int) -> list[int]:
        (samples,) = batch  # it takes one recording at a time
        found = model.generate(mx.array(np.asarray(samples)), max_tokens=n_tokens, dtype=dtype)
        return [found.generation_tokens]

    return hear


if __name__ == "__main__":
    main(prepare, load, ["mlx-audio", "mlx", "numpy"])
