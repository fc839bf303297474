"""`mlx-canary convert`."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlx_canary.cli.options import DTYPES, language_codes
from mlx_canary.cli.terminal import say
from mlx_canary.errors import ConversionError

if TYPE_CHECKING:
    from mlx_canary import ConversionConfig, ConversionReport


@click.command(name="convert")
@click.argument("nemo_file", type=click.Path(path_type=Path))
@click.option("--output-dir", "-o", type=click.Path(path_type=Path), help="Folder to make.  [default: NAME-mlx]")
@click.option(
    "--dtype",
    type=click.Choice(DTYPES),
    default="float32",
    show_default=True,
    help="Type of the weights. float16 and bfloat16 take half the space and are faster on a GPU.",
)
@click.option("--bits", type=click.Choice(["4", "8"]), help="Quantize the matrices to so many bits.")
@click.option(
    "--group-size",
    type=click.Choice(["32", "64", "128"]),
    help="With --bits: weights that share a scale.  [default: 64]",
)
@click.option("--preserve-keys", is_flag=True, help="Keep NeMo's tensor names and axes, for debugging.")
@click.option(
    "--prompt-format",
    type=click.Choice(["canary", "canary2"]),
    help="For a fine-tune whose prompt template has another name.",
)
@click.option(
    "--languages",
    metavar="CODES",
    help="The languages that it was trained on, such as en,de, for a fine-tune that does not say.",
)
@click.option("--no-checksums", is_flag=True, help="Do not compare the checkpoint's bytes with its checksums.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier conversion in the folder.")
@click.option("--verbose", "-v", is_flag=True, help="List every tensor that was ignored or not quantized.")
def command(
    nemo_file: Path,
    output_dir: Path | None,
    dtype: str,
    bits: str | None,
    group_size: str | None,
    preserve_keys: bool,
    prompt_format: str | None,
    languages: str | None,
    no_checksums: bool,
    overwrite: bool,
    verbose: bool,
) -> None:
    """Make an MLX model of a NeMo checkpoint.

    NEMO_FILE is a .nemo file, a folder that holds one, or a folder with its unpacked members. Neither NeMo nor PyTorch
    is needed, and nothing in the file is executed.

    \b
    Examples:
      mlx-canary convert canary-180m-flash.nemo
      mlx-canary convert canary-1b-v2.nemo -o canary-8bit --dtype float16 --bits 8
    """
    from mlx_canary.cli.progress import byte_progress
    from mlx_canary.conversion.converter import convert

    if group_size is not None and bits is None:
        raise click.UsageError("--group-size needs --bits.")
    config = _config(
        nemo_file=nemo_file,
        output_dir=output_dir or Path(f"{os.path.basename(os.path.abspath(nemo_file)).removesuffix('.nemo')}-mlx"),
        preserve_original_keys=preserve_keys,
        dtype=dtype,
        bits=int(bits) if bits else None,
        **({} if group_size is None else {"group_size": int(group_size)}),
        prompt_format=prompt_format,
        languages=None if languages is None else language_codes(languages),
        check_bytes=not no_checksums,
        overwrite=overwrite,
    )
    with byte_progress("Converting") as progress:
        report = convert(config, progress)
    _show(report, nemo_file, verbose)


def _config(**values: Any) -> ConversionConfig:
    from pydantic import ValidationError

    from mlx_canary.conversion.config import ConversionConfig
    from mlx_canary.conversion.translate import describe

    try:
        return ConversionConfig(**values)
    except ValidationError as error:
        raise ConversionError(f"{describe(error)[:1].upper()}{describe(error)[1:]}.") from error


def _show(report: ConversionReport, nemo_file: Path, verbose: bool) -> None:
    config = report.config
    used = report.n_source_tensors - len(report.ignored)
    say(
        f"{report.output_dir}: {report.n_bytes / 1e6:,.1f} MB in {report.duration:.1f} s. "
        f"Of {report.n_source_tensors} tensors {used} were used once, {len(report.ignored)} ignored for a reason; "
        f"{report.n_parameters} were written, each once."
    )
    if config.weights.quantization is not None:
        say(
            f"{len(report.quantized)} matrices in {config.weights.quantization.bits} bits; "
            f"{len(report.not_quantized)} stay {config.weights.dtype}, as their rows do not divide into groups."
        )
    for note in report.notes:
        say(f"Note: {note}")
    say(f"Licence of the weights: {config.source.license or 'that of the original, which the file does not say'}.")
    if verbose:
        for name, reason in report.ignored.items():
            say(f"  ignored {name}: {reason}")
        for name in report.not_quantized:
            say(f"  not quantized {name}")
    say(f"Next: {shlex.join(['mlx-canary', 'verify', str(report.output_dir), str(nemo_file)])}")
