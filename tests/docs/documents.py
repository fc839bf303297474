"""The documents as data: their code blocks, tables, headings and links. Also how a line of a shell block is run."""

from __future__ import annotations

import glob
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

from mlx_canary.cli.main import cli, main

ROOT = Path(__file__).resolve().parents[2]
RUN = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
"""Documents whose code is run."""
ALL = [*RUN, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "tests" / "data").glob("*/README.md"))]
"""Documents whose links are followed."""

_FENCE = re.compile(r"^```(\S*) *(.*)$")
_LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")


class Block(NamedTuple):
    """A fenced block: `language` and `info` are what follows the fence, `line` is where its text begins."""

    document: Path
    line: int
    language: str
    info: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.document.name}:{self.line}"

    @property
    def runs(self) -> bool:
        return self.info != "no-run"

    def lines(self) -> list[str]:
        """The commands of a shell block, with continued lines joined and comments left out."""
        joined = self.text.replace("\\\n", " ")
        return [line.strip() for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def blocks(document: Path) -> Iterator[Block]:
    """The fenced blocks of a document, in order."""
    lines = iter(enumerate(document.read_text(encoding="utf-8").splitlines(), 1))
    for number, line in lines:
        if fence := _FENCE.match(line):
            body = []
            for _, inner in lines:
                if inner.startswith("```"):
                    break
                body.append(inner)
            yield Block(document, number + 1, fence[1], fence[2].strip(), "\n".join(body))


def prose(document: Path) -> str:
    """A document without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def headings(document: Path) -> list[str]:
    """The anchors that a document's headings make, as GitHub and PyPI name them."""
    titles = re.findall(r"^#+ +(.+)$", prose(document), flags=re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles]


def links(document: Path) -> list[str]:
    """The targets of a document's links."""
    return _LINK.findall(prose(document))


def section(document: Path, title: str) -> str:
    """What stands under a heading, up to the next heading of the same or a higher level."""
    text = document.read_text(encoding="utf-8")
    start = re.search(rf"^(#+) +{re.escape(title)}$", text, flags=re.MULTILINE)
    assert start, f"{document.name} has no heading {title!r}"
    rest = text[start.end() :]
    end = re.search(rf"^#{{1,{len(start[1])}}} ", rest, flags=re.MULTILINE)
    return rest[: end.start()] if end else rest


def table(text: str) -> list[list[str]]:
    """The rows of the first table in a text, without its head."""
    found = re.search(r"(?:^\|.*\|$\n?)+", text, flags=re.MULTILINE)
    assert found, "there is no table"
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in found[0].splitlines()]
    return rows[2:]


def words_of(line: str) -> list[str] | None:
    """A command's words; None where a shell is needed, for pipes and the like."""
    parts = list(shlex.shlex(line, posix=True, punctuation_chars=True))
    if any(set(part) <= set("|&;<>()") for part in parts):
        return None
    return shlex.split(line)


def run_line(line: str) -> int:
    """Run a line of a shell block in the current folder, `mlx-canary` in this process; its exit code."""
    words = words_of(line)
    if words is not None and words[0] == "mlx-canary":
        arguments = [name for word in words[1:] for name in (sorted(glob.glob(word)) if "*" in word else [word])]
        try:
            main(arguments)
        except SystemExit as end:
            return int(end.code or 0)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line], env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    print(done.stdout, done.stderr)
    return done.returncode


def start_server(line: str) -> subprocess.Popen[str]:
    """Run a line with `mlx-canary serve` until it is ended; it takes requests when this returns."""
    words = shlex.split(line)
    server = subprocess.Popen([sys.executable, "-m", "mlx_canary", *words[1:]], stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    first = server.stderr.readline()
    assert "Serving" in first, first
    return server


def free_port() -> int:
    """A port that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def parse_line(line: str) -> None:
    """Check that the command and the options of every `mlx-canary` in a line exist, without running it."""
    for call in re.findall(r"(?:^|\s|/)mlx-canary( [^|&;>]*)", line):
        name, *arguments = shlex.split(call)
        with click.Context(cli, **cli.context_settings) as context:
            command = cli.get_command(context, name)
            assert command is not None, f"there is no command {name}"
            command.make_context(name, arguments, parent=context)


def expected_in(output: str, shown: str) -> str | None:
    """The first line of a shown output that the real one lacks, in this order; `...` stands for anything."""
    remaining = iter(output.splitlines())
    for line in filter(None, map(str.strip, shown.splitlines())):
        pattern = ".*".join(map(re.escape, line.split("...")))
        if not any(re.fullmatch(pattern, real.strip()) for real in remaining):
            return line
    return None
