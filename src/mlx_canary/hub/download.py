"""Files of a repository on the hub: a name in, files on disk out.

huggingface_hub finds the address, the login, the certificates and the proxies. The bytes are written here, because its
own downloads begin again when the program was stopped. Knows nothing about what is in the files.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_canary.errors import ModelNotFoundError
from mlx_canary.hub.failures import client_errors, explained
from mlx_canary.hub.names import HubModel
from mlx_canary.version import __version__

Progress = Callable[[str, int, int], None]
"""Told what is being done, how many bytes of it are done, and how many there are."""

_BLOCK = 1 << 18  # what a broken connection loses at most
_COMMIT = re.compile(r"[A-Za-z0-9]{6,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LIBRARY = "mlx-canary"  # how we introduce ourselves to the hub

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Listing:
    """What a repository holds.

    Attributes:
        model: Which.
        commit: What its revision stands for now.
        files: Paths in the repository.
    """

    model: HubModel
    commit: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file, at one commit.

    Attributes:
        name: Path in the repository.
        url: Where it is.
        n_bytes: Its size.
        sha256: Of its bytes, where the hub says so: for all large files.
    """

    model: HubModel
    name: str
    url: str
    n_bytes: int
    sha256: str | None


def list_files(model: HubModel) -> Listing:
    """Ask the hub what a repository holds.

    Raises:
        ModelNotFoundError: It does not exist, is not open to this user, or the hub cannot be reached (`Unreachable`).
    """
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_ETAG_TIMEOUT

    api = HfApi(library_name=_LIBRARY, library_version=__version__)
    with explained(model):
        try:
            info = api.model_info(model.repository, revision=model.revision, timeout=HF_HUB_ETAG_TIMEOUT)
        except (KeyError, TypeError) as error:
            raise ValueError("its answer is not that of a hub") from error
    files = tuple(file.rfilename for file in info.siblings or [])
    if not _COMMIT.fullmatch(info.sha or ""):
        raise ModelNotFoundError(f"The hub's answer about {model} has no commit. Is HF_ENDPOINT set to a hub?")
    return Listing(model, str(info.sha), files)


def look_up(listing: Listing, name: str) -> RemoteFile:
    """Ask the hub about one file. Errors as for `list_files`."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.constants import HF_HUB_ETAG_TIMEOUT

    model = listing.model
    url = hf_hub_url(model.repository, name, revision=listing.commit)
    with explained(model):
        found = get_hf_file_metadata(
            url, timeout=HF_HUB_ETAG_TIMEOUT, library_name=_LIBRARY, library_version=__version__
        )
    if found.size is None:
        raise ModelNotFoundError(f"The hub does not say how large {name} of {model} is. Is HF_ENDPOINT set to a hub?")
    sha256 = found.etag if _SHA256.fullmatch(found.etag or "") else None
    return RemoteFile(model, name, url, found.size, sha256)


def missing_bytes(file: RemoteFile, target: Path) -> int:
    """How much of a file is still to be downloaded."""
    return max(0, file.n_bytes - max(_size(target), _size(_partial(target))))


def download(file: RemoteFile, target: Path, progress: Progress) -> None:
    """Get a file, or the rest of one whose download was interrupted.

    Args:
        file: From `look_up`.
        target: Where it is to be; stands there only when it is whole. The same commit must always get the same target.
        progress: Told about the bytes.

    Raises:
        ModelNotFoundError: It cannot be downloaded; what is there so far is kept.
    """
    if _size(target) == file.n_bytes:
        return
    partial = _partial(target)
    with explained(file.model, downloading=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        if not partial.exists() or _size(partial) > file.n_bytes:
            partial.write_bytes(b"")
        while (before := _size(partial)) < file.n_bytes:
            _receive(file, partial, progress)
            if _size(partial) <= before:
                break
        if (wrong := _difference(file, partial, progress)) is not None:
            partial.unlink()
            raise ModelNotFoundError(f"{file.name} of {file.model} was damaged on its way: {wrong}. Try again.")
        partial.replace(target)


def _receive(file: RemoteFile, partial: Path, progress: Progress) -> None:
    """Append what the server sends. A connection that broke after it brought something is for the caller to renew."""
    done = before = _size(partial)
    what = f"Downloading {Path(file.name).name}"
    try:
        with _response(file.url, done) as (continues, blocks), partial.open("ab" if continues else "wb") as written:
            done = done if continues else 0
            for block in blocks:
                written.write(block)
                done += len(block)
                progress(what, done, file.n_bytes)
                if done > file.n_bytes:  # there may be no room for what else comes
                    break
    except client_errors():
        if _size(partial) <= before:
            raise
        _log.info("The connection broke after %d of %d bytes; going on from there.", done, file.n_bytes)


@contextmanager
def _response(url: str, start: int) -> Iterator[tuple[bool, Iterator[bytes]]]:
    """A file from a byte on: whether the server begins there, and its bytes."""
    from huggingface_hub import get_session
    from huggingface_hub.constants import HF_HUB_DOWNLOAD_TIMEOUT
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    headers = build_hf_headers(library_name=_LIBRARY, library_version=__version__) | {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    options = dict(headers=headers, timeout=HF_HUB_DOWNLOAD_TIMEOUT)
    # requests below huggingface_hub 1, httpx since. Both follow redirects, and keep the login from other hosts.
    session: Any = get_session()
    if callable(session.stream):
        with session.stream("GET", url, **options) as response:
            hf_raise_for_status(response)
            yield response.status_code == 206, response.iter_bytes(_BLOCK)
    else:
        with session.get(url, stream=True, **options) as response:
            hf_raise_for_status(response)
            yield response.status_code == 206, response.iter_content(_BLOCK)


def _difference(file: RemoteFile, partial: Path, progress: Progress) -> str | None:
    """What is wrong with the bytes."""
    if _size(partial) != file.n_bytes:
        return f"it has {_size(partial)} bytes instead of {file.n_bytes}"
    if file.sha256 is None:
        return None
    digest, done = hashlib.sha256(), 0
    with partial.open("rb") as read:
        while block := read.read(_BLOCK):
            digest.update(block)
            done += len(block)
            progress(f"Checking {Path(file.name).name}", done, file.n_bytes)
    return None if digest.hexdigest() == file.sha256 else "its checksum is not that of the hub"


def _partial(target: Path) -> Path:
    return target.with_name(target.name + ".partial")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
