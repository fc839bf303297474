"""`mlx-canary evaluate`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlx_canary.cli.options import as_language, check_result, dtype_option, model_option

if TYPE_CHECKING:
    from mlx_canary import CanaryModel, TranscriptionOptions
    from mlx_canary.evaluate.journal import Journal


@click.command(name="evaluate")
@click.argument("manifest", type=click.Path(path_type=Path))
@model_option
@click.option(
    "--language",
    "-l",
    metavar="CODE",
    callback=as_language,
    help="Spoken where the manifest does not say.  [default: the model's]",
)
@click.option(
    "--target-lang",
    metavar="CODE",
    callback=as_language,
    help="Of the texts where the manifest does not say.  [default: the same]",
)
@click.option("--no-pnc", is_flag=True, help="Leave punctuation and capitals out.")
@click.option("--beam-size", type=click.IntRange(1, 64), help="1 is greedy search.  [default: the model's own]")
@click.option(
    "--longest-window", type=float, help="Seconds that the model hears at once.  [default: 35, or as trained]"
)
@click.option(
    "--times-from",
    type=click.Choice(["model", "attention"]),
    help="Times, where the manifest has words': the model's own, or by attention.  [default: model; demo: attention]",
)
@click.option("--no-guards", is_flag=True, help="Do not decode doubtful windows again.")
@click.option(
    "--worst", type=click.IntRange(0), default=5, show_default=True, help="How many of the worst files to show."
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", help="Write all scores here.")
@click.option("--overwrite", is_flag=True, help="Replace the FILE of --json, if it exists.")
@click.option("--resume", is_flag=True, help="Go on where an interrupted run with --json stopped.")
@click.option(
    "--batch-size", type=click.IntRange(1, 256), default=8, show_default=True, help="Windows decoded at once."
)
@dtype_option
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
def command(**given: Any) -> None:
    """Score what a model makes of recordings whose texts are known.

    MANIFEST has a JSON object on each line, with audio_filepath and text, and perhaps source_lang or lang, target_lang,
    offset with duration, and words with start and end. Or it is a folder with a .txt file beside each recording.

    Transcripts get word and character error rates, translations BLEU and chrF, words with known times their errors.
    The exit code is 1 if a line or a recording failed; the others are scored.

    \b
    Example:
      mlx-canary evaluate fleurs.jsonl -m canary-1b-v2 --json fleurs.json --resume
    """
    from mlx_canary import CanaryModel
    from mlx_canary.cli.progress import loading_progress, recording_progress
    from mlx_canary.cli.terminal import say, visible
    from mlx_canary.evaluate.journal import Heard
    from mlx_canary.evaluate.manifest import Item, Problem, check_items, read_manifest
    from mlx_canary.evaluate.packages import require_all
    from mlx_canary.evaluate.report import make_report
    from mlx_canary.evaluate.report_text import render_report
    from mlx_canary.evaluate.run import evaluate
    from mlx_canary.writers import write_file
    from mlx_canary.writers.files import is_open_elsewhere

    path = given["json_file"]
    noted = path is not None and not is_open_elsewhere(path)
    if given["resume"] and not noted:
        raise click.UsageError("--resume needs a --json FILE: the notes of what is done are kept beside that file.")
    # A run in which something failed has written it; with its notes the next one completes it.
    overwrite = given["overwrite"] or (path is not None and given["resume"] and _notes(path).exists())
    require_all()
    options, manifest = _options(given), read_manifest(given["manifest"])
    check_items(manifest, given["manifest"])
    if path is not None:
        check_result(path, overwrite, [given["manifest"], *(item.audio for item in manifest.items)])
    with loading_progress(given["model"], enabled=not given["quiet"]) as loading:
        model = CanaryModel.from_pretrained(given["model"], dtype=given["dtype"], progress=loading)
    with recording_progress(len(manifest.items), enabled=not given["quiet"]) as progress:
        journal = _journal(path, model, given, options) if noted else None

        def told(item: Item, result: Heard | Problem) -> None:
            progress.say(visible(item.name, sys.stderr))
            if isinstance(result, Problem):
                progress.note(f"Error: {result}")
            progress.finished()

        evaluation = evaluate(
            model,
            manifest,
            options,
            target_lang=given["target_lang"],
            batch_size=given["batch_size"],
            journal=journal,
            on_item=told,
        )
    report = make_report(
        evaluation,
        model=model.config.name,
        manifest=str(given["manifest"]),
        options=_stated(given),
        n_worst=given["worst"],
    )
    say(render_report(report))
    if path is not None:
        write_file(path, json.dumps(asdict(report), ensure_ascii=False, indent=2) + "\n", overwrite=overwrite)
    if report.n_failed:
        sys.exit(1)
    if journal is not None:
        journal.delete()


def _options(given: dict[str, Any]) -> TranscriptionOptions:
    from mlx_canary import DecodingOptions, TranscriptionOptions

    return TranscriptionOptions(
        language=given["language"],
        pnc=not given["no_pnc"],
        decoding=None if given["beam_size"] is None else DecodingOptions(beam_size=given["beam_size"]),
        times_from=given["times_from"],
        guards=not given["no_guards"],
        longest_window=given["longest_window"],
    )


def _journal(path: Path, model: CanaryModel, given: dict[str, Any], options: TranscriptionOptions) -> Journal:
    """Notes beside the JSON."""
    from mlx_canary.evaluate.journal import Journal

    conditions = {
        "model": given["model"],
        "config": model.config.model_dump(),
        "weights": model.fingerprint,
        "dtype": given["dtype"],
        "options": repr(options),
        "target_lang": given["target_lang"],
    }
    return Journal(_notes(path), conditions, given["resume"])


def _notes(path: Path) -> Path:
    return path.with_name(f".{path.name}.unfinished.jsonl")


def _stated(given: dict[str, Any]) -> dict[str, Any]:
    """The options that change results or speed."""
    changing = ("language", "target_lang", "no_pnc", "beam_size", "longest_window", "times_from", "no_guards")
    names = (*changing, "batch_size", "dtype")
    return {name: given[name] for name in names if given[name] not in (None, False)}
