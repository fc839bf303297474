"""From a name, a folder or a `.nemo` file to the parts of a model.

Loading is strict: every tensor in the file is used once and every parameter is filled once.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from mlx_canary.audio.features import Preprocessor
from mlx_canary.backend import mx
from mlx_canary.config import FORMAT_VERSION, Dtype, ModelConfig
from mlx_canary.conversion import safetensors
from mlx_canary.conversion.archive import nemo_in
from mlx_canary.conversion.files import Expected, WeightsFile, weights_files
from mlx_canary.conversion.names import CONFIG
from mlx_canary.conversion.nemo import NemoCheckpoint, open_nemo
from mlx_canary.conversion.output_folder import format_version
from mlx_canary.conversion.source import read_source, tensor_group
from mlx_canary.conversion.translate import describe
from mlx_canary.conversion.weights import checked, our_tensors
from mlx_canary.errors import CheckpointError, ConversionError, ModelNotFoundError
from mlx_canary.hub.download import Progress
from mlx_canary.hub.fetch import fetch
from mlx_canary.hub.names import hub_model
from mlx_canary.memory import bound_cache, warn_of_size
from mlx_canary.network.build import parameters, suit_device
from mlx_canary.network.canary import CanaryNetwork
from mlx_canary.network.ctc import CTCNetwork
from mlx_canary.registry import CANARY_MODELS
from mlx_canary.text.tokenizer import CanaryTokenizer

# What tells words' times: the model's own time tokens or its aligner, where it has them, or its cross-attention.
TimesFrom = Literal["model", "attention"]
_log = logging.getLogger(__name__)
DEMO = Path(__file__).parent / "demo" / "demo.nemo"


@dataclass(frozen=True, slots=True)
class Aligner:
    """The auxiliary CTC model with its own features."""

    preprocessor: Preprocessor
    network: CTCNetwork

    @property
    def frame_duration(self) -> float:
        """Seconds of one of its frames."""
        config = self.preprocessor.config
        return config.hop_length / config.sample_rate * self.network.encoder.subsampling_factor


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """The parts of a model, ready to compute.

    Attributes:
        times_from: What tells words' times unless a caller says.
    """

    config: ModelConfig
    tokenizer: CanaryTokenizer
    preprocessor: Preprocessor
    network: CanaryNetwork
    aligner: Aligner | None
    times_from: TimesFrom = "model"


def load_model(source: str | Path, progress: Progress | None = None) -> LoadedModel:
    """Load a checkpoint.

    Args:
        source: The folder of a converted checkpoint; a `.nemo` file, a folder that holds one or an unpacked one
            (converted in memory); or a name from CANARY_MODELS or repository `owner/name` on the Hugging Face hub,
            perhaps with `@revision` (downloaded and converted once).
        progress: Told what is being downloaded or converted, with the bytes done and in all.

    Raises:
        ModelNotFoundError: Nothing goes by that name, or it cannot be downloaded.
        CheckpointError: The folder is not a converted checkpoint, or is damaged.
        ConversionError: The `.nemo` cannot be read.
    """
    bound_cache()
    path = locate(source, progress)
    model = load_folder(path) if _is_converted(path) else load_nemo(path)
    if model.config.languages is None:
        _log.warning(
            "%s does not say which languages it was trained on, so any that it has a tag for is accepted. "
            "`mlx-canary convert --languages` can name them.",
            model.config.name,
        )
    # With its own time tokens it gets 3.8 instead of 3.3 % of the words wrong: docs/accuracy.md.
    return replace(model, times_from="attention") if path == DEMO else model


def choose_dtype(model: LoadedModel, dtype: Dtype | None) -> None:
    """What a loaded model computes in. Its weights are in memory afterwards, so that any one thread may use them.

    Args:
        model: Changed in place.
        dtype: None for what it is stored in, on a CPU for float32 with unpacked matrices. An aligner gets it on a GPU.
    """
    networks = [model.network] if model.aligner is None else [model.network, model.aligner.network]
    for network in networks:
        if dtype is not None and (network is model.network or mx.default_device().type == mx.gpu):
            network.set_dtype(getattr(mx, dtype))
        else:
            suit_device(network)
    if model.config.weights.quantization is None:
        warn_of_size(
            sum(weight.nbytes for network in networks for _, weight in parameters(network)), model.network.dtype
        )
    for part in (model, model.aligner):
        if part is not None:
            mx.eval(part.preprocessor.window, part.preprocessor.filterbank)
            for _, weight in parameters(part.network):
                mx.eval(weight)  # one at a time: what it was cast from takes memory until then


def load_config(source: str | Path, progress: Progress | None = None) -> ModelConfig:
    """What a checkpoint says about itself, without its weights. Arguments and errors as for `load_model`."""
    path = locate(source, progress)
    if _is_converted(path):
        return read_config(path)
    with open_nemo(path) as nemo:
        return read_source(nemo).config


def _is_converted(path: Path) -> bool:
    """Whether it is to be read as a folder of ours; NVIDIA's repositories have a config.json of their own."""
    if not os.path.isfile(path / CONFIG) or os.path.exists(path / "model_config.yaml"):
        return False
    return format_version(path / CONFIG) is not None or nemo_in(path) is None


def locate(source: str | Path, progress: Progress | None = None) -> Path:
    """The file or folder that a name stands for. What is not on disk is taken from the Hugging Face hub.

    Args:
        source: As for `load_model`.
        progress: As for `fetch`.

    Raises:
        ModelNotFoundError: Nothing goes by that name, or it cannot be downloaded.
        ConversionError: A .nemo from the hub cannot be converted.
    """
    name = str(source)
    if not name:  # would be the current folder
        raise ModelNotFoundError("The model's name is empty. Give 'demo', a folder, or a name from CANARY_MODELS.")
    if name == "demo":  # a folder of that name is ./demo
        return DEMO
    try:
        path = Path(source).expanduser()
        if path.exists():
            return path
    except (OSError, RuntimeError, ValueError) as error:  # not allowed, too long, nobody's home, a zero byte
        raise ModelNotFoundError(f"There is no model at {name!r:.200}: {error!s:.200}.") from error
    if isinstance(source, str) and (model := hub_model(name)) is not None:
        return fetch(model, progress)
    raise ModelNotFoundError(
        f"There is no model {name!r:.200}: no such file or folder, not one of demo, {', '.join(CANARY_MODELS)}, "
        "and not owner/name on the Hugging Face hub."
    )


def load_folder(folder: Path) -> LoadedModel:
    """Load a converted checkpoint."""
    config = read_config(folder)
    tokenizer = CanaryTokenizer(folder)
    sizes = tokenizer.sub_tokenizers if tokenizer.aggregate else {}
    described = {part.name: part.size for part in config.tokenizer.sub_tokenizers}
    if (tokenizer.size, sizes) != (config.tokenizer.size, described):
        raise CheckpointError(
            f"The tokenizer in {folder} has {_pieces(tokenizer.size, sizes)}, "
            f"config.json says {_pieces(config.tokenizer.size, described)}."
        )
    filled = [_fill(file, folder / file.name, config) for file in weights_files(config)]
    return _joined(config, tokenizer, filled)


def _pieces(size: int, parts: Mapping[str, int]) -> str:
    named = ", ".join(f"{name} {n}" for name, n in parts.items())
    return f"{size} pieces" + (f" ({named})" if named else "")


def load_nemo(path: Path) -> LoadedModel:
    """Load a NeMo checkpoint without writing a conversion."""
    with open_nemo(path) as nemo:
        source = read_source(nemo)
        files = zip(weights_files(source.config), source.groups, strict=True)
        filled = [
            _assign(file, _one_by_one(our_tensors(checked(group), file.expected, source.config.weights), nemo))
            for file, group in files
        ]
    return _joined(source.config, source.tokenizer, filled)


def _one_by_one(tensors: Iterable[tuple[str, mx.array]], nemo: NemoCheckpoint) -> Iterator[tuple[str, mx.array]]:
    """The same, made: they take no memory but their own, neither the file's pages nor what they were cast from."""
    for name, tensor in tensors:
        mx.eval(tensor)
        nemo.release_pages()
        yield name, tensor


def read_config(folder: Path) -> ModelConfig:
    """The config.json of a converted checkpoint."""
    try:
        values = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{folder} is not a converted model: no readable {CONFIG} ({_reason(error)}).") from error
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


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


_Filled = tuple[CanaryNetwork | CTCNetwork, Preprocessor]


def _joined(config: ModelConfig, tokenizer: CanaryTokenizer, filled: list[_Filled]) -> LoadedModel:
    (network, preprocessor), *more = filled
    assert isinstance(network, CanaryNetwork)
    aligners = [Aligner(preprocessor, ctc) for ctc, preprocessor in more if isinstance(ctc, CTCNetwork)]
    return LoadedModel(config, tokenizer, preprocessor, network, aligners[0] if aligners else None)


def _fill(file: WeightsFile, path: Path, config: ModelConfig) -> _Filled:
    """Fill a network from a weights file in either layout."""
    if not path.is_file():
        raise CheckpointError(f"{path.parent} lacks {path.name}; convert the checkpoint again.")
    tensors = safetensors.read(path)
    if config.weights.layout == "nemo":
        try:
            group = tensor_group(tensors, file.recipes)
            return _assign(file, our_tensors(group, file.expected, config.weights))
        except ConversionError as error:
            raise CheckpointError(f"{path}: {error}") from error
    check_tensors(path, tensors, file.expected)
    loaded = mx.load(str(path))
    assert isinstance(loaded, dict)
    return _assign(file, loaded.items())


def check_tensors(path: Path, tensors: Mapping[str, safetensors.StoredTensor], expected: Expected) -> None:
    """Every expected tensor is there in its shape and type, and no other.

    Raises:
        CheckpointError: Names the first that is not.
    """
    for name, (shape, dtype) in expected.items():
        tensor, wanted = tensors.get(name), safetensors.dtype_name(dtype)
        if tensor is None:
            raise CheckpointError(f"{path} lacks the tensor {name}; convert the checkpoint again.")
        if (tensor.shape, tensor.dtype) != (shape, wanted):
            found = f"{tensor.dtype} {tensor.shape}"
            raise CheckpointError(f"The tensor {name} in {path} is {found}; config.json calls for {wanted} {shape}.")
    if unknown := sorted(set(tensors) - set(expected)):
        raise CheckpointError(f"{path} has tensors that config.json does not call for, such as {unknown[0]}.")


def _assign(file: WeightsFile, tensors: Iterable[tuple[str, mx.array]]) -> _Filled:
    weights = dict(tensors)
    window, filterbank = weights.pop("preprocessor.window"), weights.pop("preprocessor.filterbank")
    file.network.load_weights(list(weights.items()), strict=True)
    file.network.eval()
    return file.network, Preprocessor(file.preprocessor, window, filterbank)
