"""A name that a user gives in, a repository on the hub and a folder's name out. Knows nothing about disk or network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from mlx_canary.registry import CANARY_MODELS

_PIECE = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_REVISION = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._/+-]{0,98}[A-Za-z0-9_+-])?")


@dataclass(frozen=True, slots=True)
class HubModel:
    """A repository, at a revision.

    Attributes:
        repository: `owner/name`.
        revision: A branch, tag or commit; None for the main branch.
    """

    repository: str
    revision: str | None = None

    def __str__(self) -> str:
        return self.repository if self.revision is None else f"{self.repository}@{self.revision}"

    @property
    def name(self) -> str:
        """The repository's name without its owner."""
        return self.repository.split("/")[1]

    @property
    def folder(self) -> str:
        """Its folder in the cache; no two models share one, because no piece of a repository has `--` in it."""
        folder = self.repository.replace("/", "--")
        return folder if self.revision is None else f"{folder}@{quote(self.revision, safe='')}"


def hub_model(name: str) -> HubModel | None:
    """The model that a name stands for: one of CANARY_MODELS or `owner/name`, perhaps with `@revision`.

    Returns:
        None where the name cannot be one on the hub. Nothing that is returned can lead out of a folder.
    """
    base, at, revision = name.partition("@")
    if base in CANARY_MODELS:
        base = CANARY_MODELS[base].repository
    pieces = base.split("/")
    if len(pieces) != 2 or not all(map(_is_piece, pieces)) or base.endswith(".nemo"):
        return None
    if at and not _is_revision(revision):
        return None
    return HubModel(base, revision if at else None)


def model_of_folder(folder: str) -> HubModel | None:
    """The model that a folder of the cache is for; None for any other folder."""
    repository, at, revision = folder.partition("@")
    model = hub_model(repository.replace("--", "/") + at + unquote(revision))
    return model if model is not None and model.folder == folder else None


def _is_piece(piece: str) -> bool:
    return _PIECE.fullmatch(piece) is not None and ".." not in piece and "--" not in piece


def _is_revision(revision: str) -> bool:
    return _REVISION.fullmatch(revision) is not None and ".." not in revision and "//" not in revision
