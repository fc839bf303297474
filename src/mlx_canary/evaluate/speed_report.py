"""What a benchmark measured, as values that become JSON and as a table for people.

The JSON's keys are fixed by `SpeedReport` and what it holds; `report_version` changes when they do. Times are seconds,
memory is bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlx_canary.evaluate.benchmark import STAGES, Case, Measured
from mlx_canary.evaluate.columns import table
from mlx_canary.evaluate.machine import Machine
from mlx_canary.evaluate.subjects import TOKENS_PER_SECOND

REPORT_VERSION = 1


@dataclass(frozen=True, slots=True)
class SpeedReport:
    """The whole of it.

    Attributes:
        report_version: Of this form.
        machine: What it ran on.
        model: A checkpoint, or the published model whose sizes were taken.
        random_weights: Whether the weights were random.
        fixed_tokens_per_second: Of sound, where the weights were random; None where the model decided.
        repeats: Passes behind each number.
        cases: What was measured.
    """

    report_version: int
    machine: Machine
    model: str
    random_weights: bool
    fixed_tokens_per_second: int | None
    repeats: int
    cases: Sequence[Case]


def make_report(model: str, is_random: bool, repeats: int, machine: Machine, cases: Sequence[Case]) -> SpeedReport:
    """Put it together."""
    fixed = TOKENS_PER_SECOND if is_random else None
    return SpeedReport(REPORT_VERSION, machine, model, is_random, fixed, repeats, cases)


def render_report(report: SpeedReport) -> str:
    """The same as lines for people."""
    machine = report.machine
    weights = (
        f"random weights, {report.fixed_tokens_per_second} tokens a second"
        if report.random_weights
        else "its own weights"
    )
    lines = [
        f"{report.model}, {weights}; median of {report.repeats} (least to most)",
        f"mlx-canary {machine.mlx_canary}, MLX {machine.mlx}, {machine.blas}, Python {machine.python}",
        f"{machine.system}, {machine.device}, {machine.n_cpus} processors",
        "",
    ]
    speeds = ("speed and peak memory", "weights", "batch", "x real time", "first text", "tokens/s")
    lines += table([(*speeds, "process", "MLX", "weights"), *map(_speed_row, report.cases)])
    stages = ("seconds", "weights", "batch", "total", *STAGES, "decoder tokens/s")
    lines += ["", *table([stages, *map(_stage_row, report.cases)])]
    return "\n".join(lines)


def _speed_row(case: Case) -> tuple[str, ...]:
    memory = case.memory
    return (
        *_conditions(case),
        _spread(case.rtfx),
        f"{case.seconds['first_text'].median:.3f} s",
        f"{case.tokens_per_second.median:.1f}",
        *(f"{n_bytes / 1e6:.0f} MB" for n_bytes in (memory.process, memory.mlx, memory.weights)),
    )


def _stage_row(case: Case) -> tuple[str, ...]:
    seconds = (f"{case.seconds[stage].median:.3f}" for stage in ("total", *STAGES))
    return (*_conditions(case), *seconds, f"{case.decoder_tokens_per_second.median:.1f}")


def _conditions(case: Case) -> tuple[str, str, str]:
    weights = case.dtype if case.bits is None else f"{case.dtype}, {case.bits} bits"
    return case.recording, weights, str(case.batch_size)


def _spread(value: Measured) -> str:
    return f"{value.median:.2f} ({value.least:.2f} to {value.most:.2f})"
