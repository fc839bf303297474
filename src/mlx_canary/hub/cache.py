"""Where models from the hub are kept once they are converted. Knows nothing about the network, and needs no MLX.

CACHE/owner--name/                 a converted model, put there whole
CACHE/owner--name@revision/        another revision of it
CACHE/.downloads/owner--name/...   what was downloaded of one that is not done yet
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mlx_canary.conversion.output_folder import is_complete
from mlx_canary.errors import ModelNotFoundError
from mlx_canary.hub.names import HubModel, model_of_folder


@dataclass(frozen=True, slots=True)
class CachedModel:
    """A converted model in the cache."""

    model: HubModel
    folder: Path
    n_bytes: int


def cache_folder() -> Path:
    """`$MLX_CANARY_CACHE`, else `mlx-canary` in `$XDG_CACHE_HOME` or `~/.cache`; it need not exist.

    Raises:
        ModelNotFoundError: Nobody knows where the home folder is.
    """
    own, caches = os.environ.get("MLX_CANARY_CACHE"), os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(own) if own else Path(caches or "~/.cache") / "mlx-canary").expanduser().absolute()
    except RuntimeError as error:
        raise ModelNotFoundError(
            "There is no home folder to keep models in. Set MLX_CANARY_CACHE to a folder that you can write to."
        ) from error


def downloads_folder() -> Path:
    """What is not done yet."""
    return cache_folder() / ".downloads"


def find(model: HubModel) -> Path | None:
    """The folder of a model that is in the cache."""
    folder = cache_folder() / model.folder
    return folder if is_complete(folder) else None


def cached_models() -> list[CachedModel]:
    """All models in the cache, by name."""
    names = sorted(entry.name for entry in _entries(cache_folder()))
    models = [model for model in map(model_of_folder, names) if model is not None]
    found = [(model, find(model)) for model in models]
    return [CachedModel(model, folder, n_bytes(folder)) for model, folder in found if folder is not None]


def unfinished() -> list[Path]:
    """What interrupted downloads and conversions left."""
    hidden = (entry for entry in _entries(cache_folder()) if entry.name.startswith("."))
    left = sorted(entry for entry in hidden if entry.suffix in (".partial", ".replaced"))
    return [path for path in (downloads_folder(), *left) if n_bytes(path)]


def n_bytes(path: Path) -> int:
    """The size of a file, or of all files in a folder."""
    try:
        if path.is_dir() and not path.is_symlink():
            return sum(map(n_bytes, _entries(path)))
        return path.lstat().st_size
    except OSError:
        return 0


def size_text(n_bytes: int) -> str:
    """A size for people."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
