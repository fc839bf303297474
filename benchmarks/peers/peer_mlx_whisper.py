"""mlx-whisper on MLX, for scale: another network, whisper-small's sizes (244 million parameters) with random weights.

Whisper's encoder always hears 30 s: a shorter recording is padded.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from common import Hear, Samples, main

REQUIREMENTS = ["mlx-whisper==0.4.3", "mlx[cpu]; sys_platform == 'linux'"]


def prepare(checkpoint: Path, folder: Path) -> None:
    """The checkpoint is not used."""
    import mlx.core as mx
    from mlx.utils import tree_flatten
    from mlx_whisper.whisper import ModelDimensions, Whisper

    sizes = ModelDimensions(80, 1500, 768, 12, 12, 51865, 448, 768, 12, 12)
    mx.random.seed(0)
    model = Whisper(sizes, mx.float32)
    mx.save_safetensors(str(folder / "weights.safetensors"), dict(tree_flatten(model.parameters())))
    (folder / "config.json").write_text(json.dumps(asdict(sizes)))


def load(folder: Path, precision: str) -> Hear:
    import mlx.core as mx
    from mlx_whisper.audio import N_FRAMES, N_SAMPLES, log_mel_spectrogram, pad_or_trim
    from mlx_whisper.decoding import DecodingOptions, decode
    from mlx_whisper.load_models import load_model
    from mlx_whisper.tokenizer import get_tokenizer

    model = load_model(str(folder), getattr(mx, precision))
    end = get_tokenizer(multilingual=True, language="en", task="transcribe").eot

    def hear(batch: list[Samples], n_tokens: int) -> list[int]:
        padded = [pad_or_trim(mx.array(samples), N_SAMPLES) for samples in batch]
        mel = mx.stack([log_mel_spectrogram(samples)[:N_FRAMES] for samples in padded])
        options = DecodingOptions(
            language="en",
            without_timestamps=True,
            sample_len=n_tokens,
            suppress_tokens=[end],
            fp16=precision == "float16",
        )
        return [len(result.tokens) for result in decode(model, mel, options)]

    return hear


if __name__ == "__main__":
    main(prepare, load, ["mlx-whisper", "mlx", "numpy"])
