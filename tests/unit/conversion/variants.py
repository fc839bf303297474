"""NeMo's small checkpoints with something changed: other tensors, another configuration."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import builders as b
import numpy as np
import yaml
from conftest import DATA
from sentencepiece import SentencePieceProcessor

from mlx_canary.conversion.torch_zip import read_state_dict

MODELS = DATA / "models"
HEAD = "log_softmax.mlp.layer0.weight"
EMBEDDING = "transf_decoder._embedding.token_embedding.weight"
_STORAGES = {"<f4": "FloatStorage", "<i8": "LongStorage", "<f8": "DoubleStorage"}

Tensors = dict[str, np.ndarray]
Config = dict[str, Any]


def variant(
    path: Path,
    model: str = "canary2-flash",
    *,
    tensors: Callable[[Tensors], object] | None = None,
    config: Callable[[Config], object] | None = None,
    aligner_tensors: Callable[[Tensors], object] | None = None,
    aligner_config: Callable[[Config], object] | None = None,
    members: Callable[[dict[str, bytes]], object] | None = None,
) -> Path:
    """Write a checkpoint that differs from one of the small ones by what the functions change in place."""
    found = nemo_members(model)
    for name, change in (("model_weights.ckpt", tensors), ("timestamps_asr_model_weights.ckpt", aligner_tensors)):
        if change is not None:
            found[name] = changed_weights(found[name], change)
    for name, edit in (("model_config.yaml", config), ("timestamps_asr_model_config.yaml", aligner_config)):
        if edit is not None:
            values = yaml.safe_load(found[name])
            edit(values)
            found[name] = yaml.safe_dump(values, sort_keys=False).encode()
    if members is not None:
        members(found)
    path.write_bytes(b.tar(found))
    return path


def nemo_members(model: str) -> dict[str, bytes]:
    """The files in a checkpoint."""
    with tarfile.open(MODELS / f"{model}.nemo") as archive:
        files = [info for info in archive.getmembers() if info.isfile()]
        return {info.name.removeprefix("./"): archive.extractfile(info).read() for info in files}


def changed_weights(checkpoint: bytes, change: Callable[[Tensors], object]) -> bytes:
    """A torch zip with other tensors; those that shared bytes and are still one array share them again."""
    by_storage: dict[str, np.ndarray] = {}
    lazy = read_state_dict(memoryview(checkpoint))
    values = {name: by_storage.setdefault(tensor.storage_key, tensor.read()) for name, tensor in lazy.items()}
    change(values)
    keys: dict[int, str] = {}
    pickled = {}
    for name, array in values.items():
        key = keys.setdefault(id(array), str(len(keys)))
        strides = tuple(step // array.itemsize for step in np.empty(array.shape, array.dtype).strides)
        pickled[name] = b.tensor(b.storage(key, array.size, _STORAGES[array.dtype.str]), array.shape, strides)
    storages = {keys[id(array)]: array.tobytes() for array in values.values()}
    return b.torch_zip(b.state_dict(pickled), storages)


def set_at(tensors: Tensors, name: str, index: tuple[int, ...], value: float) -> None:
    """Change one number of a tensor."""
    array = np.array(tensors[name])
    array[index] = value
    tensors[name] = array


def put(config: Config, path: str, value: Any) -> None:
    """Set a key, given with dots."""
    *parents, last = path.split(".")
    for parent in parents:
        config = config[parent]
    config[last] = value


def unpack(model: str, folder: Path) -> Path:
    """A checkpoint as a folder of its members."""
    folder.mkdir()
    with tarfile.open(fileobj=io.BytesIO(b.tar(nemo_members(model)))) as archive:
        for info in archive.getmembers():
            if info.isfile():
                (folder / info.name).write_bytes(archive.extractfile(info).read())
    return folder


def multilingual(path: Path, model: str = "canary2-flash", romanized: str | None = "<|noromanized|>") -> Path:
    """A checkpoint of the kind of AI4Bharat's: one tokenizer for all languages, and a slot more in the prompt.

    Args:
        path: Where it is written.
        model: What it is made of: the English tokenizer is the one for all.
        romanized: The slot's default; None for no such slot.
    """
    parts = yaml.safe_load(nemo_members(model)["model_config.yaml"])["tokenizer"]["langs"]
    special = parts["spl_tokens"]["model_path"].removeprefix("nemo:")
    n_pieces = sum(len(_pieces(nemo_members(model), parts[name])) for name in ("spl_tokens", "en"))
    n_rows = -(-n_pieces // 8) * 8

    def edit(config: Config) -> None:
        langs = config["tokenizer"]["langs"]
        config["tokenizer"]["langs"] = {"spl_tokens": langs["spl_tokens"], "multilingual": langs["en"]}
        package = "nemo.collections.common.tokenizers.canary_multilingual_tokenizer"
        config["tokenizer"]["custom_tokenizer"]["_target_"] = f"{package}.CanaryMultilingualTokenizer"
        config["head"]["num_classes"] = n_rows
        if romanized is not None:
            config["prompt_defaults"][0]["slots"]["romanized"] = romanized

    def shorten(tensors: Tensors) -> None:
        tensors[HEAD] = tensors[EMBEDDING] = np.ascontiguousarray(tensors[HEAD][:n_rows])
        tensors["log_softmax.mlp.layer0.bias"] = tensors["log_softmax.mlp.layer0.bias"][:n_rows].copy()

    def rename(members: dict[str, bytes]) -> None:  # to tokens of the same length
        members[special] = (
            members[special].replace(b"<|spltoken0|>", b"<|romanized|>").replace(b"<|emo:neutral|>", b"<|noromanized|>")
        )

    return variant(path, model, config=edit, tensors=shorten, members=rename)


def _pieces(members: dict[str, bytes], part: Config) -> list[str]:
    processor = SentencePieceProcessor(model_proto=members[part["model_path"].removeprefix("nemo:")])
    return [processor.id_to_piece(i) for i in range(processor.get_piece_size())]
