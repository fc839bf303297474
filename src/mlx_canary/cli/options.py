"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from mlx_canary.cli.memory import MEMORY
from mlx_canary.cli.shape import SHAPE
from mlx_canary.cli.stack import Option, stacked
from mlx_canary.errors import CanaryError


def language_code(code: str) -> str:
    """People also write EN, or auto:EN,DE; names of regions are left as they are."""
    first, colon, listed = code.partition(":")
    if first.lower() == "auto":
        return f"auto{colon}{','.join(language_code(each.strip()) for each in listed.split(','))}"
    return code.lower() if len(code) == 2 else code


def language_codes(listed: str | None) -> tuple[str, ...]:
    """Codes with commas between them."""
    return tuple(language_code(code.strip()) for code in (listed or "").split(",") if code.strip())


def as_language(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Callback of options that name a language."""
    return None if value is None else language_code(value)


def named_model(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Callback of --model: an empty name would be the current folder."""
    if value == "":
        raise click.BadParameter("the name is empty. Give 'demo', a folder, or a name from `mlx-canary models`.")
    return value


class _Model(click.types.StringParamType):
    """What --model names. Many forget it at first, and have to choose one."""

    name = "model"

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:
        return "Take 'demo', the small model that is included, or a name from `mlx-canary models`."


model_option = click.option(
    "--model",
    "-m",
    type=_Model(),
    required=True,
    callback=named_model,
    envvar="MLX_CANARY_MODEL",
    show_envvar=True,
    metavar="MODEL",
    help="Folder of a converted model, .nemo file or folder of one, 'demo', a name from `mlx-canary models`, or a "
    "repository on the hub.",
)

DTYPES = ("float32", "float16", "bfloat16")  # those of `config.Dtype`, without loading its package for --help
dtype_option = click.option(
    "--dtype",
    type=click.Choice(DTYPES),
    help="Compute in this type.  [default: the model's own, on a CPU float32]",
)

no_pnc_option = click.option("--no-pnc", is_flag=True, help="Leave punctuation and capitals out.")
itn_option = click.option("--itn", is_flag=True, help="Write numbers as digits, where the model learned that.")
context_option = click.option(
    "--context", default="", metavar="TEXT", help="Text that came before, or names to expect."
)

_TEXT: tuple[Option, ...] = (
    click.option("--also-translate", metavar="CODE,...", help="Translations beside the text, from one listening."),
    no_pnc_option,
    itn_option,
    context_option,
    click.option(
        "--timestamps",
        type=click.Choice(["auto", "word", "segment", "none"]),
        default="auto",
        show_default=True,
        help="Times of words or sentences; auto finds words' times where the format has a place for times.",
    ),
    click.option(
        "--times-from",
        type=click.Choice(["model", "attention"]),
        help="The model's own time tokens or aligner, if any; or where it looks, which leaves the words alone.  "
        "[default: model; demo: attention]",
    ),
    click.option("--confidence", is_flag=True, help="How sure the model is of each word, in json."),
)
_SEARCH: tuple[Option, ...] = (
    click.option(
        "--beam-size", type=click.IntRange(1, 64), help="1 is greedy search.  [default: the model's own, mostly 1]"
    ),
    click.option(
        "--n-best",
        type=click.IntRange(1, 64),
        default=1,
        show_default=True,
        metavar="N",
        help="In json: so many texts of each window, the best first; up to --beam-size.",
    ),
    click.option(
        "--length-penalty",
        type=float,
        default=0.0,
        show_default=True,
        help="With beams: prefer longer; from -10 to 10.",
    ),
    click.option(
        "--temperature",
        type=float,
        default=0.0,
        show_default=True,
        help="Above 0 (0.01 is the least): draw words at random.",
    ),
    click.option("--seed", type=int, help="With --temperature: the same seed gives the same text."),
    click.option(
        "--boost",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Names and phrases to expect, one a line; a weight may follow after a tab.",
    ),
    click.option("--boost-alpha", type=float, help="Strength of --boost.  [default: 0.3]"),
    click.option("--lm", type=click.Path(path_type=Path), metavar="FILE", help="n-gram model of token ids, ARPA."),
    click.option("--lm-alpha", type=float, help="Strength of --lm.  [default: 0.2]"),
)
_LONG: tuple[Option, ...] = (
    click.option(
        "--longform",
        type=click.Choice(["quiet", "nemo"]),
        default="quiet",
        show_default=True,
        help="Long recordings: cut at quiet places, or as NeMo does.",
    ),
    click.option(
        "--longest-window",
        type=float,
        help="Seconds that the model hears at once.  [default: 35, or as it was trained]",
    ),
    click.option("--no-guards", is_flag=True, help="Do not decode doubtful windows again."),
    click.option(
        "--resume",
        is_flag=True,
        help="Go on where an interrupted run with --output-dir stopped; what it finished is left alone.",
    ),
)
_SUBTITLES: tuple[Option, ...] = (
    *SHAPE,
    click.option("--bilingual", is_flag=True, help="Subtitles: all languages in one file."),
)
_OUTPUT: tuple[Option, ...] = (
    click.option(
        "--format",
        "-f",
        "formats",
        multiple=True,
        default=("txt",),
        show_default=True,
        metavar="FORMAT",
        help="txt, srt, vtt, tsv, json, lrc, ass or all; several with commas or by repeating it.",
    ),
    click.option(
        "--output-dir",
        "-o",
        type=click.Path(path_type=Path),
        help="Write NAME.FORMAT here; without it the text goes to stdout.",
    ),
    click.option("--output-template", metavar="NAME", help="Names of outputs, such as '{stem}.{lang}.{ext}'."),
    click.option("--overwrite", is_flag=True, help="Replace outputs that exist."),
    click.option("--skip-existing", is_flag=True, help="Keep outputs that exist, and make only the others."),
)
_WORK: tuple[Option, ...] = (
    click.option("--channel", default="mix", show_default=True, metavar="N|mix", help="One channel, from 0, or all."),
    click.option(
        "--track",
        type=click.IntRange(0),
        metavar="N",
        help="One sound track of a film, from 0.  [default: its default, or the first]",
    ),
    click.option(
        "--batch-size",
        type=click.IntRange(1, 256),
        default=8,
        show_default=True,
        help="Windows decoded at once; more is faster and takes more memory.",
    ),
    dtype_option,
    *MEMORY,
    click.option("--quiet", "-q", is_flag=True, help="No progress."),
)


_FILES = click.argument("files", nargs=-1, required=True, metavar="FILE...")
recording_options = stacked(_FILES, model_option, *_TEXT, *_OUTPUT, *_SUBTITLES, *_LONG, *_SEARCH, *_WORK)
"""What `transcribe` and `translate` have in common."""


def check_result(path: Path, overwrite: bool, inputs: Iterable[str | Path]) -> None:
    """Notice before the long work that a file for its result cannot be written.

    Args:
        path: The file.
        overwrite: Whether it may exist.
        inputs: What the work reads, and must not be replaced in any case.

    Raises:
        OutputError: It cannot be written, exists, or is one of the inputs.
    """
    from mlx_canary.writers.errors import OutputError
    from mlx_canary.writers.files import is_open_elsewhere
    from mlx_canary.writers.plan import check_writable

    if is_open_elsewhere(path):
        return
    if path.exists() and any(os.path.exists(file) and os.path.samefile(file, path) for file in inputs):
        raise OutputError(f"{path} is what this command reads. Choose another name for its result.")
    check_writable(path, overwrite=overwrite)


@contextmanager
def usage_errors() -> Iterator[None]:
    """What is wrong with the options themselves, whatever the model and the recordings, is a mistake in usage."""
    try:
        yield
    except CanaryError as error:
        raise click.UsageError(str(error)) from error
