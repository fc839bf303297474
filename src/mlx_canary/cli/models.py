"""`mlx-canary models`."""

from __future__ import annotations

import json

import click


@click.command(name="models")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """List the Canary models that exist and what each can do.

    A name from this list can be given as --model; it is downloaded once. So can the folder of a converted model,
    a .nemo file, or a repository on the Hugging Face hub.
    """
    from mlx_canary.registry import CANARY_MODELS
    from mlx_canary.text.languages import describe_translation

    if as_json:
        rows = {name: {"repository": model.repository, "parameters": model.parameters, "license": model.license,
                       "download_bytes": model.download_bytes, "languages": model.languages.model_dump(),
                       "word_times": model.word_times} for name, model in CANARY_MODELS.items()}  # fmt: skip
        click.echo(json.dumps(rows, indent=2))
        return
    click.echo("demo\n  included; a small model with a small world (see the README), to try things with")
    for name, model in CANARY_MODELS.items():
        click.echo(f"{name}")
        click.echo(f"  {model.parameters} parameters, {model.download_bytes / 1e9:.1f} GB to download, {model.license}")
        click.echo(f"  transcribes {', '.join(model.languages.spoken)}")
        click.echo(f"  translates {describe_translation(model.languages)}")
        click.echo(f"  from https://huggingface.co/{model.repository}")
