"""Transcripts as files, each written whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path

from mlx_canary.types import Transcript
from mlx_canary.writers.errors import OutputError
from mlx_canary.writers.options import Provenance, SubtitleOptions
from mlx_canary.writers.plan import OutputSource, OutputTarget, already_exists, plan_outputs
from mlx_canary.writers.registry import render


def write_outputs(
    transcripts: Transcript | Sequence[Transcript],
    formats: str | Iterable[str],
    target: OutputTarget,
    recording: str | Path,
    *,
    number: int = 1,
    subfolder: Path = Path(),
    subtitles: SubtitleOptions | None = None,
    provenance: Provenance | None = None,
) -> list[Path]:
    """Write a recording's transcript, or its transcript and translations, in every format asked for.

    All texts are made before the first file is written. The names are those that `plan_outputs` gives.

    Args:
        transcripts: One, with its translations; or several of the same recording, the spoken language's first, and
            no others.
        formats: As for `parse_formats`.
        target: Where they go.
        recording: Its path, URL, or "-", for the names.
        number: Of the recording in this run, for the names.
        subfolder: Of the target's folder, in which the outputs lie.
        subtitles: The shape of subtitles.
        provenance: What made the transcripts, for the json format.

    Returns:
        The files written.

    Raises:
        OutputError: As for `render` and `plan_outputs`, or a file cannot be written.
    """
    given = [transcripts, *transcripts.translations] if isinstance(transcripts, Transcript) else list(transcripts)
    source = OutputSource(recording, tuple(transcript.target_lang for transcript in given), number, subfolder)
    [outputs] = plan_outputs([source], formats, target)
    rendered = [
        render([given[number] for number in output.texts], output.format, subtitles, provenance) for output in outputs
    ]
    for output, text in zip(outputs, rendered, strict=True):
        write_file(output.path, text, overwrite=target.overwrite)
    return [output.path for output in outputs]


def write_file(path: Path, text: str, *, overwrite: bool) -> None:
    """Write a text file as UTF-8, whole or not at all; missing folders are made.

    What is open elsewhere, such as /dev/stdout or a pipe, gets the text itself: nothing can take its place.

    Raises:
        OutputError: It exists and `overwrite` is false, or it cannot be written; then nothing has changed.
    """
    data = text.encode("utf-8", "backslashreplace")  # file names in options can be no Unicode
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        if is_open_elsewhere(path):
            path.write_bytes(data)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.write(data)
        _publish(temporary, path, overwrite)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        _remove(temporary)


def is_open_elsewhere(path: Path) -> bool:
    """Whether a path is a device, a pipe, or stands for what is open, such as /dev/stdout and /dev/fd/3."""
    in_dev = path.parent in (Path("/dev"), Path("/dev/fd"))  # what these stand for may be a file
    return in_dev or (path.exists() and not path.is_file() and not path.is_dir())


def _publish(temporary: Path, path: Path, overwrite: bool) -> None:
    """Give the finished file its name."""
    if not overwrite:
        try:
            os.link(temporary, path)  # unlike a rename, fails where another program has just made the file
            return
        except FileExistsError as error:
            raise already_exists(path) from error
        except OSError as error:  # no hard links here
            if os.path.lexists(path):
                raise already_exists(path) from error
    os.replace(temporary, path)


def _remove(temporary: Path) -> None:
    try:
        temporary.unlink(missing_ok=True)
    except OSError:  # the folder is gone or closed to us; the error that matters is on its way
        return
