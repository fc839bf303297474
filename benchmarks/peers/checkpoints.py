"""A `.nemo` checkpoint for peers that read neither it nor NeMo's names: arrays, sizes and tokens from it.

Runs in our own environment; our reader needs no torch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from common import NEVER

Arrays = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Checkpoint:
    """What is in a file.

    Attributes:
        config: The model's configuration.
        arrays: All weights in float32 under NeMo's names, in which no special token can win.
        pieces: The tokens by their numbers.
        n_special: How many special tokens there are; they come first.
        eos_id, pad_id: Two of them.
    """

    config: dict[str, Any]
    arrays: Arrays
    pieces: list[str]
    n_special: int
    eos_id: int
    pad_id: int


def read(path: Path) -> Checkpoint:
    from mlx_canary.conversion.nemo import open_nemo
    from mlx_canary.conversion.source import read_source

    with open_nemo(path) as nemo:
        tokenizer = read_source(nemo).tokenizer
        stored = {name: np.asarray(tensor.read()) for name, tensor in nemo.tensors.items()}
        arrays = {name: array.astype(np.float32) for name, array in stored.items() if array.dtype.kind == "f"}
        n_special = max(tokenizer.special_ids) + 1
        arrays["log_softmax.mlp.layer0.bias"][:n_special] = NEVER
        return Checkpoint(
            config=nemo.config,
            arrays=arrays,
            pieces=[tokenizer.piece(n) for n in range(tokenizer.size)],
            n_special=n_special,
            eos_id=tokenizer.eos_id,
            pad_id=tokenizer.pad_id,
        )


def one_sentencepiece(checkpoint: Checkpoint) -> bytes:
    """One model with as many pieces and the same special tokens, for peers that know nothing of several tokenizers.

    Its other pieces mean nothing, as the words of random weights do.
    """
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
    from make_random_checkpoint import sentences, train_tokenizer

    specials = [piece if piece.startswith("<") else f"<|unused{n}|>" for n, piece in enumerate(checkpoint.pieces)]
    corpus = sentences(np.random.default_rng(0), 50_000)
    return train_tokenizer(corpus, len(checkpoint.pieces), specials[1 : checkpoint.n_special])


def save(path: Path, arrays: Mapping[str, npt.NDArray[np.float32]]) -> None:
    """As safetensors."""
    from mlx_canary.backend import mx

    mx.save_safetensors(str(path), {name: mx.array(array) for name, array in arrays.items()})


def renamed(arrays: Arrays, rename: Callable[[str], str | None]) -> Arrays:
    """Under other names; what has none is left out, and convolutions get their channels last, as MLX has them."""
    found = {}
    for name, array in arrays.items():
        new = rename(name)
        if new is not None:
            is_convolution = "conv" in name and name.endswith("weight") and array.ndim > 2
            found[new] = np.moveaxis(array, 1, -1) if is_convolution else array
    return found
