"""From a name, a folder or a `.nemo` file to the parts of a model.

Loading is strict: every tensor in the file is used once and every parameter is filled once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mlx_canary.audio.features import Preprocessor
from mlx_canary.backend import mx, nn
from mlx_canary.config import FORMAT_VERSION, ModelConfig, PreprocessorConfig
from mlx_canary.convert import safetensors
from mlx_canary.convert.converter import ALIGNER_WEIGHTS, CONFIG, WEIGHTS
from mlx_canary.convert.nemo import open_nemo
from mlx_canary.convert.rename import aligner_recipes, check_sources, network_recipes
from mlx_canary.convert.source import TensorGroup, read_source
from mlx_canary.convert.translate import describe
from mlx_canary.convert.weights import our_tensors
from mlx_canary.errors import CheckpointError, ConversionError, ModelNotFoundError
from mlx_canary.network.build import build_aligner, build_network, expected_tensors
from mlx_canary.network.canary import CanaryNetwork
from mlx_canary.network.ctc import CTCNetwork
from mlx_canary.registry import CANARY_MODELS
from mlx_canary.text.tokenizer import CanaryTokenizer


@dataclass(frozen=True, slots=True)
class Aligner:
    """The auxiliary CTC model with its own features."""

    preprocessor: Preprocessor
    network: CTCNetwork


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """The parts of a model, ready to compute."""

    config: ModelConfig
    tokenizer: CanaryTokenizer
    preprocessor: Preprocessor
    network: CanaryNetwork
    aligner: Aligner | None


def load_model(source: str | Path) -> LoadedModel:
    """Load a checkpoint.

    Args:
        source: The folder of a converted checkpoint, a `.nemo` file or unpacked folder (converted in memory), a name
            from CANARY_MODELS, or a repository `owner/name` on the Hugging Face hub.

    Raises:
        ModelNotFoundError: Nothing goes by that name, or it cannot be downloaded.
        CheckpointError: The folder is not a converted checkpoint, or is damaged.
        ConversionError: The `.nemo` cannot be read.
    """
    path = locate(source)
    if path.is_dir() and (path / CONFIG).is_file() and not (path / "model_config.yaml").exists():
        return load_folder(path)
    return load_nemo(path)


def locate(source: str | Path) -> Path:
    """The file or folder that a name stands for; what is not on disk is looked for on the Hugging Face hub."""
    path = Path(source).expanduser()
    if path.exists():
        return path
    name = str(source)
    if name in CANARY_MODELS:
        return _download(CANARY_MODELS[name].repository)
    if name.count("/") == 1 and not name.startswith((".", "/", "~")) and not name.endswith(".nemo"):
        return _download(name)
    raise ModelNotFoundError(
        f"There is no model {name!r}: no such file or folder, and not one of {', '.join(CANARY_MODELS)}."
    )


def _download(repository: str) -> Path:
    """A repository's converted model, or else its .nemo file, from the hub's cache or the network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    ours = [CONFIG, WEIGHTS, ALIGNER_WEIGHTS, "tokenizer.model", "tokenizers/*.model"]
    try:
        if repository.startswith("nvidia/"):
            ours = []  # NVIDIA's own safetensors hold the encoder alone
        folder = Path(snapshot_download(repository, allow_patterns=[*ours, "*.nemo"]))
    except (RepositoryNotFoundError, LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelNotFoundError(
            f"Cannot get {repository} from the Hugging Face hub ({reason}). Check the name and the network, "
            "or download its .nemo file yourself and give its path."
        ) from error
    if (folder / CONFIG).is_file():
        return folder
    archives = sorted(folder.glob("*.nemo"))
    if len(archives) != 1:
        raise ModelNotFoundError(f"{repository} holds neither a converted model nor a single .nemo file.")
    return archives[0]


def load_folder(folder: Path) -> LoadedModel:
    """Load a converted checkpoint."""
    config = read_config(folder)
    tokenizer = CanaryTokenizer(folder)
    if tokenizer.size != config.tokenizer.size:
        raise CheckpointError(
            f"The tokenizer in {folder} has {tokenizer.size} pieces, config.json says {config.tokenizer.size}."
        )
    network = build_network(config)
    preprocessor = _fill(network, folder / WEIGHTS, config, config.preprocessor, network_recipes(config))
    aligner = None
    if config.aligner is not None:
        ctc = build_aligner(config)
        recipes = aligner_recipes(config.aligner)
        aligner = Aligner(_fill(ctc, folder / ALIGNER_WEIGHTS, config, config.aligner.preprocessor, recipes), ctc)
    return LoadedModel(config, tokenizer, preprocessor, network, aligner)


def load_nemo(path: Path) -> LoadedModel:
    """Load a NeMo checkpoint without writing a conversion."""
    with open_nemo(path) as nemo:
        source = read_source(nemo)
        config = source.config
        network = build_network(config)
        preprocessor = _fill_from(network, source.network, config, config.preprocessor)
        aligner = None
        if source.aligner is not None and config.aligner is not None:
            ctc = build_aligner(config)
            aligner = Aligner(_fill_from(ctc, source.aligner, config, config.aligner.preprocessor), ctc)
    return LoadedModel(config, source.tokenizer, preprocessor, network, aligner)


def read_config(folder: Path) -> ModelConfig:
    """The config.json of a converted checkpoint."""
    try:
        values = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{folder / CONFIG} cannot be read: {error}.") from error
    if not isinstance(values, dict) or "format_version" not in values:
        raise CheckpointError(
            f"{folder} is not a model converted by mlx-canary: its config.json has no format_version."
        )
    if values["format_version"] != FORMAT_VERSION:
        raise CheckpointError(
            f"{folder} has format_version {values['format_version']!r}; this version of mlx-canary reads "
            f"{FORMAT_VERSION}. Convert the checkpoint again."
        )
    try:
        return ModelConfig.model_validate(values)
    except ValidationError as error:
        raise CheckpointError(f"{folder / CONFIG}: {describe(error)}.") from error


def _fill(
    network: nn.Module, path: Path, config: ModelConfig, preprocessor: PreprocessorConfig, recipes: Any
) -> Preprocessor:
    """Fill a network from a weights file in either layout."""
    if not path.is_file():
        raise CheckpointError(f"{path.parent} lacks {path.name}; convert the checkpoint again.")
    tensors = safetensors.read(path)
    if config.weights.layout == "nemo":
        try:
            group = TensorGroup(tensors, recipes, check_sources(recipes, tensors))
            return _fill_from(network, group, config, preprocessor)
        except ConversionError as error:
            raise CheckpointError(f"{path}: {error}") from error
    expected = expected_tensors(network, preprocessor)
    for name, (shape, dtype) in expected.items():
        tensor = tensors.get(name)
        if tensor is None:
            raise CheckpointError(f"{path} lacks the tensor {name}; convert the checkpoint again.")
        if (tensor.shape, tensor.dtype) != (shape, safetensors.dtype_name(dtype)):
            raise CheckpointError(
                f"The tensor {name} in {path} is {tensor.dtype} {tensor.shape}; "
                f"config.json calls for {safetensors.dtype_name(dtype)} {shape}."
            )
    if unknown := set(tensors) - set(expected):
        raise CheckpointError(f"{path} has tensors that config.json does not call for: {sorted(unknown)[:5]}.")
    loaded = mx.load(str(path))
    assert isinstance(loaded, dict)
    return _assign(network, loaded.items(), preprocessor)


def _fill_from(
    network: nn.Module, group: TensorGroup, config: ModelConfig, preprocessor: PreprocessorConfig
) -> Preprocessor:
    """Fill a network from a checkpoint's own tensors."""
    expected = expected_tensors(network, preprocessor)
    return _assign(network, our_tensors(group, expected, config.weights), preprocessor)


def _assign(
    network: nn.Module, tensors: Iterable[tuple[str, mx.array]], preprocessor: PreprocessorConfig
) -> Preprocessor:
    weights = dict(tensors)
    window, filterbank = weights.pop("preprocessor.window"), weights.pop("preprocessor.filterbank")
    network.load_weights(list(weights.items()), strict=True)
    network.eval()
    return Preprocessor(preprocessor, window, filterbank)
