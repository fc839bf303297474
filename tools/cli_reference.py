"""Write the tables of docs/cli.md from the commands themselves.

    python tools/cli_reference.py

Each table stands between two marks under its command's heading; the text around them is written by hand. A command
without a heading gets one at the end.
"""

from __future__ import annotations

import re
from pathlib import Path

import click

from mlx_canary.cli.main import COMMANDS, cli

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "cli.md"
_END = "<!-- end -->"


def updated(text: str) -> str:
    """The document with the tables as they should be."""
    for name in COMMANDS:
        begin = f"<!-- options of {name}: written by tools/cli_reference.py -->"
        if begin not in text:
            text = f"{text.rstrip()}\n\n## {name}\n\n{COMMANDS[name]}\n\n{begin}\n{_END}\n"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(_END)
        text = f"{before}{begin}\n{table(name)}\n{_END}{after}"
    return text


def table(name: str) -> str:
    """A command's usage, and its options as a Markdown table."""
    with click.Context(cli, **cli.context_settings) as parent:
        command = cli.get_command(parent, name)
        assert command is not None
        context = click.Context(command, parent, info_name=name)
    rows = [f"`{' '.join([f'mlx-canary {name}', *command.collect_usage_pieces(context)])}`", ""]
    rows += ["| option | what it does |", "|---|---|"]
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    for record in filter(None, (option.get_help_record(context) for option in options)):
        rows.append(f"| `{_cell(record[0])}` | {_cell(record[1])} |")
    return "\n".join(rows) if options else rows[0]


def _cell(text: str) -> str:
    """Help as a cell: one line, without the bars that would end it."""
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


if __name__ == "__main__":
    DOCUMENT.write_text(updated(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
