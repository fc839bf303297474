"""A NeMo checkpoint, opened: a `.nemo` file or folder in, its configuration, tensors and artifacts out.

Joins the archive, the YAML and the torch checkpoint. Decides whether this is an AED (Canary) model at all;
what its configuration means is for others. Nothing in the file is executed, extracted or believed unchecked.
"""

import os
from pathlib import Path
from typing import Any

from mlx_canary.conversion.archive import Archive, open_archive
from mlx_canary.conversion.interpolate import interpolate
from mlx_canary.conversion.names import CONFIG, WEIGHTS
from mlx_canary.conversion.nemo_yaml import load_yaml
from mlx_canary.conversion.tensors import LazyTensor
from mlx_canary.conversion.torch_zip import read_state_dict
from mlx_canary.errors import ConversionError

_CONFIG, _WEIGHTS = "model_config.yaml", "model_weights.ckpt"
_TIMESTAMPS_CONFIG = "timestamps_asr_model_config.yaml"
_TIMESTAMPS_WEIGHTS = "timestamps_asr_model_weights.ckpt"
_MAX_CONFIG, _MAX_ARTIFACT = 4 << 20, 16 << 20
# What every AED model has, and no CTC, transducer or speech-LLM model has all of.
_SECTIONS = ("preprocessor", "tokenizer", "encoder", "transf_decoder", "head", "prompt_format")


class NemoCheckpoint:
    """An opened checkpoint. Arrays that were read stay usable after `close`.

    Attributes:
        path: What was opened.
        config: model_config.yaml, interpolations resolved where that is simple.
        tensors: The state dict, by NeMo's names.
        timestamps_config: The configuration of the auxiliary CTC model, None where there is none.
        timestamps_tensors: Its state dict, None where there is none.
        has_timestamps_model: Whether there is one in the file, wanted or not.
    """

    def __init__(self, archive: Archive) -> None:
        self.path: Path = archive.path
        self._archive = archive
        self.config: dict[str, Any] = _read_config(archive, _CONFIG)
        _check_class(self.config, self.path.name)
        self.tensors: dict[str, LazyTensor] = _read_tensors(archive, _WEIGHTS)
        self.has_timestamps_model = {_TIMESTAMPS_CONFIG, _TIMESTAMPS_WEIGHTS} <= set(archive.names)
        self.timestamps_config: dict[str, Any] | None = None
        self.timestamps_tensors: dict[str, LazyTensor] | None = None
        # As NeMo decides it.
        if self.has_timestamps_model and self.config.get("restore_timestamps_model", True) is not False:
            self.timestamps_config = _read_config(archive, _TIMESTAMPS_CONFIG)
            self.timestamps_tensors = _read_tensors(archive, _TIMESTAMPS_WEIGHTS)

    def artifact(self, reference: str) -> bytes:
        """The bytes of a file that the configuration refers to.

        Args:
            reference: `nemo:<member>`. Very old files give a path instead; its last part is looked for.

        Raises:
            ConversionError: No member fits, or several do.
        """
        return self._archive.read_bytes(_find_artifact(reference, self._archive), _MAX_ARTIFACT)

    def release_pages(self) -> None:
        """Give back the memory of pages that were read; touching them again reads them again."""
        self._archive.release_pages()

    def close(self) -> None:
        """Forget the archive; the file stays mapped as long as a tensor or an array of it lives."""
        self._archive.close()

    def __enter__(self) -> "NemoCheckpoint":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def open_nemo(path: Path) -> NemoCheckpoint:
    """Open a NeMo AED checkpoint.

    Args:
        path: A `.nemo` file (tar or gzip tar), a folder that holds one, or a folder with the same members.

    Raises:
        ModelNotFoundError: There is nothing at `path`.
        ConversionError: It is no such checkpoint, is damaged, or is not safe to read.
    """
    archive = open_archive(Path(path))
    _check_members(archive)
    return NemoCheckpoint(archive)


def _check_members(archive: Archive) -> None:
    names = archive.names
    missing = [name for name in (_CONFIG, _WEIGHTS) if name not in names]
    if not missing:
        return
    what = archive.path.name
    if any(name.split("/")[0].startswith("mp_rank_") for name in names):
        raise ConversionError(f"{what} is split over devices (mp_rank folders). Merge it with NeMo first.")
    if any(name.startswith("model_weights/") or name.endswith(".distcp") for name in names):
        raise ConversionError(
            f"{what} is a sharded checkpoint (folder model_weights). Save it as one file with NeMo first."
        )
    inside = [name for name in names if name.endswith(".nemo")]
    if inside:
        raise ConversionError(f"{what} is a folder with {inside[0]} in it. Name that file instead of the folder.")
    if WEIGHTS in names and CONFIG not in names:
        raise ConversionError(
            f"{what} has {WEIGHTS} but no {CONFIG}. If mlx-canary converted it, copy it whole, or convert again."
        )
    if any(name.endswith(".safetensors") for name in names):
        raise ConversionError(
            f"{what} has safetensors instead of {' and '.join(missing)}. Only NeMo's .nemo files are read: "
            "Canary's safetensors hold the encoder alone, or another kind of model."
        )
    is_folder = os.path.isdir(archive.path)
    advice = "Is it the folder of a converted model, or of a .nemo file?" if is_folder else "Is it a .nemo file?"
    listed = ", ".join(sorted(names)[:5])[:300] or "nothing"
    raise ConversionError(f"{what} has no {' and no '.join(missing)}; it holds {listed}. {advice}")


def _read_config(archive: Archive, name: str) -> dict[str, Any]:
    what = f"{name} in {archive.path.name}"
    config = load_yaml(archive.read_bytes(name, _MAX_CONFIG), what)
    if not isinstance(config, dict):
        raise ConversionError(f"{what} holds a {type(config).__name__}; expected the sections of a model.")
    config = interpolate(config, what)
    inner = config.get("model")
    # Some files keep everything under `model:`, as training configurations do.
    return inner if isinstance(inner, dict) and "encoder" in inner and "encoder" not in config else config


def _check_class(config: dict[str, Any], what: str) -> None:
    missing = [section for section in _SECTIONS if not config.get(section)]
    if missing:
        target = str(config.get("target", "of an unknown class")).rsplit(".", 1)[-1][:100]
        raise ConversionError(
            f"{what} is no Canary (AED) model: its configuration has no {', '.join(missing)}. "
            f"It is {target}; expected EncDecMultiTaskModel."
        )


def _read_tensors(archive: Archive, name: str) -> dict[str, LazyTensor]:
    return read_state_dict(archive.map(name), f"{name} in {archive.path.name}")


def _find_artifact(reference: str, archive: Archive) -> str:
    if not isinstance(reference, str) or not reference:
        raise ConversionError(f"The configuration of {archive.path.name} names no file where it needs one.")
    name = "/".join(part for part in reference.removeprefix("nemo:").split("/") if part not in ("", "."))
    if name in archive.names:
        return name
    base = name.rsplit("/", 1)[-1]
    # Members are called `<32 hex digits>_<original base name>`.
    found = [member for member in archive.names if member == base or member[32:] == f"_{base}"]
    if len(found) == 1:
        return found[0]
    problem = f"{len(found)} members fit" if found else "it has no such member"
    raise ConversionError(
        f"The configuration of {archive.path.name} refers to {reference[:200]!r}, but {problem}. "
        "The file is incomplete, or was packed by hand."
    )
