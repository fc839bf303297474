"""transcribe.cpp on ggml: weights in float32 or 8 bits, in the GGUF layout that its Canary loader reads.

Its own converter is a script in its repository and not in its packages; the layout is written down here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from common import Hear, Samples, main, n_threads

# Ourselves too, since the file is written from what our reader reads.
REQUIREMENTS = ["transcribe-cpp==0.4.1", "gguf>=0.17", f"{Path(__file__).resolve().parents[2]}[cpu]"]
N_PROMPT = 9
LANGUAGES = ("en", "de", "es", "fr")
ENCODER = {
    "self_attn.": "attn.",
    "norm_feed_forward": "norm_ff",
    "feed_forward": "ff",
    "norm_self_att": "norm_attn",
    "conv.pointwise_conv": "conv.pointwise",
    "conv.depthwise_conv": "conv.depthwise",
    "conv.batch_norm": "conv.bn",
}
DECODER = {
    "layer_norm_": "norm",
    "first_sub_layer": "self_attn",
    "second_sub_layer": "cross_attn",
    "query_net": "q",
    "key_net": "k",
    "value_net": "v",
    "out_projection": "o",
    "third_sub_layer.dense_in": "ffn.up",
    "third_sub_layer.dense_out": "ffn.down",
}
PREFIXES = {
    "encoder.pre_encode.": ("enc.pre_encode.", {}),
    "encoder.layers.": ("enc.blocks.", ENCODER),
    "encoder_decoder_proj.": ("enc.proj.", {}),
    "transf_decoder._embedding.token_embedding.": ("dec.embed.token.", {}),
    "transf_decoder._embedding.position_embedding.": ("dec.embed.", {}),
    "transf_decoder._embedding.layer_norm.": ("dec.embed.norm.", {}),
    "transf_decoder._decoder.layers.": ("dec.layer.", DECODER),
    "transf_decoder._decoder.final_layer_norm.": ("dec.norm.", {}),
    "log_softmax.mlp.layer0.": ("dec.head.", {}),
}


def rename(name: str) -> str | None:
    for theirs, (new, parts) in PREFIXES.items():
        if name.startswith(theirs):
            rest = name.removeprefix(theirs)
            for part, short in parts.items():
                rest = rest.replace(part, short)
            return new + rest
    return None


def prepare(checkpoint: Path, folder: Path) -> None:
    import checkpoints

    source = checkpoints.read(checkpoint)
    for precision in ("float32", "8 bits"):
        write(folder / f"{precision}.gguf", source, in_8_bits=precision == "8 bits")


def write(path: Path, source: Any, in_8_bits: bool) -> None:
    from gguf import GGMLQuantizationType, GGUFWriter, quants

    writer = GGUFWriter(str(path), "canary")
    for key, value in metadata(source).items():
        add(writer, key, value)
    for name, array in source.arrays.items():
        new = rename(name)
        if new is None:
            continue
        if in_8_bits and is_matrix(new, array):
            q8 = GGMLQuantizationType.Q8_0
            writer.add_tensor(new, quants.quantize(array, q8), raw_dtype=q8)
        else:
            writer.add_tensor(new, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def is_matrix(name: str, array: Any) -> bool:
    """Whether it is a linear layer's, or the tokens' table, in whole blocks of 32."""
    return array.ndim == 2 and name.endswith(".weight") and array.shape[1] % 32 == 0


def add(writer: Any, key: str, value: Any) -> None:
    kinds = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
    kinds.get(type(value), writer.add_array)(key, value)


def metadata(source: Any) -> dict[str, Any]:
    config, n_outputs = source.config, len(source.arrays["log_softmax.mlp.layer0.bias"])
    pieces = source.pieces + [f"<unused_{n}>" for n in range(len(source.pieces), n_outputs)]
    control, normal = 3, 1
    kinds = [2] + [control if n < source.n_special else normal for n in range(1, len(pieces))]
    tokens = {
        "model": "unigram",
        "tokens": pieces,
        "scores": [0.0] * len(pieces),
        "token_type": kinds,
        "unknown_token_id": 0,
        "bos_token_id": pieces.index("<|startoftranscript|>"),
        "eos_token_id": source.eos_id,
        "padding_token_id": source.pad_id,
    }
    special = {name.strip("<>|"): n for n, name in enumerate(pieces[: source.n_special]) if not name[2:-2].isdigit()}
    encoder, decoder = config["encoder"], config["transf_decoder"]["config_dict"]
    sections = {
        "general": {"name": "Canary 180M Flash", "basename": "canary", "file_type": 0, "languages": list(LANGUAGES)},
        "stt": {"variant": "canary-180m-flash"},
        "stt.capability": {"translate": True, "lang_detect": False, "timestamps": True},
        "stt.translation": {"target_languages": list(LANGUAGES), "pairs": ["en>de", "de>en"]},
        "tokenizer.ggml": tokens,
        "stt.canary.tokenizer": {
            "lang_codes": ["all"],
            "lang_offsets": [0],
            "lang_sizes": [len(pieces)],
            "single_sp": False,
            "prompt_format": config["prompt_format"],
        },
        "stt.canary.special": {f"{name}_id": n for name, n in special.items() if name not in LANGUAGES},
        "stt.canary.special.lang": {f"{code}_id": special[code] for code in LANGUAGES},
        "stt.canary.encoder": {
            "n_layers": encoder["n_layers"],
            "d_model": encoder["d_model"],
            "n_heads": encoder["n_heads"],
            "d_ff": 4 * encoder["d_model"],
            "conv_kernel": encoder["conv_kernel_size"],
            "subsampling_factor": encoder["subsampling_factor"],
            "subsampling_channels": encoder["subsampling_conv_channels"],
            "pos_emb_max_len": 5000,
            "use_bias": True,
        },
        "stt.canary.decoder": {
            "n_layers": decoder["num_layers"],
            "d_model": decoder["hidden_size"],
            "n_heads": decoder["num_attention_heads"],
            "d_ff": decoder["inner_size"],
            "max_position": decoder["max_sequence_length"],
            "vocab_size": n_outputs,
            "activation": "relu",
            "pre_ln": True,
            "learn_positional_encodings": False,
            "encoder_decoder_proj": "encoder_decoder_proj.weight" in source.arrays,
        },
        "stt.frontend": {
            "type": "mel",
            "num_mels": 128,
            "sample_rate": 16000,
            "n_fft": 512,
            "win_length": 400,
            "hop_length": 160,
            "window": "hann",
            "normalize": "per_feature",
            "dither": 0.0,
            "pre_emphasis": 0.97,
            "f_min": 0.0,
            "f_max": 8000.0,
            "log": True,
        },
    }
    return {f"{section}.{key}": value for section, entries in sections.items() for key, value in entries.items()}


def load(folder: Path, precision: str) -> Hear:
    import transcribe_cpp

    told: list[str] = []
    transcribe_cpp.set_log_callback(lambda level, message: told.append(message))
    model = transcribe_cpp.Model(str(folder / f"{precision}.gguf"), backend="cpu")
    sessions: dict[int, Any] = {}

    def hear(batch: list[Samples], n_tokens: int) -> list[int]:
        if n_tokens not in sessions:  # the context's size is what limits a text
            sessions[n_tokens] = model.session(n_threads=n_threads(), n_ctx=N_PROMPT + n_tokens)
        told.clear()
        # It calls a text that ends at the limit an error, and tells the number of its tokens only in its log.
        results = sessions[n_tokens].run_batch(batch, language="en", return_exceptions=True)
        for result in results:
            if isinstance(result, transcribe_cpp.OutputRepetition):
                raise result  # of what random weights say in long windows
        return [int(n) for n in re.findall(r"output truncated at (\d+) tokens", "\n".join(told))]

    return hear


if __name__ == "__main__":
    main(prepare, load, ["transcribe-cpp", "transcribe-cpp-native", "numpy"])
