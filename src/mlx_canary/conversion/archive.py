"""The members of a `.nemo`: a tar, a gzip tar, a folder with one of them or an unpacked one in, windows on bytes out.

Files are memory-mapped where they lie; a gzip is unpacked to a temporary file without a name first.
Nothing else is written, nothing is extracted by name, and no link is followed out of a folder.
Knows nothing about what the members mean.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from mlx_canary.conversion.gunzip import gunzip
from mlx_canary.conversion.mapped_file import MappedFile, Member, open_regular, path_mode
from mlx_canary.conversion.sniff import looks_like
from mlx_canary.conversion.tar import list_tar
from mlx_canary.errors import ConversionError

_MAX_FILES = 10_000


class Archive:
    """Members by name. Arrays that were read stay usable after `close`."""

    def __init__(self, path: Path, members: Mapping[str, Member]) -> None:
        self.path = path
        self._members = dict(members)

    @property
    def names(self) -> list[str]:
        """Member names without `./`; folders are not listed."""
        return list(self._members)

    def read_bytes(self, name: str, limit: int) -> bytes:
        """The bytes of a small member.

        Raises:
            ConversionError: There is no such member, or it has more than `limit` bytes.
        """
        data = self.map(name)
        if len(data) > limit:
            raise ConversionError(
                f"{name!r} in {self.path.name} has {len(data)} bytes; more than {limit} make no sense. "
                "Do not trust this file."
            )
        return bytes(data)

    def map(self, name: str) -> memoryview:
        """A read-only window on a member's bytes, which are read from disk when touched.

        Raises:
            ConversionError: There is no such member, or it cannot be mapped.
        """
        if name not in self._members:
            raise ConversionError(f"{self.path.name} has no member {name!r}: the file is incomplete.")
        try:
            return self._members[name].view()
        except OSError as error:
            raise ConversionError(f"{name!r} in {self.path} cannot be read: {error.strerror}.") from error

    def release_pages(self) -> None:
        """Give back the memory of pages that were read; touching them again reads them again."""
        for file in {member.file for member in self._members.values()}:
            file.release_pages()

    def close(self) -> None:
        """Forget the members. A map ends with the last array that uses it."""
        self._members.clear()

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def open_archive(path: Path) -> Archive:
    """Open a `.nemo` file, the one in a folder, or an unpacked one.

    A folder may hold symbolic links, as the Hugging Face cache does, if they end in the folder itself or
    in the `blobs` of the same cached repository.

    Args:
        path: A tar, a gzip tar, a folder that holds one of them (see `nemo_in`), or a folder with the same members.

    Raises:
        ModelNotFoundError: There is nothing at `path`.
        ConversionError: It cannot be read, is damaged, or is not safe to read.
    """
    try:
        if stat.S_ISDIR(path_mode(path)):
            if (nemo := nemo_in(path)) is None:
                return Archive(path, dict(_list_folder(path)))
            _checked(nemo, _allowed_roots(path))
            path = nemo
        with open_regular(path) as file:
            if file.peek(2)[:2] != b"\x1f\x8b":  # type: ignore[attr-defined]
                return _open_tar(path, file)
        with gunzip(path) as unpacked:
            return _open_tar(path, unpacked)
    except OSError as error:
        where = error.filename or path
        raise ConversionError(f"{where} cannot be read: {error.strerror or error}.") from error


def nemo_in(folder: Path) -> Path | None:
    """The `.nemo` file in a folder, as a download of a whole repository leaves one.

    Returns:
        The one with the folder's name, as NeMo takes it, or else the only one. None where there is none, or where the
        folder itself is an unpacked one.

    Raises:
        ConversionError: There are several, and none has the folder's name.
    """
    if os.path.lexists(folder / "model_config.yaml"):
        return None
    files = sorted(file for file in folder.glob("*.nemo") if not file.name.startswith(".") and file.is_file())
    name = os.path.basename(os.path.abspath(folder))
    named = [file for file in files if file.stem == name]
    if len(files) > 1 and not named:
        listed = ", ".join(file.name for file in files[:5])
        raise ConversionError(f"{folder} holds {len(files)} .nemo files ({listed}). Give the path of one of them.")
    return next(iter(named or files), None)


def _open_tar(path: Path, file: IO[bytes]) -> Archive:
    mapped = MappedFile(path, file)
    data = mapped.view()
    head = bytes(data[:512])
    if head[257:262] != b"ustar":
        raise ConversionError(
            f"{path.name} is not a .nemo file: it looks like {looks_like(head)}. "
            "A .nemo file is a tar archive with model_config.yaml and model_weights.ckpt."
        )
    return Archive(path, {name: Member(mapped, *span) for name, span in list_tar(data, path.name).items()})


def _list_folder(path: Path) -> Iterator[tuple[str, Member]]:
    """The files of a folder and of its direct subfolders, where sharded checkpoints keep their parts."""
    roots = _allowed_roots(path)
    for n_files, entry in enumerate(_walk(path)):
        if n_files > _MAX_FILES:
            raise ConversionError(f"{path} has more than {_MAX_FILES} files; an unpacked .nemo has a few dozen.")
        target = _checked(entry, roots)
        if not stat.S_ISREG(target.stat().st_mode):
            raise ConversionError(f"{entry} is not a plain file. An unpacked .nemo holds nothing else.")
        yield entry.relative_to(path).as_posix(), Member(MappedFile(target))


def _checked(entry: Path, roots: list[Path]) -> Path:
    """Where a file of a folder is; a link must not lead out."""
    target = Path(os.path.realpath(entry))
    if not any(target.is_relative_to(root) for root in roots):
        raise ConversionError(
            f"{entry} is a link to {target}, outside the model's folder. Replace it by the file itself."
        )
    return target


def _walk(path: Path) -> Iterator[Path]:
    for entry in sorted(path.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            yield from (inner for inner in sorted(entry.iterdir()) if not inner.is_dir())
        else:
            yield entry


def _allowed_roots(path: Path) -> list[Path]:
    """The folder itself and, in a Hugging Face cache (`snapshots/REVISION`), its repository's blobs."""
    real = Path(os.path.realpath(path))
    cached = real.parent.name == "snapshots"
    return [real, real.parents[1] / "blobs"] if cached else [real]
