"""The command `mlx-canary`. A command's module is loaded when it is used, so that help appears at once."""

from __future__ import annotations

import importlib
import logging
import sys
from typing import Any

import click

from mlx_canary.cli.terminal import (
    abandon_stdout,
    never_refuse_text,
    never_stopped_by_stderr,
    replace_missing_streams,
    tell,
    visible,
    wants_colour,
)
from mlx_canary.errors import CanaryError
from mlx_canary.version import __version__

# Each command with the line that `--help` shows for it; importing the modules only for that would be slow.
COMMANDS = {
    "transcribe": "Write down what recordings say.",
    "translate": "Write down what recordings say, in another language.",
    "live": "Write down what is being said, while it is being said.",
    "mcp": "Let assistants transcribe recordings in folders that you name.",
    "align": "Find when the words of a text are spoken in a recording.",
    "convert": "Make an MLX model of a NeMo checkpoint.",
    "verify": "Check a converted model, and compare it with its source.",
    "evaluate": "Score what a model makes of recordings whose texts are known.",
    "benchmark": "Measure a model's speed and memory on this machine.",
    "serve": "Serve a model over HTTP, as OpenAI's API does.",
    "models": "List the Canary models that exist and what each can do.",
    "languages": "List what a model understands and translates.",
    "doctor": "Look at this machine: what works, what is missing.",
}

_EPILOG = """\b
Try it with the small model that is included:
  mlx-canary transcribe recording.m4a --model demo
Then with a published one (downloaded once):
  mlx-canary transcribe recording.m4a --model canary-180m-flash --language de
Subtitles for a folder of recordings:
  mlx-canary transcribe interviews -m canary-180m-flash -l de -f srt -o texts
"""


class LazyCommands(click.Group):
    """A group whose commands live in modules of the same name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"mlx_canary.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyCommands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mlx-canary")
def cli() -> None:
    """Speech to text, and to other languages, with NVIDIA's Canary models on MLX."""


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; the one place where errors become a sentence and an exit code."""
    replace_missing_streams()
    never_refuse_text()
    log, on_stderr = logging.getLogger("mlx_canary"), _OnStderr()
    log.addHandler(on_stderr)
    try:
        _run(arguments)
    finally:
        log.removeHandler(on_stderr)


def _run(arguments: list[str] | None) -> None:
    try:
        sys.exit(cli.main(arguments, prog_name="mlx-canary", standalone_mode=False, color=wants_colour()) or 0)
    except click.exceptions.Abort:
        _fail("Interrupted.", 130)
    except KeyboardInterrupt:
        _fail("Interrupted.", 130)
    except click.ClickException as error:
        with never_stopped_by_stderr():
            error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of our output is gone
        abandon_stdout()
        sys.exit(1)
    except CanaryError as error:
        _fail(f"Error: {error}", 1)
    except OSError as error:
        if error.filename is not None:  # stdout has no name; all others should be errors of ours by now
            raise
        abandon_stdout()
        _fail(f"Error: Standard output cannot be written: {error.strerror or error}.", 1)


class _OnStderr(logging.Handler):
    """Prints to what stderr is at the time: a progress bar puts something of its own there, to stay below the lines."""

    def emit(self, record: logging.LogRecord) -> None:
        kind = "Warning: " if record.levelno >= logging.WARNING else ""
        with never_stopped_by_stderr():
            print(visible(f"{kind}{record.getMessage()}", sys.stderr), file=sys.stderr)


def _fail(message: str, code: int) -> None:
    tell(message)
    sys.exit(code)
