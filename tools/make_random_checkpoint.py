"""Write a `.nemo` with a published model's sizes and names, and random weights: something to measure conversion with.

    python tools/make_random_checkpoint.py canary-1b-flash /somewhere/with/space/canary-1b-flash.nemo

Needs neither NeMo nor torch, and holds one tensor in memory. Names and shapes are written out here, apart from the
converter's own table. Words are random too, so its transcripts mean nothing. NeMo 3.0.0 loads the two flash sizes.
"""

from __future__ import annotations

import io
import struct
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import sentencepiece
import yaml

LANGUAGES = (
    *("bg", "cs", "da", "de", "el", "en", "es", "et", "fi", "fr", "hr", "hu", "it"),
    *("lt", "lv", "mt", "nl", "pl", "pt", "ro", "ru", "sk", "sl", "sv", "uk"),
)
FLASH = {"spl_tokens": 1152, "en": 1024, "de": 1024, "es": 1024, "fr": 1024}


@dataclass(frozen=True)
class Sizes:
    """What tells the models apart.

    Attributes:
        encoder_layers, encoder_width, decoder_layers, decoder_width, max_sequence_length: As in NeMo.
        tokenizers: Pieces of each sub-tokenizer, or of the only one.
        prompt_format: "canary" or "canary2".
        aligner_layers: Of the auxiliary CTC model's encoder, 0 for none.
        channels, heads: As in NeMo.
    """

    encoder_layers: int
    encoder_width: int
    decoder_layers: int
    decoder_width: int = 1024
    max_sequence_length: int = 1024
    tokenizers: dict[str, int] = field(default_factory=lambda: dict(FLASH))
    prompt_format: str = "canary2"
    aligner_layers: int = 0
    channels: int = 256
    heads: int = 8

    @property
    def aggregate(self) -> bool:
        return "spl_tokens" in self.tokenizers

    @property
    def outputs(self) -> int:
        return -(-sum(self.tokenizers.values()) // 8) * 8


MODELS = {
    "canary-180m-flash": Sizes(17, 512, 4),
    "canary-1b-flash": Sizes(32, 1024, 4),
    "canary-1b-v2": Sizes(32, 1024, 8, tokenizers={"tokenizer": 16384}, aligner_layers=24),
    "canary-1b": Sizes(
        *(24, 1024, 24), max_sequence_length=512, tokenizers={**FLASH, "spl_tokens": 32}, prompt_format="canary"
    ),
}

Shapes = Iterator[tuple[str, tuple[int, ...]]]


def linear(name: str, *shape: int, bias: bool = True) -> Shapes:
    yield f"{name}.weight", shape
    if bias:
        yield f"{name}.bias", shape[:1]


def norm(name: str, width: int) -> Shapes:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def encoder(n_layers: int, D: int, C: int, H: int, bias: bool) -> Shapes:
    yield "preprocessor.featurizer.window", (400,)
    yield "preprocessor.featurizer.fb", (1, 128, 257)
    for n, inputs, kernel in ((0, 1, 3), (2, 1, 3), (3, C, 1), (5, 1, 3), (6, C, 1)):
        yield from linear(f"encoder.pre_encode.conv.{n}", C, inputs, kernel, kernel)
    yield from linear("encoder.pre_encode.out", D, C * 16)
    for n in range(n_layers):
        yield from encoder_layer(f"encoder.layers.{n}", D, H, bias)


def encoder_layer(name: str, D: int, H: int, bias: bool) -> Shapes:
    for part in ("feed_forward1", "self_att", "conv", "feed_forward2", "out"):
        yield from norm(f"{name}.norm_{part}", D)
    for part in ("feed_forward1", "feed_forward2"):
        yield from linear(f"{name}.{part}.linear1", 4 * D, D, bias=bias)
        yield from linear(f"{name}.{part}.linear2", D, 4 * D, bias=bias)
    for part in "uv":
        yield f"{name}.self_attn.pos_bias_{part}", (H, D // H)
    for part in ("q", "k", "v", "out"):
        yield from linear(f"{name}.self_attn.linear_{part}", D, D, bias=bias)
    yield from linear(f"{name}.self_attn.linear_pos", D, D, bias=False)
    yield from linear(f"{name}.conv.pointwise_conv1", 2 * D, D, 1, bias=bias)
    yield from linear(f"{name}.conv.depthwise_conv", D, 1, 9, bias=bias)
    yield from norm(f"{name}.conv.batch_norm", D)
    for part in ("running_mean", "running_var"):
        yield f"{name}.conv.batch_norm.{part}", (D,)
    yield f"{name}.conv.batch_norm.num_batches_tracked", ()
    yield from linear(f"{name}.conv.pointwise_conv2", D, D, 1, bias=bias)


def decoder(sizes: Sizes) -> Shapes:
    W = sizes.decoder_width
    yield "transf_decoder._embedding.token_embedding.weight", (sizes.outputs, W)
    yield "transf_decoder._embedding.position_embedding.pos_enc", (sizes.max_sequence_length, W)
    yield from norm("transf_decoder._embedding.layer_norm", W)
    for n in range(sizes.decoder_layers):
        layer = f"transf_decoder._decoder.layers.{n}"
        for part in (1, 2, 3):
            yield from norm(f"{layer}.layer_norm_{part}", W)
        for part in ("first", "second"):
            for net in ("query_net", "key_net", "value_net", "out_projection"):
                yield from linear(f"{layer}.{part}_sub_layer.{net}", W, W)
        yield from linear(f"{layer}.third_sub_layer.dense_in", 4 * W, W)
        yield from linear(f"{layer}.third_sub_layer.dense_out", W, 4 * W)
    yield from norm("transf_decoder._decoder.final_layer_norm", W)


def main_tensors(sizes: Sizes) -> Shapes:
    D, W = sizes.encoder_width, sizes.decoder_width
    yield from encoder(sizes.encoder_layers, D, sizes.channels, sizes.heads, bias=True)
    if D != W:
        yield from linear("encoder_decoder_proj", W, D)
    yield from decoder(sizes)
    yield from linear("log_softmax.mlp.layer0", sizes.outputs, W)


def aligner_tensors(sizes: Sizes) -> Shapes:
    D = sizes.encoder_width
    yield from encoder(sizes.aligner_layers, D, sizes.channels, sizes.heads, bias=False)
    yield from linear("decoder.decoder_layers.0", sum(sizes.tokenizers.values()) + 1, D, 1)


def values(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Random, but such that a forward pass stays finite."""
    if not shape:
        return np.array(1000, "<i8")
    if name.endswith("featurizer.window"):
        return np.hanning(*shape).astype("<f4")
    if "norm" in name and name.endswith((".weight", ".running_var")):
        return rng.uniform(0.5, 1.5, shape).astype("<f4")
    if name.endswith("featurizer.fb"):
        return rng.random(shape, np.float32)
    return rng.standard_normal(shape, np.float32) * np.float32(0.02)


# The pickle of a state dict, opcode by opcode, as torch writes it.


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def integer(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def integers(numbers: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(integer, numbers)) + b"t"


def tensor(key: int, shape: tuple[int, ...]) -> bytes:
    strides, step = [], 1
    for size in reversed(shape):
        strides.insert(0, step)
        step *= size
    kind = b"ctorch\nFloatStorage\n" if shape else b"ctorch\nLongStorage\n"
    storage = b"(" + text("storage") + kind + text(str(key)) + text("cpu") + integer(step) + b"tQ"
    layout = integer(0) + integers(shape) + integers(tuple(strides)) + b"\x89}"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + layout + b"tR"


class Within:
    """A part of a file as a file of its own, for `zipfile`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._start = file, file.tell()
        self.write, self.flush = file.write, file.flush

    def tell(self) -> int:
        return self._file.tell() - self._start

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset + self._start if whence == 0 else offset, whence) - self._start


def write_weights(file: IO[bytes], shapes: Shapes, rng: np.random.Generator) -> None:
    """A torch zip of random tensors; the head shares the token embedding's storage."""
    keys: dict[str, int] = {}
    entries: list[bytes] = []
    with zipfile.ZipFile(Within(file), "w") as archive:  # type: ignore[call-overload]
        for name, shape in shapes:
            tied = keys.get("transf_decoder._embedding.token_embedding.weight")
            shares = name == "log_softmax.mlp.layer0.weight" and tied is not None
            keys[name] = tied if shares and tied is not None else len(keys)
            entries.append(text(name) + tensor(keys[name], shape))
            if not shares:
                write_entry(archive, f"model_weights/data/{keys[name]}", values(name, shape, rng).tobytes())
        pickled = b"\x80\x02ccollections\nOrderedDict\n)R(" + b"".join(entries) + b"u."
        write_entry(archive, "model_weights/data.pkl", pickled)
        write_entry(archive, "model_weights/byteorder", b"little")
        write_entry(archive, "model_weights/version", b"3\n")


def write_entry(archive: zipfile.ZipFile, name: str, contents: bytes) -> None:
    """Stored, and aligned to 64 bytes through the extra field, as torch does it."""
    assert archive.fp is not None
    info = zipfile.ZipInfo(name)
    padding = -(archive.fp.tell() + 30 + len(name) + 4) % 64
    info.extra = struct.pack("<2H", 0x4246, padding) + b"Z" * padding
    archive.writestr(info, contents)


# Tokenizers, trained on words that mean nothing.


def special_tokens(sizes: Sizes, n: int) -> list[str]:
    """The tokens of a prompt, some of the languages' tags, time tokens, and spare ones to fill up."""
    if sizes.prompt_format == "canary":
        tokens = ["<pad>", "<|endoftext|>", "<|startoftranscript|>", *(f"<|{c}|>" for c in ("en", "de", "es", "fr"))]
        tokens += ["<|transcribe|>", "<|translate|>", "<|nopnc|>", "<|pnc|>", "<|nospeech|>"]
    else:
        tokens = ["<|nospeech|>", "<pad>", "<|endoftext|>", "<|startoftranscript|>", "<|pnc|>", "<|nopnc|>"]
        tokens += ["<|startofcontext|>", "<|itn|>", "<|noitn|>", "<|timestamp|>", "<|notimestamp|>", "<|diarize|>"]
        tokens += ["<|nodiarize|>", *(f"<|emo:{e}|>" for e in ("undefined", "neutral", "happy", "sad", "angry"))]
        tokens += [*(f"<|{code}|>" for code in LANGUAGES), *(f"<|{n}|>" for n in range(900))]
    return [*tokens, *(f"<|spltoken{i}|>" for i in range(n - len(tokens)))]


def sentences(rng: np.random.Generator, n_words: int) -> Iterator[str]:
    """Words of one to four syllables, by tens."""
    syllables = np.array([a + b for a in "bcdfghjklmnpqrstvwxz" for b in "aeiou"] + [" "])
    drawn = rng.integers(0, 100, (n_words // 10, 10, 5))
    drawn[np.arange(5) >= rng.integers(1, 5, drawn.shape[:2])[..., None]] = 100
    for ten in syllables[drawn]:
        yield " ".join("".join(word).strip() for word in ten)


def train_tokenizer(corpus: Iterator[str], size: int, specials: list[str]) -> bytes:
    """A SentencePiece model of exactly this many pieces."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=corpus,
        model_writer=model,
        model_type="bpe",
        vocab_size=size,
        user_defined_symbols=specials,
        normalization_rule_name="identity",
        unk_id=0,
        bos_id=-1,
        eos_id=-1,
        pad_id=-1,
        minloglevel=2,
    )
    return model.getvalue()


def tokenizers(sizes: Sizes, rng: np.random.Generator) -> dict[str, bytes]:
    if not sizes.aggregate:
        ((name, size),) = sizes.tokenizers.items()
        return {name: train_tokenizer(sentences(rng, 200_000), size, special_tokens(sizes, 1150))}
    models = {}
    for name, size in sizes.tokenizers.items():
        if name == "spl_tokens":  # besides them only <unk> and the bar
            models[name] = train_tokenizer(iter(["<|en|>"]), size, special_tokens(sizes, size - 2))
        else:
            models[name] = train_tokenizer(sentences(rng, 20_000), size, [])
    return models


# The configuration, complete enough for NeMo itself to load the file.

MODULES = "nemo.collections.asr.modules"


def configuration(sizes: Sizes) -> dict[str, Any]:
    D, W = sizes.encoder_width, sizes.decoder_width
    loss = "nemo.collections.common.losses.smoothed_cross_entropy.SmoothedCrossEntropyLoss"
    return {
        "target": "nemo.collections.asr.models.aed_multitask_models.EncDecMultiTaskModel",
        "sample_rate": 16000,
        "prompt_format": sizes.prompt_format,
        "prompt_defaults": [{"role": "user", "slots": prompt_slots(sizes)}],
        "model_defaults": {"asr_enc_hidden": D, "lm_enc_hidden": W, "lm_dec_hidden": W},
        "tokenizer": tokenizer_section(sizes),
        "preprocessor": PREPROCESSOR,
        "encoder": encoder_section(sizes, sizes.encoder_layers),
        "transf_encoder": {"num_layers": 0},
        "transf_decoder": {
            "_target_": f"{MODULES}.transformer.get_nemo_transformer",
            "model_name": None,
            "pretrained": False,
            "encoder": None,
            "pre_ln_final_layer_norm": True,
            "config_dict": decoder_section(sizes),
        },
        "head": {
            "_target_": "nemo.collections.asr.parts.submodules.token_classifier.TokenClassifier",
            "hidden_size": W,
            "num_layers": 1,
            "log_softmax": True,
            "num_classes": sum(sizes.tokenizers.values()),
        },
        "decoding": {"strategy": "beam", "beam": {"beam_size": 1, "len_pen": 0.0, "max_generation_delta": 50}},
        "loss": {"_target_": loss, "label_smoothing": 0.0, "pad_id": 2},
    }


def prompt_slots(sizes: Sizes) -> dict[str, str]:
    slots = {"source_lang": "<|en|>", "target_lang": "<|en|>", "pnc": "<|pnc|>"}
    if sizes.prompt_format == "canary":
        return {**slots, "task": "<|transcribe|>"}
    slots |= {"decodercontext": "", "emotion": "<|emo:undefined|>", "itn": "<|noitn|>"}
    return {**slots, "timestamp": "<|notimestamp|>", "diarize": "<|nodiarize|>"}


PREPROCESSOR = {"_target_": f"{MODULES}.AudioToMelSpectrogramPreprocessor",
                "sample_rate": 16000, "normalize": "per_feature", "window_size": 0.025, "window_stride": 0.01,
                "window": "hann", "features": 128, "n_fft": 512, "log": True}  # fmt: skip


def encoder_section(sizes: Sizes, n_layers: int) -> dict[str, Any]:
    return {"_target_": f"{MODULES}.ConformerEncoder",
            "feat_in": 128, "n_layers": n_layers, "d_model": sizes.encoder_width, "subsampling": "dw_striding",
            "subsampling_factor": 8, "subsampling_conv_channels": sizes.channels, "n_heads": sizes.heads,
            "self_attention_model": "rel_pos", "xscaling": False, "conv_kernel_size": 9}  # fmt: skip


def decoder_section(sizes: Sizes) -> dict[str, Any]:
    return {"max_sequence_length": sizes.max_sequence_length, "hidden_size": sizes.decoder_width,
            "inner_size": 4 * sizes.decoder_width, "num_layers": sizes.decoder_layers,
            "num_attention_heads": sizes.heads, "hidden_act": "relu", "pre_ln": True, "num_token_types": 0,
            "vocab_size": None}  # fmt: skip


def aligner_configuration(sizes: Sizes) -> dict[str, Any]:
    return {
        "tokenizer": tokenizer_section(sizes),
        "preprocessor": PREPROCESSOR,
        "encoder": {**encoder_section(sizes, sizes.aligner_layers), "use_bias": False},
        "decoder": {"feat_in": sizes.encoder_width, "num_classes": sum(sizes.tokenizers.values())},
    }


def tokenizer_section(sizes: Sizes) -> dict[str, Any]:
    if not sizes.aggregate:
        return {"dir": None, "type": "bpe", **tokenizer_files("tokenizer")}
    return {
        "dir": None, "type": "agg",
        "langs": {name: {"dir": None, "type": "bpe", **tokenizer_files(name)} for name in sizes.tokenizers},
        "custom_tokenizer": {"_target_": "nemo.collections.common.tokenizers.canary_tokenizer.CanaryTokenizer",
                             "tokenizers": None},
    }  # fmt: skip


def tokenizer_files(name: str) -> dict[str, str]:
    files = {"model_path": "tokenizer.model", "vocab_path": "vocab.txt", "spe_tokenizer_vocab": "tokenizer.vocab"}
    return {key: f"nemo:{artifact(name, file)}" for key, file in files.items()}


def artifact(name: str, file: str) -> str:
    """Members are called by 32 hexadecimal digits and their first name."""
    return f"{name.encode().hex():0<32}_{file}"


# The archive.


def write_checkpoint(path: Path, sizes: Sizes, seed: int = 0) -> None:
    """Write a `.nemo`.

    Args:
        path: The file to make.
        sizes: What is in it.
        seed: Of all that is random.
    """
    rng = np.random.default_rng(seed)
    with path.open("wb") as file:
        for name, model in tokenizers(sizes, rng).items():
            pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
            vocabulary = [pieces.id_to_piece(i) for i in range(len(pieces))]
            contents = {
                "tokenizer.model": model,
                "vocab.txt": "\n".join(vocabulary).encode(),
                "tokenizer.vocab": "".join(f"{piece}\t0\n" for piece in vocabulary).encode(),
            }
            for kind, data in contents.items():
                with member(file, artifact(name, kind)):
                    file.write(data)
        parts = [("model", configuration(sizes), main_tensors(sizes))]
        if sizes.aligner_layers:
            parts.append(("timestamps_asr_model", aligner_configuration(sizes), aligner_tensors(sizes)))
        for name, config, shapes in parts:
            with member(file, f"{name}_config.yaml"):
                file.write(yaml.safe_dump(config, sort_keys=False).encode())
            with member(file, f"{name}_weights.ckpt"):
                write_weights(file, shapes, rng)
        file.write(bytes(1024))


@contextmanager
def member(file: IO[bytes], name: str) -> Iterator[None]:
    """What is written within is a tar member; its header, with the size, comes afterwards."""
    start = file.tell()
    file.write(bytes(512))
    yield
    end = file.tell()
    info = tarfile.TarInfo(f"./{name}")
    info.size = end - start - 512
    file.seek(start)
    file.write(info.tobuf(tarfile.USTAR_FORMAT))
    file.seek(end)
    file.write(bytes(-end % 512))


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in MODELS:
        sys.exit(f"usage: {sys.argv[0]} {{{','.join(MODELS)}}} FILE")
    write_checkpoint(Path(sys.argv[2]), MODELS[sys.argv[1]])
