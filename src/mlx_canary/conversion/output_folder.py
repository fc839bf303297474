"""The folder that a conversion makes: what may be replaced, and how a new one takes its place whole.

A folder grows beside its place under a hidden name, and holds a lock as long as its process lives; so what a killed
process left can be told from what another one is at. Knows nothing about what is in the files, and needs no MLX.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from mlx_canary.config import FORMAT_VERSION
from mlx_canary.conversion.names import ALIGNER_WEIGHTS, CONFIG, OURS, WEIGHTS
from mlx_canary.errors import ConversionError

# Ours hold a folder's lock for a moment. Others may hold it as long as they like: the folder is the user's own.
_PATIENCE = 5.0  # seconds


def format_version(path: Path) -> object:
    """What a config.json says of the form of our checkpoints; None if it is nothing of ours."""
    return _read(path).get("format_version")


def is_complete(folder: Path) -> bool:
    """Whether a folder is a conversion in today's form, with all files that its config.json calls for."""
    config = _read(folder / CONFIG)
    if config.get("format_version") != FORMAT_VERSION:
        return False
    names = [WEIGHTS, ALIGNER_WEIGHTS] if config.get("aligner") else [WEIGHTS]
    try:
        parts = [part["name"] for part in config["tokenizer"]["sub_tokenizers"]]
        names += [f"tokenizers/{part}.model" for part in parts] or ["tokenizer.model"]
    except (KeyError, TypeError):
        pass  # whoever loads it says what is wrong with it
    return all(os.path.isfile(folder / name) for name in names)


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def check_target(target: Path, overwrite: bool) -> None:
    """Never touch a folder that is not an earlier conversion and nothing else.

    Raises:
        ConversionError: It is in use otherwise, or holds an earlier conversion that is not to be replaced.
    """
    try:
        if os.path.ismount(target.resolve()):
            raise ConversionError(
                f"{target} is a mount point, which cannot be replaced by a folder. Choose a folder inside it."
            )
        names = {entry.name for entry in target.iterdir()}
    except FileNotFoundError:
        return
    except NotADirectoryError as error:
        if not target.exists():
            return  # one of its parents is a file
        raise ConversionError(f"{target} exists and is not a folder. Choose another --output-dir.") from error
    except OSError as error:
        raise ConversionError(f"{target} cannot be looked into: {error.strerror}.") from error
    if not names:
        return
    if others := _others(target, names):
        raise ConversionError(
            f"{target} holds other files than a converted model, such as {min(others)}. Choose another --output-dir."
        )
    if not overwrite:
        raise ConversionError(f"{target} already holds a converted model. Choose another folder, or add --overwrite.")


def _others(target: Path, names: set[str]) -> set[str]:
    """What is not ours. Most names in a conversion are everybody's: the configuration has to say that it is ours."""
    if not {WEIGHTS, CONFIG} <= names or format_version(target / CONFIG) not in range(1, FORMAT_VERSION + 1):
        return names
    inside = (path for path in (target / "tokenizers").glob("*") if path.name != ".DS_Store")
    others = {f"tokenizers/{path.name}" for path in inside if path.suffix != ".model" or not path.is_file()}
    return names - OURS | others


@contextmanager
def new_folder(target: Path, overwrite: bool) -> Iterator[Path]:
    """A hidden sibling of the target that takes its place at the end, or vanishes.

    Raises:
        ConversionError: It cannot be written, or something else has taken the place meanwhile.
    """
    place = target.resolve()  # a link stays, and what it points to is made
    # Named before it is made, so that there is no moment at which an interruption would leave it.
    hidden = place.with_name(f".{place.name}.{secrets.token_hex(8)}.partial")
    try:
        with ExitStack() as stack:
            _make(place.parent, place.parent)
            with _locked(place.parent):  # nobody may sweep it before it has its lock
                _make(hidden, place.parent)
                stack.enter_context(_locked(hidden))
            yield hidden
            to_disk(hidden)
            with _locked(place.parent):
                check_target(target, overwrite)  # again: a conversion takes minutes
                _move(hidden, place)
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise ConversionError(f"Cannot write {target}: {reason}. Nothing was left behind.") from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def sweep(target: Path) -> None:
    """Delete what killed conversions left beside a target; a model that one of them had put aside comes back.

    Where the file system has no locks nobody knows who is still at work, and all of it stays.
    """
    target = target.resolve()
    left = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{16}}\.(partial|replaced)")
    with _locked(target.parent) as alone, suppress(OSError):
        entries = sorted(target.parent.iterdir()) if alone else []
        for entry in (entry for entry in entries if left.fullmatch(entry.name)):
            with _locked(entry, wait=False) as free:
                if free and entry.suffix == ".replaced" and not target.exists():
                    entry.rename(target)
                elif free:
                    shutil.rmtree(entry, ignore_errors=True)


def to_disk(folder: Path) -> None:
    """Wait until all files are on the disk; otherwise a loss of power could leave their names alone."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("r+b") as file:
                try:
                    os.fsync(file.fileno())
                except OSError as error:
                    if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that cannot wait
                        raise


def _make(folder: Path, place: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        is_file = isinstance(error, FileExistsError | NotADirectoryError)
        reason = "there is a file in the way" if is_file else error.strerror
        raise ConversionError(f"Cannot write in {place}: {reason}.") from error


@contextmanager
def _locked(folder: Path, wait: bool = True) -> Iterator[bool]:
    """Hold a folder's lock, which ends with the process at the latest; whether it was to be had."""
    end, held = time.monotonic() + (_PATIENCE if wait else 0.0), False
    with ExitStack() as stack:
        with suppress(OSError):  # not allowed, or a file system without locks
            opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, opened)
            held = _locks(opened)
            while not held and time.monotonic() < end:
                time.sleep(0.05)
                held = _locks(opened)
        yield held


def _locks(opened: int) -> bool:
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _move(hidden: Path, target: Path) -> None:
    """Put a folder in its place; an earlier conversion steps aside first and is deleted last."""
    if not target.exists() or not any(target.iterdir()):
        hidden.rename(target)  # which fails where something has just appeared
        return
    aside = hidden.with_suffix(".replaced")
    try:
        target.rename(aside)
        hidden.rename(target)
    finally:  # also when interrupted
        if hidden.exists():
            with suppress(OSError):
                aside.rename(target)
        else:
            shutil.rmtree(aside, ignore_errors=True)
