"""`mlx-canary models`."""

from __future__ import annotations

import json

import click

# As a published model's, for scripts.
_DEMO = {
    "repository": None,
    "parameters": "5.7 M",
    "license": "CC-BY-SA-3.0",
    "download_bytes": 0,
    "languages": {
        "spoken": ["en", "de", "es", "fr"],
        "translation": "any",
        "translated": ["en", "de", "es", "fr"],
        "pnc_switch": True,
    },
    "word_times": "attention",
    "folder": None,
}


@click.command(name="models")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """List the Canary models that exist and what each can do.

    A name from this list can be given as --model; it is downloaded and converted once. So can a repository owner/name
    on the Hugging Face hub, either perhaps with @revision, the folder of a converted model, or a .nemo file or the
    folder of one. What was downloaded before is marked, and listed at the end where it is not one of these.
    """
    from mlx_canary.hub.cache import cached_models, size_text
    from mlx_canary.registry import CANARY_MODELS
    from mlx_canary.text.languages import describe_translation

    cached = {str(entry.model): entry for entry in cached_models()}
    if as_json:
        rows = {name: {"repository": model.repository, "parameters": model.parameters, "license": model.license,
                       "download_bytes": model.download_bytes, "languages": model.languages.model_dump(),
                       "word_times": model.word_times,
                       "folder": str(cached[model.repository].folder) if model.repository in cached else None}
                for name, model in CANARY_MODELS.items()}  # fmt: skip
        click.echo(json.dumps({"demo": _DEMO, **rows}, indent=2))
        return
    click.echo("demo")
    click.echo(
        f"  included, to try things with; {_DEMO['parameters']} parameters, {_DEMO['license']}; "
        "no replacement for those below"
    )
    click.echo("  knows numbers, times, dates, prices, orders, travel, some phrases in en, de, es, fr; translates them")
    for name, model in CANARY_MODELS.items():
        click.echo(f"{name}")
        click.echo(f"  {model.parameters} parameters, {model.download_bytes / 1e9:.1f} GB to download, {model.license}")
        click.echo(f"  transcribes {', '.join(model.languages.spoken)}")
        click.echo(f"  translates {describe_translation(model.languages)}")
        click.echo(f"  from https://huggingface.co/{model.repository}")
        if (entry := cached.pop(model.repository, None)) is not None:
            click.echo(f"  downloaded: {size_text(entry.n_bytes)} in {entry.folder}")
    for name, entry in cached.items():
        click.echo(f"{name}\n  downloaded: {size_text(entry.n_bytes)} in {entry.folder}")
