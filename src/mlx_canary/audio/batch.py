"""Signals of several lengths as one array on the device."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt

from mlx_canary.backend import mx
from mlx_canary.kernels import is_cuda

# Of 16 MB: the C library keeps so much for the next part, while more would be new pages each time.
_SAMPLES_AT_ONCE = 4 << 20

Signals = Sequence[npt.NDArray[np.float32]]


def stacked(signals: Signals) -> mx.array:
    """(N,) float32 each -> (B, N), with zeros behind the shorter ones."""
    return _read(signals) if is_cuda() else _copied(signals)


def _copied(signals: Signals) -> mx.array:
    batch = np.zeros((len(signals), max(map(len, signals))), np.float32)
    for row, samples in zip(batch, signals, strict=True):
        row[: len(samples)] = samples
    return mx.array(batch)


def _read(signals: Signals) -> mx.array:
    """As files that MLX loads, at once: it copies them to CUDA's memory itself.

    What an array of NumPy's becomes lies in managed memory, whose pages follow one by one when the GPU first looks.
    """
    length = max(map(len, signals))
    n_rows = max(1, _SAMPLES_AT_ONCE // max(1, length))
    parts: list[mx.array] = []
    for start in range(0, len(signals), n_rows):
        file = cast(BinaryIO, _NpyFile(signals[start : start + n_rows], length))
        parts.append(cast(mx.array, mx.load(file, format="npy")))
    return parts[0] if len(parts) == 1 else mx.concatenate(parts)


class _NpyFile(io.RawIOBase):
    """The batch as an .npy file, of which nothing is in memory but the signals themselves."""

    def __init__(self, signals: Signals, length: int) -> None:
        self._signals, self._length, self._at = signals, length, 0
        header = io.BytesIO()
        shape = (len(signals), self._length)
        np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
        self._header = header.getvalue()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        size = len(self._header) + 4 * len(self._signals) * self._length
        self._at = offset + (0, self._at, size)[whence]
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """A part of the header, or all rows."""
        memory = memoryview(buffer).cast("B")
        if self._at < len(self._header):
            part = self._header[self._at : self._at + len(memory)]
            memory[: len(part)] = part
            self._at += len(part)
            return len(part)
        rows = np.frombuffer(memory, np.float32).reshape(len(self._signals), self._length)
        for row, samples in zip(rows, self._signals, strict=True):
            row[: len(samples)] = samples
            row[len(samples) :] = 0
        self._at += len(memory)
        return len(memory)
