"""canary-mlx on MLX: weights under the names of its modules, and one SentencePiece model.

It has no projection between an encoder and a decoder of different widths, so that canary-180m-flash cannot run.
"""

from __future__ import annotations

import json
from pathlib import Path

from common import Hear, Samples, main

REQUIREMENTS = ["canary-mlx==0.1.0", "mlx[cpu]; sys_platform == 'linux'"]
NAMES = {
    "transf_decoder._embedding.token_embedding": "transf_decoder.token_embedding",
    "transf_decoder._embedding.layer_norm": "transf_decoder.embedding_layer_norm",
    "transf_decoder._decoder.": "transf_decoder.",
    "log_softmax.mlp.layer0": "head.classifier",
    "query_net": "linear_q",
    "key_net": "linear_k",
    "value_net": "linear_v",
    "out_projection": "linear_out",
    "dense_in": "linear1",
    "dense_out": "linear2",
}


def rename(name: str) -> str | None:
    if name.startswith(("preprocessor.", "encoder_decoder_proj.")) or name.endswith("pos_enc"):
        return None
    for theirs, new in NAMES.items():
        name = name.replace(theirs, new)
    return name


def prepare(checkpoint: Path, folder: Path) -> None:
    import checkpoints

    source = checkpoints.read(checkpoint)
    checkpoints.save(folder / "model.safetensors", checkpoints.renamed(source.arrays, rename))
    (folder / "tokenizer.model").write_bytes(checkpoints.one_sentencepiece(source))
    n_outputs = len(source.arrays["log_softmax.mlp.layer0.bias"])
    decoder = source.config["transf_decoder"]["config_dict"]
    config = {
        "preprocessor": {**source.config["preprocessor"], "dither": 0.0},
        "encoder": {"ff_expansion_factor": 4, "pos_emb_max_len": 5000, **source.config["encoder"]},
        "transf_decoder": {
            "learn_positional_encodings": False,
            "pre_ln_final_layer_norm": True,
            **decoder,
            "vocab_size": n_outputs,
        },
        "head": {"num_layers": 1, "hidden_size": decoder["hidden_size"], "num_classes": n_outputs},
        "prompt_format": source.config["prompt_format"],
        "tokenizer": {"type": "sentencepiece", "model_path": "tokenizer.model"},
    }
    (folder / "config.json").write_text(json.dumps(config))


def load(folder: Path, precision: str) -> Hear:
    import mlx.core as mx
    from canary_mlx import DecodingConfig, load_model
    from canary_mlx.audio import compute_features
    from canary_mlx.model import build_prompt

    dtype = getattr(mx, precision)
    model = load_model(folder, dtype=dtype)
    prompt = build_prompt(model.tokenizer, model.prompt_format, "en", "en", True)

    def hear(batch: list[Samples], n_tokens: int) -> list[int]:
        (samples,) = batch  # several are decoded one after the other
        mel = compute_features(mx.array(samples).astype(dtype), model.audio_config)
        # What `transcribe` does, but greedily and with a limit; only here the tokens can be counted.
        greedy = DecodingConfig("greedy", max_length=len(prompt) + n_tokens)
        features, lengths = model.encoder(mel if mel.ndim == 3 else mel[None])
        return [len(tokens) for tokens in model._decode(features, [prompt], lengths, config=greedy)]

    return hear


if __name__ == "__main__":
    main(prepare, load, ["canary-mlx", "mlx", "numpy"])
