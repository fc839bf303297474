"""`GET /v1/models`: the one model that is served, and what it can do."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from mlx_canary.serve.failures import RequestError
from mlx_canary.serve.state import State, state_of
from mlx_canary.text.languages import LANGUAGE_NAMES, pairs

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("")
async def models(request: Request) -> dict[str, Any]:
    """The served model, under its own name and its aliases."""
    state = state_of(request)
    return {"object": "list", "data": [_entry(state, name) for name in _names(state)]}


@router.get("/{name:path}")
async def model(request: Request, name: str) -> dict[str, Any]:
    """One of them."""
    state = state_of(request)
    check_model(state, name)
    return _entry(state, name)


def check_model(state: State, name: str) -> None:
    """Refuse what is not served.

    Raises:
        RequestError: There is no model of that name.
    """
    if name not in _names(state):
        served = " or ".join(_names(state))
        told = f"The model {name!r:.100} is not served here. Ask for {served}, or start the server with --alias NAME."
        raise RequestError(404, "model_not_found", told, "model")


def _names(state: State) -> tuple[str, ...]:
    return tuple(dict.fromkeys((state.model_id, *state.settings.aliases)))


def _entry(state: State, name: str) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": int(state.started),
        "owned_by": "mlx-canary",
        "canary": _abilities(state),
    }


def _abilities(state: State) -> dict[str, Any]:
    """Ours: what a page's menus need. Languages are null where the checkpoint does not say which it knows."""
    config, settings = state.model.config, state.settings
    languages = config.languages
    return {
        "name": config.name,
        "languages": None
        if languages is None
        else [{"code": code, "name": LANGUAGE_NAMES.get(code, code)} for code in languages.spoken],
        "default_language": state.default_language,
        "translations": None
        if languages is None
        else [{"source": source, "target": target} for source, target in pairs(languages)],
        "pnc_switch": languages is None or languages.pnc_switch,
        "word_times": True,
        "prompt": config.prompt.nemo_format == "canary2",
        "sample_rate": config.preprocessor.sample_rate,
        "max_upload_bytes": settings.max_upload_bytes,
        "max_duration": settings.max_duration,
    }
