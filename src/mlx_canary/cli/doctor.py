"""`mlx-canary doctor`."""

from __future__ import annotations

import sys

import click


@click.command(name="doctor")
def command() -> None:
    """Look at this machine: what works, what is missing, and the command that mends it."""
    from mlx_canary.doctor import examine

    findings = examine()
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        mark = click.style("ok", fg="green") if finding.working else click.style("missing", fg="red")
        click.echo(f"{finding.name:{width}}  {mark}  {finding.detail}")
        if finding.remedy:
            click.echo(f"{'':{width}}  -> {finding.remedy}")
    if not all(finding.working for finding in findings):
        sys.exit(1)
