"""`mlx-canary languages`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from mlx_canary.cli.options import model_option

if TYPE_CHECKING:
    from mlx_canary.config import LanguageConfig
    from mlx_canary.requests import TranscriptionOptions


@click.command(name="languages")
@model_option
def command(model: str) -> None:
    """List what a model understands and translates. A published model is not downloaded for this."""
    from mlx_canary.text.languages import describe_languages

    click.echo(describe_languages(model, _languages(model)))


def check_published(model: str, options: TranscriptionOptions) -> None:
    """Refuse what a published model was not trained to do before it is downloaded.

    Raises:
        PromptError: As for the loaded model.
    """
    from mlx_canary.requests import is_auto, language_of_text, named_candidates
    from mlx_canary.text.languages import check_languages
    from mlx_canary.text.prompt import Prompt

    languages = _published(model)
    spoken = options.language or "en"  # which all of them know
    if is_auto(spoken):
        for code in named_candidates(spoken) or ():
            check_languages(Prompt(source_lang=code, target_lang=code), model, languages)
        spoken = "en"
    for target in (language_of_text(options, spoken), *options.also_translate):
        prompt = Prompt(source_lang=spoken, target_lang=target, pnc=options.pnc)
        check_languages(prompt, model, languages)


def _published(model: str) -> LanguageConfig | None:
    """What is known of a published model, unless there is a folder of its name."""
    from mlx_canary.registry import CANARY_MODELS

    if not os.path.exists(model):
        for name, published in CANARY_MODELS.items():
            if model in (name, published.repository):
                return published.languages
    return None


def _languages(model: str) -> LanguageConfig | None:
    """What is known of a published model; otherwise what a checkpoint says."""
    if (published := _published(model)) is not None:
        return published
    from mlx_canary.cli.progress import loading_progress
    from mlx_canary.load_models import load_config

    with loading_progress(model) as loading:
        return load_config(model, loading).languages
