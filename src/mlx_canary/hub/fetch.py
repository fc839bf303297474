"""A model from the hub: its name in, the folder of a converted checkpoint out.

What is in the cache is found without any request. Anything else is downloaded and converted once, by one process at a
time, and put into the cache whole.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

import filelock

from mlx_canary.config import FORMAT_VERSION
from mlx_canary.conversion.config import ConversionConfig
from mlx_canary.conversion.converter import convert
from mlx_canary.conversion.names import CONFIG, OURS, WEIGHTS
from mlx_canary.conversion.output_folder import format_version, sweep, to_disk
from mlx_canary.errors import ConversionError, ModelNotFoundError
from mlx_canary.hub.cache import cache_folder, downloads_folder, find, size_text
from mlx_canary.hub.download import Listing, Progress, download, list_files, look_up, missing_bytes
from mlx_canary.hub.failures import Unreachable
from mlx_canary.hub.names import HubModel
from mlx_canary.registry import CANARY_MODELS

_RESERVE = 64 << 20  # bytes for everything that is not weights
_LARGEST_CONFIG = 1 << 20

_log = logging.getLogger(__name__)


def fetch(model: HubModel, progress: Progress | None = None) -> Path:
    """The folder of a model from the hub, which is downloaded and converted if it is not in the cache.

    Args:
        model: From `hub_model`.
        progress: Told what is being done, and the bytes of it: done, and in all. What it raises ends the work; what was
            downloaded so far is kept.

    Raises:
        ModelNotFoundError: There is no such model, or it cannot be downloaded or kept.
        ConversionError: Its .nemo cannot be converted.
    """
    if (folder := find(model)) is not None:
        return folder
    tell = progress if progress is not None else _silent
    with _one_at_a_time(model, tell):
        # Another process may have made it meanwhile.
        return find(model) or _made(model, tell)


def _silent(what: str, done: int, total: int) -> None:
    pass


@contextmanager
def _one_at_a_time(model: HubModel, progress: Progress) -> Iterator[None]:
    """Keep other processes from downloading the same model; the lock goes with the process that holds it."""
    lock = filelock.FileLock(downloads_folder() / f"{model.folder}.lock")
    try:
        downloads_folder().mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            _log.info("Another process is getting %s; waiting for it.", model)
            while not lock.is_locked:
                progress(f"Waiting for another process that gets {model}", 0, 0)  # each second, as it may want to stop
                with suppress(filelock.Timeout):
                    lock.acquire(timeout=1)
    except NotImplementedError:
        _log.info("%s has no locks, so the same model could be downloaded twice at once.", cache_folder())
    except OSError as error:
        raise _not_writable(model, error) from error
    try:
        if lock.is_locked:
            sweep(cache_folder() / model.folder)
        yield
    finally:
        lock.release()


def _made(model: HubModel, progress: Progress) -> Path:
    """Download and convert."""
    try:
        listing = list_files(model)
    except Unreachable:
        if (nemo := _in_hub_cache(model, f"{model.name}.nemo", model.revision)) is None:
            raise
        return _converted(model, nemo, progress)
    downloads = downloads_folder() / model.folder / listing.commit
    if _is_ours(listing, downloads, progress):
        folder = _taken(listing, downloads, progress)
    else:
        nemo = _nemo(listing, downloads, progress)
        folder = _converted(model, nemo, progress)
    shutil.rmtree(downloads.parent, ignore_errors=True)
    return folder


def _is_ours(listing: Listing, downloads: Path, progress: Progress) -> bool:
    """Whether the repository holds a checkpoint in our own form; a config.json alone may be anybody's."""
    if not {CONFIG, WEIGHTS} <= set(listing.files):
        return False
    config = look_up(listing, CONFIG)
    if config.n_bytes > _LARGEST_CONFIG:
        return False
    download(config, downloads / CONFIG, progress)
    version = format_version(downloads / CONFIG)
    if version not in (None, FORMAT_VERSION) and not _nemo_files(listing):
        raise ModelNotFoundError(
            f"{listing.model} was converted by another version of mlx-canary: it has format_version {version!r}, "
            f"and this version reads {FORMAT_VERSION}."
        )
    return version == FORMAT_VERSION


def _taken(listing: Listing, downloads: Path, progress: Progress) -> Path:
    """Download a checkpoint that is in our own form already."""
    model, folder = listing.model, cache_folder() / listing.model.folder
    names = [name for name in listing.files if _is_part(name)]
    files = [look_up(listing, name) for name in names]
    _check_space(model, sum(missing_bytes(file, downloads / file.name) for file in files), 0)
    _log.info("Downloading %s, which is converted already.", model)
    for file in files:
        download(file, downloads / file.name, progress)
    _clear(folder)
    try:
        to_disk(downloads)
        downloads.replace(folder)
    except OSError as error:
        raise _not_writable(model, error) from error
    _log.info("%s is in %s.", model, folder)
    return folder


def _is_part(name: str) -> bool:
    """Whether a file of a repository belongs to a checkpoint; such a name is harmless too."""
    folder, _, file = name.rpartition("/")
    plain = file.replace("-", "").replace("_", "").removesuffix(".model").isalnum()
    return (
        name in OURS - {"tokenizers", ".DS_Store"}
        if not folder
        else folder == "tokenizers" and file.endswith(".model") and plain
    )


def _nemo(listing: Listing, downloads: Path, progress: Progress) -> Path:
    """The repository's .nemo file, from the hub's own cache or downloaded."""
    model, name = listing.model, _chosen(listing)
    if (there := _in_hub_cache(model, name, listing.commit)) is not None:
        _check_space(model, 0, there.stat().st_size)
        return there
    file, target = look_up(listing, name), downloads / PurePosixPath(name).name
    missing = missing_bytes(file, target)
    _check_space(model, missing, file.n_bytes)
    if missing:
        _log.info("Downloading %s of %s, %s.", target.name, model, size_text(missing))
    download(file, target, progress)
    return target


def _chosen(listing: Listing) -> str:
    """The .nemo file to take: the one with the repository's name, as NeMo does, or else the only one."""
    files, model = _nemo_files(listing), listing.model
    if (named := f"{model.name}.nemo") in files:
        return named
    if not files:
        raise ModelNotFoundError(
            f"{model} holds neither a .nemo file nor a model converted by mlx-canary, so it cannot be used."
        )
    if len(files) > 1:
        raise ModelNotFoundError(
            f"{model} holds {len(files)} .nemo files ({', '.join(files[:5])}). Download one and give its path."
        )
    return files[0]


def _nemo_files(listing: Listing) -> list[str]:
    """Checkpoints of NeMo, by names that are safe on this disk. NVIDIA's safetensors hold the encoder alone."""
    pieces = {name: name.split("/") for name in listing.files if name.endswith(".nemo") and "\\" not in name}
    return sorted(name for name, parts in pieces.items() if not any(part.startswith(".") or not part for part in parts))


def _in_hub_cache(model: HubModel, name: str, revision: str | None) -> Path | None:
    """A file that another program left in the hub's own cache."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(model.repository, name, revision=revision)
    return Path(path) if isinstance(path, str) else None


def _converted(model: HubModel, nemo: Path, progress: Progress) -> Path:
    """Convert into the cache, and say what may be done with the weights."""
    folder = cache_folder() / model.folder
    _log.info("Converting %s, once.", nemo.name)
    _clear(folder)
    try:
        report = convert(
            ConversionConfig(nemo_file=nemo, output_dir=folder, overwrite=True),
            lambda done, total: progress(f"Converting {nemo.name}", done, total),
        )
    except ConversionError as error:
        raise ConversionError(f"{model} cannot be converted: {error}") from error
    for note in report.notes:
        _log.info("%s", note)
    _log.info("%s is in %s.", model, folder)
    _say_license(model, report.config.source.license)
    return folder


def _say_license(model: HubModel, stated: str | None) -> None:
    published = [known.license for known in CANARY_MODELS.values() if known.repository == model.repository]
    license = published[0] if published else stated
    if license is None:
        _log.info("What may be done with the weights of %s is said in its repository.", model)
    elif "NC" in license:
        _log.warning("The weights of %s have the licence %s: no commercial use.", model, license)
    else:
        _log.info("The weights of %s have the licence %s.", model, license)


def _clear(folder: Path) -> None:
    """Take an incomplete or outdated checkpoint of ours out of the way; nothing else is ever deleted."""
    if folder.is_dir() and not folder.is_symlink() and set(os.listdir(folder)) <= OURS:
        shutil.rmtree(folder, ignore_errors=True)


def _check_space(model: HubModel, to_download: int, to_convert: int) -> None:
    """The converted model takes about as much as its .nemo, and both are there at once for a while."""
    root = cache_folder()
    needed, free = to_download + to_convert + _RESERVE, shutil.disk_usage(root).free
    if free < needed:
        raise ModelNotFoundError(
            f"{root} has {size_text(free)} free, and {size_text(needed)} are needed to download and convert {model}. "
            "Free some, or set MLX_CANARY_CACHE to a folder on another disk."
        )


def _not_writable(model: HubModel, error: OSError) -> ModelNotFoundError:
    reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
    return ModelNotFoundError(
        f"{model} cannot be kept in {cache_folder()}: {reason}. Set MLX_CANARY_CACHE to a folder that you can write to."
    )
