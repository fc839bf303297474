"""onnx-asr on ONNX Runtime: its Canary class, with an export of NeMo's modules in the layout that this class reads.

Preparing needs NeMo's environment, running needs onnx-asr's.
"""

from __future__ import annotations

import json
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from common import Hear, Samples, main, n_threads

REQUIREMENTS = ["onnx-asr[cpu]==0.12.0", "onnx"]
N_PROMPT = 10
"""Its prompts begin with the bar's piece, as canary-1b-v2's do."""


def prepare(checkpoint: Path, folder: Path) -> None:
    from peer_nemo import load_nemo

    model = load_nemo(checkpoint)
    export_encoder(model, folder / "encoder-model.onnx")
    export_decoder(model, folder / "decoder-model.onnx")
    tokenizer = model.tokenizer
    pieces = [tokenizer.ids_to_tokens([n])[0] for n in range(tokenizer.vocab_size)]
    # It knows tokens by their names, so that of several equal ones the first has to keep it.
    names = [piece if pieces.index(piece) == n else f"{piece}{n}" for n, piece in enumerate(pieces)]
    lines = [f"{name} {n}\n" for n, name in enumerate(names)]
    (folder / "vocab.txt").write_text("".join(lines), encoding="utf-8")
    config = {"model_type": "nemo-conformer-aed", "features_size": 128, "max_sequence_length": 1024}
    (folder / "config.json").write_text(json.dumps(config))


def export_encoder(model: Any, path: Path) -> None:
    """Features (B, M, T) and their lengths in, encoder states (B, S, W) and their mask (B, S) out."""
    import torch

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.projection = model.encoder, model.encoder_decoder_proj

        def forward(self, audio_signal: Any, length: Any) -> tuple[Any, Any]:
            states, lengths = self.encoder.forward_for_export(audio_signal=audio_signal, length=length)
            states = self.projection(states.transpose(1, 2))
            return states, (torch.arange(states.shape[1]) < lengths[:, None]).long()

    export(
        Encoder(),
        (torch.rand(2, 128, 1000), torch.tensor([1000, 900])),
        path,
        {"audio_signal": {0: "batch", 2: "frames"}, "length": {0: "batch"}},
        {"encoder_embeddings": {0: "batch", 1: "states"}, "encoder_mask": {0: "batch", 1: "states"}},
    )


def export_decoder(model: Any, path: Path) -> None:
    """Tokens (B, U) and the hidden states of those before them (layers + 2, B, U', W) in; logits and all states out."""
    import torch

    class Decoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.decoder, self.head = model.transf_decoder, model.log_softmax

        def forward(self, input_ids: Any, encoder_embeddings: Any, encoder_mask: Any, decoder_mems: Any) -> Any:
            embedded = self.decoder.embedding(input_ids, start_pos=decoder_mems.shape[2])
            states, _ = self.decoder.decoder(
                embedded, torch.ones_like(input_ids), encoder_embeddings, encoder_mask, decoder_mems, True, False
            )
            return self.head(hidden_states=states[-1][:, -1:]), states

    width, layers = model.transf_decoder.hidden_size, len(model.transf_decoder.decoder.layers)
    # A step after the prompt: NeMo's mask of one token broadcasts over those before it, its mask of a prompt is square.
    example = (torch.tensor([[7], [7]]), torch.rand(2, 50, width), torch.ones(2, 50).long())
    export(
        Decoder(),
        (*example, torch.rand(layers + 2, 2, 3, width)),
        path,
        {
            "input_ids": {0: "batch", 1: "tokens"},
            "encoder_embeddings": {0: "batch", 1: "states"},
            "encoder_mask": {0: "batch", 1: "states"},
            "decoder_mems": {1: "batch", 2: "before"},
        },
        {"logits": {0: "batch"}, "decoder_hidden_states": {1: "batch", 2: "after"}},
    )


Axes = dict[str, dict[int, str]]


def export(module: Any, example: tuple[Any, ...], path: Path, inputs: Axes, outputs: Axes) -> None:
    """The exporter is the one that NeMo's own export takes: torch's older, which needs no more packages than onnx."""
    import torch
    from nemo.core.classes.common import typecheck

    typecheck.set_typecheck_enabled(enabled=False)
    with torch.no_grad():
        torch.onnx.export(
            module.eval(),
            example,
            str(path),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={**inputs, **outputs},
            opset_version=17,
            dynamo=False,
        )
    typecheck.set_typecheck_enabled(enabled=True)


def quantize(folder: Path) -> None:
    """Matrices in 8 bits beside the float32 ones, as ONNX Runtime's own tool makes them."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    for part in ("encoder", "decoder"):
        made = folder / f"{part}-model.int8.onnx"
        if not made.exists():
            unfinished = made.with_suffix(".part")
            quantize_dynamic(folder / f"{part}-model.onnx", unfinished, op_types_to_quantize=["MatMul", "Gemm"],
                             weight_type=QuantType.QUInt8)  # fmt: skip
            unfinished.rename(made)


def load(folder: Path, precision: str) -> Hear:
    import onnx_asr
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads()
    kind = "int8" if precision == "8 bits" else None
    if kind:  # in another process, for its memory is not what is measured
        made = get_context("spawn").Process(target=quantize, args=(folder,))
        made.start()
        made.join()
    model = onnx_asr.load_model("nemo-conformer-aed", folder, quantization=kind, sess_options=options).with_timestamps()

    def hear(batch: list[Samples], n_tokens: int) -> list[int]:
        model.asr.config["max_sequence_length"] = N_PROMPT + n_tokens
        found = model.recognize(list(batch), language="en", pnc=True)
        return [len(result.logprobs) for result in found]  # one for each token

    return hear


if __name__ == "__main__":
    main(prepare, load, ["onnx-asr", "onnxruntime", "numpy"])
