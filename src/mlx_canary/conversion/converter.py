"""The conversion itself: a NeMo checkpoint in, a folder that `load_models` reads out.

What is in the folder; how it gets to its place is in output_folder.py.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mlx_canary.backend import mx, nn
from mlx_canary.config import ModelConfig, WeightsConfig
from mlx_canary.conversion import safetensors
from mlx_canary.conversion.config import ConversionConfig
from mlx_canary.conversion.files import Expected, WeightsFile, weights_files
from mlx_canary.conversion.model_card import model_card
from mlx_canary.conversion.names import CONFIG
from mlx_canary.conversion.nemo import NemoCheckpoint, open_nemo
from mlx_canary.conversion.output_folder import check_target, new_folder, sweep
from mlx_canary.conversion.source import SourceModel, TensorGroup, read_source
from mlx_canary.conversion.weights import checked, layout_of, tensors_of
from mlx_canary.errors import ConversionError
from mlx_canary.text.tokenizer import CanaryTokenizer, tokenizer_file

Progress = Callable[[int, int], None]
_RESERVE = 8 << 20  # bytes for tokenizers, texts and the file system itself


@dataclass(frozen=True, slots=True)
class ConversionReport:
    """What a conversion did.

    Attributes:
        config: As written to config.json.
        output_dir: The folder.
        n_source_tensors: Tensors in the checkpoint, the auxiliary model's included.
        n_parameters: Tensors written, each filled once.
        ignored: Source tensors without use, with the reason; all others were used once.
        quantized: Names of the matrices that were quantized.
        not_quantized: Matrices that were to be, but whose rows do not divide into groups.
        notes: What the user should know.
        n_bytes: Size of the weights on disk.
        duration: In seconds.
    """

    config: ModelConfig
    output_dir: Path
    n_source_tensors: int
    n_parameters: int
    ignored: dict[str, str]
    quantized: tuple[str, ...]
    not_quantized: tuple[str, ...]
    notes: tuple[str, ...]
    n_bytes: int
    duration: float


@dataclass(frozen=True, slots=True)
class _Job:
    """One weights file to write, and from what."""

    file: WeightsFile
    group: TensorGroup
    layout: Expected


def convert(config: ConversionConfig, progress: Progress | None = None) -> ConversionReport:
    """Convert a NeMo checkpoint.

    Args:
        config: What to convert, where to and how.
        progress: Called with the bytes written so far and in all.

    Raises:
        ConversionError: The checkpoint is not supported, damaged or hostile; the folder exists or cannot be written.
        ModelNotFoundError: There is no checkpoint at that path.
    """
    started = time.monotonic()
    sweep(config.output_dir)
    check_target(config.output_dir, config.overwrite)
    with open_nemo(config.nemo_file) as nemo:
        source = read_source(nemo, config.prompt_format, config.languages)
        ours = _configured(source.config, config)
        jobs = _jobs(source, ours)
        with new_folder(config.output_dir, config.overwrite) as folder:
            _check_space(folder, jobs)
            _write_weights(folder, jobs, config, ours, nemo, progress)
            _write_texts(folder, source.tokenizer, ours, config)
    quantized, kept = _matrices(jobs, ours.weights)
    return ConversionReport(
        config=ours,
        output_dir=config.output_dir,
        n_source_tensors=sum(len(job.group.tensors) for job in jobs),
        n_parameters=sum(len(job.layout) for job in jobs),
        ignored={name: why for job in jobs for name, why in job.group.ignored.items()},
        quantized=quantized,
        not_quantized=kept,
        notes=tuple(source.notes),
        n_bytes=sum(safetensors.file_size(job.layout) for job in jobs),
        duration=time.monotonic() - started,
    )


def _configured(source: ModelConfig, config: ConversionConfig) -> ModelConfig:
    weights = source.weights.model_copy(
        update=dict(
            layout="nemo" if config.preserve_original_keys else "mlx",
            dtype=config.dtype,
            quantization=config.quantization,
        )
    )
    return source.model_copy(update={"weights": weights})


def _jobs(source: SourceModel, ours: ModelConfig) -> list[_Job]:
    return [
        _Job(file, group, layout_of(group, file.expected, ours.weights))
        for file, group in zip(weights_files(ours), source.groups, strict=True)
    ]


def _check_space(folder: Path, jobs: list[_Job]) -> None:
    needed = sum(safetensors.file_size(job.layout) for job in jobs) + _RESERVE
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ConversionError(
            f"{folder.parent} has {free / 1e9:.2f} GB free, and {needed / 1e9:.2f} GB are needed. "
            "Choose another --output-dir."
        )


def _write_weights(
    folder: Path,
    jobs: list[_Job],
    config: ConversionConfig,
    ours: ModelConfig,
    nemo: NemoCheckpoint,
    progress: Progress | None,
) -> None:
    total = sum(safetensors.file_size(job.layout) for job in jobs)
    written = 0

    def counted(tensors: Iterator[tuple[str, mx.array]]) -> Iterator[tuple[str, mx.array]]:
        nonlocal written
        for name, array in tensors:
            yield name, array
            written += array.nbytes
            nemo.release_pages()  # or the whole file would count as ours in the end
            if progress is not None:
                progress(written, total)

    for job in jobs:
        group = checked(job.group) if config.check_bytes else job.group
        tensors = tensors_of(group, job.file.expected, ours.weights)
        safetensors.write(folder / job.file.name, counted(tensors), job.layout)


def _write_texts(folder: Path, tokenizer: CanaryTokenizer, ours: ModelConfig, config: ConversionConfig) -> None:
    """Tokenizers, vocabulary, model card, and config.json last."""
    for name, proto in tokenizer.model_protos():
        file = folder / tokenizer_file(name, tokenizer.aggregate)
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(proto)
    pieces = "".join(f"{tokenizer.piece(i)}\n" for i in range(tokenizer.size))
    (folder / "vocab.txt").write_text(pieces, encoding="utf-8")
    (folder / "README.md").write_text(model_card(ours), encoding="utf-8")
    text = json.dumps(ours.model_dump(), indent=2, ensure_ascii=False)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


def _matrices(jobs: list[_Job], weights: WeightsConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The quantized matrices, and those whose rows did not divide into groups."""
    if weights.quantization is None:
        return (), ()
    quantized = [name[: -len(".scales")] for job in jobs for name in job.layout if name.endswith(".scales")]
    modules = [(path, module) for job in jobs for path, module in job.file.network.named_modules()]
    kept = [path for path, module in modules if isinstance(module, nn.Linear | nn.Embedding)]
    return tuple(quantized), tuple(sorted(kept))
