"""NeMo on PyTorch, on a GPU if there is one, with random weights of a published model's sizes.

Made from a configuration instead of a file, so that no gigabytes are written and read. "direct" calls its preprocessor,
encoder and greedy search; "transcribe" is the method that its users call, texts and data loader included.
"""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import sentencepiece
import torch
from worker import N_PROMPT, TOKENS_PER_SECOND, Samples, kernels, serve, sound

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
from make_random_checkpoint import MODELS, Sizes, configuration, tokenizers
from peer_nemo import N_PROMPT as N_TRANSCRIBE_PROMPT
from peer_nemo import decode_endlessly

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
_tokenizers: dict[str, Path] = {}


def build(name: str) -> Any:
    """The model on the device, in float32."""
    from nemo.collections.asr.models import EncDecMultiTaskModel
    from nemo.utils import logging
    from omegaconf import OmegaConf

    logging.setLevel(logging.ERROR)
    sizes = MODELS[name]
    written = configuration(sizes)
    folder = tokenizer_folder(sizes)
    written["tokenizer"]["langs"] = {part: {"dir": str(folder / part), "type": "bpe"} for part in sizes.tokenizers}
    # What it draws at random on a CPU takes longer than all else; it is drawn on the device instead.
    draws = torch.Tensor.uniform_, torch.Tensor.normal_
    torch.Tensor.uniform_ = torch.Tensor.normal_ = lambda self, *_, **__: self  # type: ignore[method-assign, assignment]
    try:
        model = EncDecMultiTaskModel(OmegaConf.create(written))
    finally:
        torch.Tensor.uniform_, torch.Tensor.normal_ = draws  # type: ignore[method-assign]
    model = model.to(DEVICE).eval()
    with torch.no_grad():
        for part, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.02)
            elif part.endswith("bias"):
                parameter.zero_()
    decode_endlessly(model)
    return model


def tokenizer_folder(sizes: Sizes) -> Path:
    key = repr(sizes.tokenizers)
    if key not in _tokenizers:
        folder = _tokenizers[key] = Path(mkdtemp())
        for part, model in tokenizers(sizes, np.random.default_rng(0)).items():
            pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
            (folder / part).mkdir()
            (folder / part / "tokenizer.model").write_bytes(model)
            vocabulary = "\n".join(pieces.id_to_piece(i) for i in range(len(pieces)))
            (folder / part / "vocab.txt").write_text(vocabulary, encoding="utf-8")
    return _tokenizers[key]


class Nemo:
    """dtype "autocast" keeps the weights in float32 and computes in bfloat16 where PyTorch thinks fit."""

    def __init__(self, model: str, dtype: str) -> None:
        torch.set_float32_matmul_precision("high")  # TF32, as in MLX
        self._model = build(model)
        self._autocast = dtype == "autocast"
        if not self._autocast:
            self._model.to(getattr(torch, dtype))
        self._search = self._model.decoding.decoding.greedy_search
        pad = self._model.tokenizer.pad_id
        self._prompt = [token for token in range(N_PROMPT + 1) if token != pad][:N_PROMPT]

    def _context(self) -> AbstractContextManager[Any]:
        return torch.autocast(DEVICE, torch.bfloat16) if self._autocast else nullcontext()

    def adjust(self, frames: int) -> None:
        assert not frames  # it hears a batch at once

    def hear(self, batch: list[Samples], n_tokens: int, how: str = "direct") -> list[int]:
        with torch.inference_mode(), self._context():
            return self._transcribe(batch, n_tokens) if how == "transcribe" else self._direct(batch, n_tokens)[0]

    def stages(self, batch: list[Samples], n_tokens: int) -> dict[str, float]:
        with torch.inference_mode(), self._context():
            return self._direct(batch, n_tokens, wait)[1]

    def _direct(
        self, batch: list[Samples], n_tokens: int, pause: Any = lambda: None
    ) -> tuple[list[int], dict[str, float]]:
        at = [time.perf_counter()]
        signal = torch.from_numpy(np.stack(batch)).to(DEVICE)
        lengths = torch.full((len(batch),), signal.shape[1], device=DEVICE)
        features, n_frames = self._model.preprocessor(input_signal=signal, length=lengths)
        pause()
        at.append(time.perf_counter())
        _, _, states, mask = self._model(processed_signal=features, processed_signal_length=n_frames)
        pause()
        at.append(time.perf_counter())
        prompts = torch.tensor([self._prompt] * len(batch), device=DEVICE)
        self._search.max_seq_length = N_PROMPT + n_tokens
        tokens = self._search(encoder_hidden_states=states, encoder_input_mask=mask, decoder_input_ids=prompts)[0]
        rows = tokens[:, N_PROMPT:].tolist()
        at.append(time.perf_counter())
        names = ("features", "encoder", "decoder")
        stages = {name: after - before for name, before, after in zip(names, at[:-1], at[1:], strict=True)}
        return [len(row) for row in rows], stages

    def _transcribe(self, batch: list[Samples], n_tokens: int) -> list[int]:
        self._search.max_seq_length = N_TRANSCRIBE_PROMPT + n_tokens
        asked = {"source_lang": "en", "target_lang": "en", "pnc": "yes", "task": "asr"}
        found = self._model.transcribe(batch, batch_size=len(batch), return_hypotheses=True, verbose=False, **asked)
        return [len(hypothesis.y_sequence) for hypothesis in found]

    def peak_bytes(self) -> int:
        if DEVICE == "cpu":
            return 0
        peak = torch.cuda.max_memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        return peak


def wait() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def load(model: str, dtype: str) -> Nemo:
    if DEVICE == "cuda":
        torch.cuda.empty_cache()
    return Nemo(model, dtype)


def about(args: Any) -> dict[str, Any]:
    device = torch.cuda.get_device_name() if DEVICE == "cuda" else "cpu"
    names = ("nemo_toolkit", "torch", "numpy")
    return {"program": "NeMo", "versions": {name: version(name) for name in names}, "device": device}


def run(args: Any) -> None:
    import nemo.collections.asr.models  # noqa: F401  long, and no part of any case

    serve(load, about(args))


def profile(args: Any) -> dict[str, Any]:
    """The kernels of one case, and how long the host took to launch them."""
    nemo, batch = Nemo(args.model, args.dtype), sound(args.seconds, args.batch)
    n_tokens = TOKENS_PER_SECOND * args.seconds
    nemo.hear(batch, n_tokens)
    found = about(args) | {"case": [args.model, args.dtype, args.seconds, args.batch]}
    found["stages"] = nemo.stages(batch, n_tokens)
    found["kernels"] = kernels(lambda: nemo.hear(batch, n_tokens))
    return found
