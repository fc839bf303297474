"""`mlx-canary languages`."""

from __future__ import annotations

import click

from mlx_canary.cli.options import model_option


@click.command(name="languages")
@model_option
def command(model: str) -> None:
    """List what a model understands and translates. A published model is not downloaded for this."""
    from mlx_canary.load_models import load_config
    from mlx_canary.registry import CANARY_MODELS
    from mlx_canary.text.languages import LANGUAGE_NAMES, describe_translation

    languages = CANARY_MODELS[model].languages if model in CANARY_MODELS else load_config(model).languages
    if languages is None:
        click.echo(f"{model} does not say which languages it was trained on. Ask whoever trained it.")
        return
    for code in languages.spoken:
        click.echo(f"{code}  {LANGUAGE_NAMES.get(code, '')}")
    click.echo(f"Translates {describe_translation(languages)}.")
    if not languages.pnc_switch:
        click.echo("Always writes punctuation and capitals.")
