"""The shape of subtitles: the options for it, which of them have an effect, and what they make."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import click

from mlx_canary.cli.stack import stacked

if TYPE_CHECKING:
    from mlx_canary.writers import SubtitleOptions

SUBTITLES = frozenset(("srt", "vtt", "lrc", "ass"))
SHAPE = (
    click.option("--max-line-chars", type=int, default=42, show_default=True, help="Subtitles: longest line."),
    click.option("--max-lines", type=int, default=2, show_default=True, help="Subtitles: lines at once."),
    click.option("--max-words", type=int, help="Subtitles: words at once."),
    click.option(
        "--min-duration", type=float, default=1.0, show_default=True, help="Subtitles: seconds to show, at least."
    ),
    click.option(
        "--max-duration", type=float, default=7.0, show_default=True, help="Subtitles: seconds to show, at most."
    ),
    click.option(
        "--min-gap", type=float, default=0.08, show_default=True, help="Subtitles: seconds between one and the next."
    ),
    click.option(
        "--max-pause",
        type=float,
        default=1.5,
        show_default=True,
        help="Subtitles: after so many seconds of silence another begins.",
    ),
    click.option("--highlight-words", is_flag=True, help="Subtitles: mark each word while it is spoken."),
)
shape_options = stacked(*SHAPE)
_NAMES = (
    *("max_line_chars", "max_lines", "max_words", "min_duration", "max_duration", "min_gap", "max_pause"),
    "highlight_words",
)
OF_SUBTITLES = dict.fromkeys(_NAMES, SUBTITLES)


def is_given(option: str) -> bool:
    """Whether somebody gave an option, be it with its default value."""
    source = click.get_current_context().get_parameter_source(option)
    return source is not click.core.ParameterSource.DEFAULT


def check_formats(formats: Collection[str], able: Mapping[str, Collection[str]]) -> None:
    """Refuse options that would have no effect on any of the outputs; `able` has the formats of each."""
    from mlx_canary.writers import WRITERS

    for option, of in able.items():
        if is_given(option) and not set(of) & set(formats):
            known = [name for name in WRITERS if name in of]
            wanted = " or ".join(filter(None, (", ".join(known[:-1]), known[-1])))
            raise click.UsageError(f"--{option.replace('_', '-')} needs --format {wanted}.")


def shape(given: Mapping[str, Any]) -> SubtitleOptions:
    """The `SubtitleOptions` that were asked for.

    Raises:
        OutputError: A value is out of range.
    """
    from mlx_canary.writers import SubtitleOptions

    return SubtitleOptions(**{name: given[name] for name in _NAMES})
