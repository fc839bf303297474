"""How much memory MLX may take: the options of the commands that run models, and what they do."""

from __future__ import annotations

import click

from mlx_canary.cli.stack import stacked


def _as_gigabytes(ctx: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """People also write 8GB."""
    if value is None:
        return None
    number = value.strip()
    if number.upper().endswith("GB"):
        number = number[:-2]
    try:
        return float(number)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a number of gigabytes, such as 8 or 8GB.") from error


MEMORY = (
    click.option(
        "--memory-limit",
        metavar="GB",
        callback=_as_gigabytes,
        help="Memory that MLX should take, such as 8. It takes more where it must; on a CPU this does nothing.",
    ),
    click.option(
        "--cache-limit", metavar="GB", callback=_as_gigabytes, help="Memory that MLX keeps for later use, at most."
    ),
)
memory_options = stacked(*MEMORY)


def as_bytes(gigabytes: float | None) -> int | None:
    """A limit in bytes; None for MLX's own.

    Raises:
        click.UsageError: There cannot be such a limit.
    """
    if gigabytes is not None and not 0 <= gigabytes < 1e6:
        raise click.UsageError(f"A limit of {gigabytes} GB is not possible.")
    return None if gigabytes is None else int(gigabytes * 1e9)
