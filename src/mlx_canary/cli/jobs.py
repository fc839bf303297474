"""From a command's options to a job: what to listen to, what to ask, where results go.

Combinations that make no sense are refused here, before anything is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from mlx_canary.cli.options import usage_errors
from mlx_canary.decoding.confidence import ConfidenceMethod
from mlx_canary.decoding.options import Boosting, DecodingOptions, LanguageModel
from mlx_canary.requests import TranscriptionOptions
from mlx_canary.writers import OutputTarget, SubtitleOptions, parse_formats

# Formats that hold nothing but text.
_WITHOUT_TIMES = {"txt"}
_TO_STDOUT = {"txt", "json"}


@dataclass(frozen=True, slots=True)
class Job:
    """What a command was asked to do.

    Attributes:
        files: Paths, addresses, or "-" for standard input.
        model: As for `CanaryModel.from_pretrained`.
        dtype: As there.
        options: For every file.
        formats: Of the outputs.
        subtitles: Their shape.
        target: Where outputs go; None for stdout.
        own_beam: Whether the number of beams is left to the model.
        resume: Whether to go on where an interrupted run stopped.
        batch_size: Windows decoded at once.
        memory_limit: Bytes that MLX may take; None for its own limit.
        cache_limit: Bytes of it that MLX keeps for later use; None for its own limit.
        quiet: No progress.
    """

    files: Sequence[str]
    model: str
    dtype: Any
    options: TranscriptionOptions
    formats: tuple[str, ...]
    subtitles: SubtitleOptions
    target: OutputTarget | None
    own_beam: bool
    resume: bool
    batch_size: int
    memory_limit: int | None
    cache_limit: int | None
    quiet: bool


def make_job(given: dict[str, Any]) -> Job:
    """A job of all options of `transcribe` or `translate`, by their names."""
    with usage_errors():
        return _job(given)


def _job(given: dict[str, Any]) -> Job:
    for option, other in (("boost_alpha", "boost"), ("lm_alpha", "lm"), ("bilingual", "also_translate")):
        if given[option] not in (None, False) and not given[other]:
            raise click.UsageError(f"--{_dashed(option)} needs --{_dashed(other)}.")
    if given["resume"] and given["longform"] == "nemo":
        raise click.UsageError("--resume is not for --longform nemo, which decodes a recording as a whole.")
    formats = parse_formats(given["formats"])
    return Job(
        files=_files(given["files"]),
        model=given["model"],
        dtype=given["dtype"],
        options=_options(given, formats),
        formats=formats,
        subtitles=SubtitleOptions(
            max_line_chars=given["max_line_chars"],
            max_lines=given["max_lines"],
            max_words=given["max_words"],
            highlight_words=given["highlight_words"],
        ),
        target=_target(given, formats),
        own_beam=given["beam_size"] is None and not given["temperature"],
        resume=given["resume"],
        batch_size=given["batch_size"],
        memory_limit=_bytes(given["memory_limit"]),
        cache_limit=_bytes(given["cache_limit"]),
        quiet=given["quiet"],
    )


def _dashed(option: str) -> str:
    return option.replace("_", "-")


def _bytes(gigabytes: float | None) -> int | None:
    if gigabytes is not None and not 0 <= gigabytes < 1e6:
        raise click.UsageError(f"A limit of {gigabytes} GB is not possible.")
    return None if gigabytes is None else int(gigabytes * 1e9)


def _files(files: Sequence[str]) -> Sequence[str]:
    if list(files).count("-") > 1:
        raise click.UsageError("Standard input ('-') can be read once.")
    return files


def _options(given: dict[str, Any], formats: tuple[str, ...]) -> TranscriptionOptions:
    timestamps = given["timestamps"]
    if timestamps == "auto":
        timestamps = "none" if set(formats) <= _WITHOUT_TIMES else "word"
    return TranscriptionOptions(
        language=given["language"],
        task=given["task"],
        target_lang=given["target_lang"],
        also_translate=tuple(code.strip() for code in (given["also_translate"] or "").split(",") if code.strip()),
        pnc=not given["no_pnc"],
        itn=given["itn"],
        context=given["context"],
        timestamps=None if timestamps == "none" else timestamps,
        times_from=given["times_from"],
        decoding=_decoding(given),
        guards=not given["no_guards"],
        longform=given["longform"],
        longest_window=given["longest_window"],
        channel=_channel(given["channel"]),
        track=given["track"],
    )


def _decoding(given: dict[str, Any]) -> DecodingOptions | None:
    """None, for the checkpoint's own way, if nothing is asked."""
    from mlx_canary.decoding.boosting import read_phrases

    asked = ("beam_size", "length_penalty", "temperature", "boost", "lm", "confidence")
    if given["seed"] is None and not any(given[option] for option in asked):
        return None
    boosting = Boosting(read_phrases(given["boost"])) if given["boost"] else None
    if boosting is not None and given["boost_alpha"] is not None:
        boosting = replace(boosting, alpha=given["boost_alpha"])
    language_model = LanguageModel(given["lm"]) if given["lm"] else None
    if language_model is not None and given["lm_alpha"] is not None:
        language_model = replace(language_model, alpha=given["lm_alpha"])
    return DecodingOptions(
        beam_size=given["beam_size"] or 1,
        length_penalty=given["length_penalty"],
        temperature=given["temperature"],
        seed=given["seed"],
        boosting=boosting,
        language_model=language_model,
        # Of NeMo's measures the one that people can read: the probability of the token.
        confidence=ConfidenceMethod("max_prob", alpha=1.0) if given["confidence"] else None,
    )


def _channel(value: str) -> Any:
    if value == "mix":
        return value
    if not value.isdecimal():
        raise click.UsageError(f"--channel {value!r} is neither 'mix' nor the number of a channel, from 0.")
    return int(value)


def _target(given: dict[str, Any], formats: tuple[str, ...]) -> OutputTarget | None:
    folder, template = given["output_dir"], given["output_template"]
    if folder is not None or template is not None:
        return OutputTarget(folder or Path(), template, given["overwrite"], given["bilingual"])
    several = len(given["files"]) > 1 or (given["also_translate"] and not given["bilingual"])
    if len(formats) > 1 or (several and formats[0] not in _TO_STDOUT):
        raise click.UsageError("Only one text fits on stdout. Say where to write the others with --output-dir.")
    for option in ("overwrite", "resume"):
        if given[option]:
            raise click.UsageError(f"--{option} is for files; say where they are with --output-dir.")
    return None
