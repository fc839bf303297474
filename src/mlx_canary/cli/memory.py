"""How much memory MLX may take: the options of the commands that serve, and what they do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def memory_options(command: Command) -> Command:
    """`--memory-limit` and `--cache-limit`, as `transcribe` has them."""
    cache = click.option("--cache-limit", type=float, metavar="GB", help="Of it, memory that MLX keeps for later use.")
    return click.option("--memory-limit", type=float, metavar="GB", help="Memory that MLX may take.")(cache(command))


def limit_memory(memory_limit: float | None, cache_limit: float | None) -> None:
    """Tell MLX, before a model is loaded.

    Args:
        memory_limit: GB that it may take; None for its own limit.
        cache_limit: GB of it that it keeps for later use; None for its own limit.

    Raises:
        click.UsageError: There cannot be such a limit.
    """
    for gigabytes in (memory_limit, cache_limit):
        if gigabytes is not None and not 0 <= gigabytes < 1e6:
            raise click.UsageError(f"A limit of {gigabytes} GB is not possible.")
    from mlx_canary.backend import mx

    if memory_limit is not None:
        mx.set_memory_limit(int(memory_limit * 1e9))
    if cache_limit is not None:
        mx.set_cache_limit(int(cache_limit * 1e9))
