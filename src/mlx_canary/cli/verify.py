"""`mlx-canary verify`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mlx_canary.cli.terminal import visible


@click.command(name="verify")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("nemo_file", type=click.Path(path_type=Path), required=False)
def command(folder: Path, nemo_file: Path | None) -> None:
    """Check a converted model; with the NEMO_FILE that it was made from, compare every weight.

    The exit code is 0 only if every check passed.

    \b
    Example:
      mlx-canary verify canary-180m-flash-mlx canary-180m-flash.nemo
    """
    from mlx_canary.verification import verify

    checks = verify(folder, nemo_file)
    for check in checks:
        colour = "green" if check.passed else "red"
        verdict = click.style("PASSED" if check.passed else "FAILED", fg=colour)
        click.echo(f"{check.name}: {verdict} ({visible(check.detail, sys.stdout)})")
    if not all(check.passed for check in checks):
        sys.exit(1)
