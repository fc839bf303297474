"""How much memory MLX may take: the options of the commands that run models, and what they do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

MEMORY = (
    click.option("--memory-limit", type=float, metavar="GB", help="Memory that MLX may take."),
    click.option("--cache-limit", type=float, metavar="GB", help="Of it, memory that MLX keeps for later use."),
)


def memory_options(command: Command) -> Command:
    """Add them to a command."""
    for option in reversed(MEMORY):
        command = option(command)
    return command


def as_bytes(gigabytes: float | None) -> int | None:
    """A limit in bytes; None for MLX's own.

    Raises:
        click.UsageError: There cannot be such a limit.
    """
    if gigabytes is not None and not 0 <= gigabytes < 1e6:
        raise click.UsageError(f"A limit of {gigabytes} GB is not possible.")
    return None if gigabytes is None else int(gigabytes * 1e9)
