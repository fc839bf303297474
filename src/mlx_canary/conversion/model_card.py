"""The README.md of a converted checkpoint: what it is, where it comes from, what may be done with it."""

from __future__ import annotations

from mlx_canary.config import ModelConfig
from mlx_canary.registry import CANARY_MODELS
from mlx_canary.text.languages import LANGUAGE_NAMES, describe_translation
from mlx_canary.version import __version__


def model_card(config: ModelConfig) -> str:
    """A model card with the metadata block that model hubs read."""
    return f"""{_metadata(config)}
# {config.name} for MLX

Converted from NeMo's `{config.source.file}` with mlx-canary {__version__}. {_source(config)}

## Use

```sh
mlx-canary transcribe recording.m4a --model THIS_FOLDER
```

```python
from mlx_canary import CanaryModel

model = CanaryModel.from_pretrained("THIS_FOLDER")
print(model.transcribe("recording.m4a"))
```

## What it does

{_abilities(config)}

## What it is

| | |
|---|---|
| encoder | FastConformer, {config.encoder.n_layers} layers of width {config.encoder.d_model} |
| decoder | Transformer, {config.decoder.n_layers} layers of width {config.decoder.hidden_size} |
| vocabulary | {config.tokenizer.size} pieces, {"one tokenizer" if config.tokenizer.type == "bpe" else "aggregate"} |
| prompt | {config.prompt.format} |
| weights | {_weights(config)} |
| auxiliary CTC aligner | {"yes" if config.aligner else "no"} |
| saved by | NeMo {config.source.nemo_version or "(version unknown)"} |

## Licence

{_license(config)}
"""


def _metadata(config: ModelConfig) -> str:
    lines = ["---", "library_name: mlx-canary", "pipeline_tag: automatic-speech-recognition"]
    if config.languages is not None:
        lines += ["language:", *(f"- {code}" for code in config.languages.spoken)]
    if config.source.license is not None:
        lines.append(f"license: {config.source.license.lower()}")
    if config.name in CANARY_MODELS and config.source.license is not None:
        lines.append(f"base_model: {CANARY_MODELS[config.name].repository}")
    return "\n".join([*lines, "tags:", "- mlx", "- canary", "---"])


def _source(config: ModelConfig) -> str:
    if config.source.license is None:
        return "The original is not one of NVIDIA's published checkpoints, or was renamed."
    if config.name not in CANARY_MODELS:
        return "The original is the demo model that comes with mlx-canary; its card there says what it learned from."
    return f"The original is published as {CANARY_MODELS[config.name].repository}."


def _abilities(config: ModelConfig) -> str:
    if config.languages is None:
        return "Which languages it was trained on is not recorded in the checkpoint. Ask whoever trained it."
    names = ", ".join(f"{LANGUAGE_NAMES.get(code, code)} ({code})" for code in config.languages.spoken)
    return f"It transcribes {names}. It translates {describe_translation(config.languages)}."


def _weights(config: ModelConfig) -> str:
    weights = config.weights
    text: str = weights.dtype
    if weights.quantization is not None:
        text += f", matrices in {weights.quantization.bits} bits, groups of {weights.quantization.group_size}"
    return text + (", NeMo's names and axes" if weights.layout == "nemo" else "")


def _license(config: ModelConfig) -> str:
    if config.source.license is None:
        return "The weights keep the licence of the original, which the checkpoint does not say. Look it up there."
    text = f"The weights keep the licence of the original: {config.source.license}."
    return text + (" Commercial use is not permitted." if "NC" in config.source.license else "")
