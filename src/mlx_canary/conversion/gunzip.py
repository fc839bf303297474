"""Unpack a gzip file where nobody else finds it: a path in, an open file without a name out.

Grows in small steps and stops where the size stops making sense. Knows nothing about what is inside.
"""

import gzip
import shutil
import tempfile
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from mlx_canary.errors import ConversionError

_STEP = 1 << 20
# Weights hardly compress, while deflate reaches a factor of 1000. The floor lets models of zeros through.
_RATIO, _FLOOR = 20, 64 << 20
_DISK_RESERVE = 256 << 20


def gunzip(path: Path) -> IO[bytes]:
    """Decompress a file into the folder for temporary files.

    Returns:
        An open file that has no name, so it is gone when it is closed.

    Raises:
        ConversionError: The file is damaged, expands beyond reason, or does not fit on the disk.
    """
    limit = max(_FLOOR, _RATIO * path.stat().st_size)
    with ExitStack() as stack:
        target = stack.enter_context(tempfile.TemporaryFile())
        try:
            with gzip.open(path) as source:
                _copy(source, target, limit, path.name)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ConversionError(f"{path.name} is a damaged gzip file ({error}). Download it again.") from error
        target.flush()
        # From here on the caller closes it.
        stack.pop_all()
        return target


def _copy(source: gzip.GzipFile, target: IO[bytes], limit: int, what: str) -> None:
    n_bytes = 0
    while step := source.read(_STEP):
        n_bytes += len(step)
        if n_bytes > limit:
            raise ConversionError(
                f"{what} expands to more than {limit} bytes, as no model file does. Do not trust this file."
            )
        _check_disk(n_bytes, what)
        target.write(step)


def _check_disk(n_bytes: int, what: str) -> None:
    folder = tempfile.gettempdir()
    if shutil.disk_usage(folder).free < _DISK_RESERVE:
        raise ConversionError(
            f"{what} is compressed, and after {n_bytes} bytes {folder} is almost full. "
            "Free some space, or set TMPDIR to a folder on a larger disk."
        )
