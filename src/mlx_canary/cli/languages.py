"""`mlx-canary languages`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from mlx_canary.cli.options import model_option

if TYPE_CHECKING:
    from mlx_canary.config import LanguageConfig


@click.command(name="languages")
@model_option
def command(model: str) -> None:
    """List what a model understands and translates. A published model is not downloaded for this."""
    from mlx_canary.text.languages import describe_languages

    click.echo(describe_languages(model, _languages(model)))


def _languages(model: str) -> LanguageConfig | None:
    """What is known of a published model, unless there is a folder of its name; otherwise what a checkpoint says."""
    from mlx_canary.registry import CANARY_MODELS

    if not os.path.exists(model):
        for name, published in CANARY_MODELS.items():
            if model in (name, published.repository):
                return published.languages
    from mlx_canary.cli.progress import loading_progress
    from mlx_canary.load_models import load_config

    with loading_progress(model) as loading:
        return load_config(model, loading).languages
