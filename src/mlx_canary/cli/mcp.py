"""`mlx-canary mcp`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlx_canary.cli.memory import as_bytes, memory_options
from mlx_canary.cli.options import dtype_option, model_option

if TYPE_CHECKING:
    from mlx_canary.config import Dtype


@click.command(name="mcp")
@click.option(
    "--folder",
    "folders",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Recordings in this folder, and below it, may be read; repeat it for others.",
)
@model_option
@dtype_option
@memory_options
def command(
    folders: tuple[Path, ...],
    model: str,
    dtype: Dtype | None,
    memory_limit: float | None,
    cache_limit: float | None,
) -> None:
    """Let assistants transcribe recordings, by the Model Context Protocol on standard input and output.

    An assistant starts this by itself, once it is told how. It can read recordings in the given folders, and nothing
    else.

    \b
    Example:
      mlx-canary mcp --folder ~/Recordings --model canary-180m-flash
    """
    import logging
    import signal

    from mlx_canary.errors import BackendError

    try:
        from mlx_canary.mcp_server.server import make_server
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "mcp":
            raise
        raise BackendError(
            f"The protocol needs the package of the extra 'mcp' ({error}). Install it with: pip install 'mcp>=2'"
        ) from error
    from mlx_canary.mcp_server.folders import Folders
    from mlx_canary.mcp_server.worker import Worker
    from mlx_canary.memory import limit_memory

    limit_memory(as_bytes(memory_limit), as_bytes(cache_limit))
    log = logging.getLogger("mlx_canary")
    log.setLevel(logging.INFO)
    log.propagate = False  # it has a handler; the protocol's package gives the root logger another
    allowed, worker = Folders(folders), Worker(model, dtype)
    click.echo(f"Recordings in {allowed} may be read.", err=True)
    # Otherwise Ctrl-C would wait for a line on standard input. Nothing is lost: what was asked has nobody to go to.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        make_server(allowed, worker).run("stdio")
    finally:
        signal.signal(signal.SIGINT, before)
        worker.close()
