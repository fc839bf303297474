"""From a command's options to a job: what to listen to, what to ask, where results go.

Combinations that make no sense are refused here, before anything is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from mlx_canary.audio.load import Channel
from mlx_canary.cli.inputs import Inputs, find_inputs
from mlx_canary.cli.memory import as_bytes
from mlx_canary.cli.options import language_codes, usage_errors
from mlx_canary.cli.shape import OF_SUBTITLES, SUBTITLES, check_formats, is_given, shape
from mlx_canary.config import Dtype
from mlx_canary.decoding.confidence import ConfidenceMethod
from mlx_canary.decoding.options import Boosting, DecodingOptions, LanguageModel
from mlx_canary.requests import TranscriptionOptions, is_auto
from mlx_canary.transcriber import Timestamps
from mlx_canary.writers import OutputTarget, SubtitleOptions, parse_formats

# Formats that hold nothing but text.
_WITHOUT_TIMES = {"txt"}
_TO_STDOUT = {"txt", "json"}
# What options have an effect on.
_OF_FORMATS = {"confidence": ("json",), "n_best": ("json",), "bilingual": SUBTITLES, **OF_SUBTITLES}
_NOT_NEMO = (
    *("resume", "also_translate", "times_from", "confidence", "longest_window", "no_guards"),
    *("beam_size", "n_best", "length_penalty", "temperature", "seed", "boost", "lm"),
)


@dataclass(frozen=True, slots=True)
class Job:
    """What a command was asked to do.

    Attributes:
        inputs: What to listen to.
        model: As for `CanaryModel.from_pretrained`.
        dtype: As there.
        options: For every file.
        formats: Of the outputs.
        subtitles: Their shape.
        target: Where outputs go; None for stdout.
        own_beam: Whether the number of beams is left to the model.
        resume: Whether to go on where an interrupted run stopped.
        skip_existing: Whether to leave out recordings whose outputs exist.
        batch_size: Windows decoded at once.
        memory_limit: Bytes that MLX should take; None for its own limit.
        cache_limit: Bytes of it that MLX keeps for later use; None for its own limit.
        quiet: No progress.
    """

    inputs: Inputs
    model: str
    dtype: Dtype | None
    options: TranscriptionOptions
    formats: tuple[str, ...]
    subtitles: SubtitleOptions
    target: OutputTarget | None
    own_beam: bool
    resume: bool
    skip_existing: bool
    batch_size: int
    memory_limit: int | None
    cache_limit: int | None
    quiet: bool


@usage_errors()
def make_job(given: dict[str, Any]) -> Job:
    """A job of all options of `transcribe` or `translate`, by their names."""
    formats, timestamps = parse_formats(given["formats"]), given["timestamps"]
    if timestamps == "auto":
        timestamps = "none" if set(formats) <= _WITHOUT_TIMES else "word"
    _check_together(given)
    check_formats(formats, _OF_FORMATS)
    _check_times(given, timestamps)
    _check_files(given)
    _check_languages(given)
    options = _options(given, None if timestamps == "none" else timestamps)
    memory_limit, cache_limit = as_bytes(given["memory_limit"]), as_bytes(given["cache_limit"])
    inputs = find_inputs(given["files"])
    return Job(
        inputs=inputs,
        model=given["model"],
        dtype=given["dtype"],
        options=options,
        formats=formats,
        subtitles=shape(given),
        target=_target(given, formats, len(inputs)),
        own_beam=given["beam_size"] is None and not given["temperature"],
        resume=given["resume"],
        skip_existing=given["skip_existing"],
        batch_size=given["batch_size"],
        memory_limit=memory_limit,
        cache_limit=cache_limit,
        quiet=given["quiet"],
    )


def _check_together(given: dict[str, Any]) -> None:
    for option, other in (("boost_alpha", "boost"), ("lm_alpha", "lm"), ("bilingual", "also_translate")):
        if given[option] not in (None, False) and not given[other]:
            raise click.UsageError(f"--{_dashed(option)} needs --{_dashed(other)}.")
    if given["skip_existing"] and given["overwrite"]:
        raise click.UsageError(
            "Outputs that exist are either kept, with --skip-existing, or replaced, with --overwrite."
        )
    for option in _NOT_NEMO if given["longform"] == "nemo" else ():
        if is_given(option):
            raise click.UsageError(f"--{_dashed(option)} is not for --longform nemo, which does what NeMo does.")


def _check_times(given: dict[str, Any], timestamps: str) -> None:
    if given["times_from"] and timestamps == "none":
        raise click.UsageError("--times-from needs times: a --format that holds them, or --timestamps word.")
    if given["n_best"] > 1 and timestamps != "none":
        raise click.UsageError("--n-best needs --timestamps none: its texts are those of whole windows.")
    if given["highlight_words"] and timestamps != "word":
        raise click.UsageError(f"--highlight-words needs the times of words, not --timestamps {timestamps}.")


def _check_files(given: dict[str, Any]) -> None:
    if list(given["files"]).count("-") > 1:
        raise click.UsageError("Standard input ('-') can be read once.")
    unknown = given["task"] == "transcribe" and (given["language"] is None or is_auto(given["language"]))
    if given["skip_existing"] and unknown and (given["also_translate"] or "{lang}" in (given["output_template"] or "")):
        raise click.UsageError("--skip-existing needs --language where outputs are named by it.")


def _check_languages(given: dict[str, Any]) -> None:
    spoken, target = given["language"], given["target_lang"]
    translates = given["task"] == "translate"
    if not translates and target not in (None, spoken):
        raise click.UsageError("--target-lang is for --task translate.")
    first = (target or "en") if translates else spoken
    if translates and first == spoken:
        raise click.UsageError(f"Translating needs two languages; both are {spoken!r}.")
    texts = [code for code in (first, *language_codes(given["also_translate"])) if code is not None]
    if len(set(texts)) < len(texts):
        raise click.UsageError(f"The same text is asked for twice: {', '.join(texts)}.")


def _dashed(option: str) -> str:
    return option.replace("_", "-")


def _options(given: dict[str, Any], timestamps: Timestamps | None) -> TranscriptionOptions:
    return TranscriptionOptions(
        language=given["language"],
        task=given["task"],
        target_lang=given["target_lang"],
        also_translate=language_codes(given["also_translate"]),
        pnc=not given["no_pnc"],
        itn=given["itn"],
        context=given["context"],
        timestamps=timestamps,
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
    if given["seed"] is None and given["n_best"] == 1 and not any(given[option] for option in asked):
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
        n_best=given["n_best"],
        temperature=given["temperature"],
        seed=given["seed"],
        boosting=boosting,
        language_model=language_model,
        # Of NeMo's measures the one that people can read: the probability of the token.
        confidence=ConfidenceMethod("max_prob", alpha=1.0) if given["confidence"] else None,
    )


def _channel(value: str) -> Channel:
    if value == "mix":
        return "mix"
    if not value.isdecimal():
        raise click.UsageError(f"--channel {value!r} is neither 'mix' nor the number of a channel, from 0.")
    return int(value)


def _target(given: dict[str, Any], formats: tuple[str, ...], n_recordings: int) -> OutputTarget | None:
    folder, template = given["output_dir"], given["output_template"]
    if folder is not None or template is not None:
        return OutputTarget(folder or Path(), template, overwrite=given["overwrite"], bilingual=given["bilingual"])
    several = n_recordings > 1 or (given["also_translate"] and not given["bilingual"])
    if len(formats) > 1 or (several and formats[0] not in _TO_STDOUT):
        raise click.UsageError("Only one text fits on stdout. Say where to write the others with --output-dir.")
    for option in ("overwrite", "resume", "skip_existing"):
        if given[option]:
            raise click.UsageError(f"--{_dashed(option)} is for files; say where they are with --output-dir.")
    return None
