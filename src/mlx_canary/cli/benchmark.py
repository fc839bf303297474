"""`mlx-canary benchmark`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import click
from click.core import ParameterSource

from mlx_canary.cli.options import DTYPES, check_result, named_model

if TYPE_CHECKING:
    from mlx_canary.audio.sources import AudioSource
    from mlx_canary.cli.progress import RecordingProgress
    from mlx_canary.config import Dtype
    from mlx_canary.evaluate.benchmark import Case
    from mlx_canary.evaluate.subjects import Bits, Subject

_Weights = tuple["Dtype | None", "Bits | None"]


def _several(
    one: click.ParamType[Any],
) -> Callable[[click.Context, click.Parameter, str | None], tuple[Any, ...] | None]:
    """Values between commas, each as `one` has it."""

    def convert(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[Any, ...] | None:
        if value is None:
            return None
        return tuple(one.convert(part.strip(), parameter, ctx) for part in value.split(","))

    return convert


@click.command(name="benchmark")
@click.option(
    "--model",
    "-m",
    envvar="MLX_CANARY_MODEL",
    show_envvar=True,
    metavar="MODEL",
    callback=named_model,
    help="As for transcribe.",
)
@click.option("--random", metavar="NAME", help="A published model's sizes with random weights, instead of --model.")
@click.option("--audio", multiple=True, metavar="FILE", help="A recording to measure with; may be repeated.")
@click.option(
    "--seconds",
    metavar="S,...",
    callback=_several(click.FloatRange(0.1, 36_000)),
    help="Without --audio: lengths of made-up sound.  [default: 10]",
)
@click.option(
    "--batch-size",
    metavar="N,...",
    callback=_several(click.IntRange(1, 256)),
    default="1",
    show_default=True,
    help="Windows decoded at once.",
)
@click.option(
    "--dtype",
    metavar="TYPE,...",
    callback=_several(click.Choice(DTYPES)),
    help="float32, float16 or bfloat16, to compute in.  [default: the model's own, on a CPU float32]",
)
@click.option(
    "--bits",
    metavar="BITS,...",
    callback=_several(click.Choice(["none", "8", "4"])),
    help="8 or 4 to quantize the weights, none to leave them.  [default: none]",
)
@click.option("--repeats", type=click.IntRange(1, 1000), default=3, show_default=True, help="Passes that count.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", help="Write all numbers here.")
@click.option("--overwrite", is_flag=True, help="Replace the FILE of --json, if it exists.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
def command(**given: Any) -> None:
    """Measure a model's speed and memory on this machine.

    Every combination of the values given is measured: one pass to warm up, then --repeats passes, of which the median
    counts. With --random no weights are needed; such a model writes 4 tokens for each second of sound.

    \b
    Examples:
      mlx-canary benchmark --model my-canary --audio talk.m4a --batch-size 1,4
      mlx-canary benchmark --random canary-180m-flash --seconds 60 --bits none,8,4
    """
    from dataclasses import asdict

    from mlx_canary.cli.progress import recording_progress
    from mlx_canary.cli.terminal import say
    from mlx_canary.evaluate.machine import this_machine
    from mlx_canary.evaluate.speed_report import make_report, render_report
    from mlx_canary.writers import write_file

    _check(given)
    weights: list[_Weights] = [(dtype, bits) for dtype in given["dtype"] or (None,) for bits in _bits(given["bits"])]
    recordings = list(_recordings(given))
    n_passes = len(recordings) * len(given["batch_size"]) * (given["repeats"] + 1)
    cases: list[Case] = []
    for each in weights:
        subject = _subject(given, *each)
        with recording_progress(n_passes, enabled=not given["quiet"]) as progress:
            cases += _measured(given, subject, recordings, progress)
        del subject  # gone before the next comes
    report = make_report(
        given["random"] or given["model"], given["random"] is not None, given["repeats"], this_machine(), cases
    )
    say(render_report(report))
    if given["json_file"] is not None:
        text = json.dumps(asdict(report), ensure_ascii=False, indent=2) + "\n"
        write_file(given["json_file"], text, overwrite=given["overwrite"])


def _measured(
    given: dict[str, Any], subject: Subject, recordings: list[tuple[str, AudioSource]], progress: RecordingProgress
) -> Iterator[Case]:
    """All cases of one model in memory."""
    from mlx_canary.evaluate.benchmark import measure

    for name, source in recordings:
        for batch_size in given["batch_size"]:
            progress.say(f"{name}, {subject.dtype}, batches of {batch_size}")
            yield measure(subject, name, source, batch_size, given["repeats"], progress.finished)


def _check(given: dict[str, Any]) -> None:
    source = click.get_current_context().get_parameter_source
    if given["random"] is not None and source("model") is ParameterSource.COMMANDLINE:
        raise click.UsageError("Give either --model or --random.")
    if given["random"] is None and given["model"] is None:
        raise click.UsageError("Say which model: --model, or --random with the name of a published one.")
    if given["audio"] and given["seconds"]:
        raise click.UsageError("Give either --audio or --seconds.")
    if given["json_file"] is not None:
        check_result(given["json_file"], given["overwrite"], given["audio"])


def _subject(given: dict[str, Any], dtype: Dtype | None, bits: Bits | None) -> Subject:
    from mlx_canary.cli.progress import loading_progress
    from mlx_canary.evaluate.subjects import loaded_subject, random_subject

    if given["random"] is not None:
        return random_subject(given["random"], dtype, bits)
    with loading_progress(given["model"], enabled=not given["quiet"]) as loading:
        return loaded_subject(given["model"], dtype, bits, progress=loading)


def _bits(values: tuple[str, ...] | None) -> tuple[Bits | None, ...]:
    return tuple(None if value == "none" else cast(Literal[4, 8], int(value)) for value in values or ("none",))


def _recordings(given: dict[str, Any]) -> Iterator[tuple[str, AudioSource]]:
    from mlx_canary.audio.download import is_url
    from mlx_canary.audio.sources import describe
    from mlx_canary.evaluate.benchmark import synthetic_speech

    for file in given["audio"]:
        source = file if is_url(file) else Path(file)
        yield describe(source), source
    if not given["audio"]:
        for seconds in given["seconds"] or (10.0,):
            yield f"{seconds:g} s made up", synthetic_speech(seconds)
