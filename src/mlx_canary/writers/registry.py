"""The formats by name, and the one function that writes any of them as text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mlx_canary.types import Transcript
from mlx_canary.writers.ass import write_ass
from mlx_canary.writers.cues import Cue, make_cues
from mlx_canary.writers.errors import OutputError
from mlx_canary.writers.json_file import write_json
from mlx_canary.writers.lrc import write_lrc
from mlx_canary.writers.options import Provenance, SubtitleOptions
from mlx_canary.writers.plain import write_tsv, write_txt
from mlx_canary.writers.srt import write_srt
from mlx_canary.writers.vtt import write_vtt


@dataclass(frozen=True, slots=True)
class TextWriter:
    """A format that holds one transcript as it is."""

    write: Callable[[Transcript], str]


@dataclass(frozen=True, slots=True)
class RecordWriter:
    """A format that also holds where the transcript came from."""

    write: Callable[[Transcript, Provenance], str]


@dataclass(frozen=True, slots=True)
class SubtitleWriter:
    """A format of cues, in one or several languages."""

    write: Callable[[Sequence[Cue], SubtitleOptions], str]


Writer: TypeAlias = TextWriter | RecordWriter | SubtitleWriter

WRITERS: dict[str, Writer] = {
    "txt": TextWriter(write_txt),
    "srt": SubtitleWriter(write_srt),
    "vtt": SubtitleWriter(write_vtt),
    "tsv": TextWriter(write_tsv),
    "lrc": SubtitleWriter(write_lrc),
    "ass": SubtitleWriter(write_ass),
    "json": RecordWriter(write_json),
}
"""Every format by its name, which is also how its files end."""


def parse_formats(formats: str | Iterable[str]) -> tuple[str, ...]:
    """Names of formats, each once, from names, names with commas between them, and "all".

    Raises:
        OutputError: A name is not known, or there is none.
    """
    given = [formats] if isinstance(formats, str) else formats
    names = [name.strip().lower() for entry in given for name in entry.split(",") if name.strip()]
    expanded = dict.fromkeys(known for name in names for known in (WRITERS if name == "all" else [name]))
    if not expanded:
        raise OutputError(f"No format is given. Known are: {', '.join(WRITERS)}, all.")
    for name in expanded:
        find_writer(name)
    return tuple(expanded)


def find_writer(name: str) -> Writer:
    """The format of a name.

    Raises:
        OutputError: There is none.
    """
    if name not in WRITERS:
        raise OutputError(f"format={name!r} is not known. Known are: {', '.join(WRITERS)}, all.")
    return WRITERS[name]


def render(
    transcripts: Transcript | Sequence[Transcript],
    format: str,
    subtitles: SubtitleOptions | None = None,
    provenance: Provenance | None = None,
) -> str:
    """A transcript as the text of a file.

    Args:
        transcripts: One, whose own translations are left out; or for subtitles in several languages one in the
            spoken language, whose times count, and its translations.
        format: One of WRITERS.
        subtitles: The shape of the formats that are subtitles; by default SubtitleOptions().
        provenance: What made the transcript, for the json format.

    Raises:
        OutputError: The format is not known or cannot hold several languages, or the transcript cannot be written.
    """
    writer = find_writer(format)
    given = [transcripts] if isinstance(transcripts, Transcript) else list(transcripts)
    if isinstance(writer, SubtitleWriter) and given:
        subtitles = subtitles or SubtitleOptions()
        return writer.write(make_cues(given, subtitles), subtitles)
    if len(given) != 1:
        raise OutputError(f"The format {format} holds one transcript, not {len(given)}. Write a file for each.")
    if isinstance(writer, RecordWriter):
        return writer.write(given[0], provenance or Provenance())
    assert isinstance(writer, TextWriter)
    return writer.write(given[0])
