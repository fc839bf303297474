"""NeMo on PyTorch: `transcribe` of arrays, greedy, as the model that every other peer is converted from."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from common import NEVER, Hear, Samples, main, n_threads

REQUIREMENTS = ["torch==2.13.0", "nemo_toolkit[asr]==3.0.0"]


def load_nemo(checkpoint: Path) -> Any:
    """The model, ready to decode greedily, in which no special token can win."""
    import torch
    from nemo.collections.asr.models import EncDecMultiTaskModel

    torch.set_num_threads(n_threads())
    model = EncDecMultiTaskModel.restore_from(str(checkpoint), map_location="cpu").eval()
    decode_endlessly(model)
    return model


def decode_endlessly(model: Any) -> None:
    """Greedily, until `max_seq_length` ends the text and nothing else."""
    import torch
    from omegaconf import OmegaConf

    model.change_decoding_strategy(OmegaConf.create({"strategy": "greedy"}))
    model.decoding.decoding.greedy_search.max_delta_len = -1
    special = sorted(model.tokenizer.special_tokens.values())
    with torch.no_grad():
        model.log_softmax.mlp.layer0.bias[special] = NEVER


def load(folder: Path, precision: str) -> Hear:
    import torch

    model = load_nemo(folder / "model.nemo")
    search = model.decoding.decoding.greedy_search
    prompt = {"source_lang": "en", "target_lang": "en", "pnc": "yes", "task": "asr"}
    n_prompt = N_PROMPT

    def hear(batch: list[Samples], n_tokens: int) -> list[int]:
        search.max_seq_length = n_prompt + n_tokens
        autocast = torch.autocast("cpu", torch.bfloat16) if precision == "bfloat16" else nullcontext()
        with autocast, torch.inference_mode():
            found = model.transcribe(batch, batch_size=len(batch), return_hypotheses=True, verbose=False, **prompt)
        return [len(hypothesis.y_sequence) for hypothesis in found]

    return hear


N_PROMPT = 9
"""Tokens of a canary2 prompt without context."""

if __name__ == "__main__":
    main(None, load, ["nemo_toolkit", "torch", "numpy"])
