"""One tensor of a checkpoint, before anybody reads it.

In: a window on a storage's bytes and a layout that was already checked against it. Out: a numpy array.
Knows nothing about archives, pickles or models.
"""

import math
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from mlx_canary.errors import ConversionError

Array = NDArray[np.generic]

# How each torch type lies on disk. numpy has no bfloat16: its 16 bits are read as integers and widened.
DTYPES: dict[str, np.dtype[Any]] = {
    "float64": np.dtype("<f8"),
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
    "int64": np.dtype("<i8"),
    "int32": np.dtype("<i4"),
    "int16": np.dtype("<i2"),
    "int8": np.dtype("i1"),
    "uint8": np.dtype("u1"),
    "bool": np.dtype("u1"),
}


@dataclass(frozen=True)
class LazyTensor:
    """A tensor that stays in the file until `read`.

    Attributes:
        name: Its key in the state dict.
        shape: Sizes; () for a single number.
        dtype: As stored: a key of `DTYPES`.
        storage_key: Tensors of one checkpoint with the same key share bytes.
        offset: Of the first element in the storage, in elements.
        strides: In elements, one for each size.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    storage_key: str
    offset: int
    strides: tuple[int, ...]
    _storage: memoryview = field(repr=False, compare=False)
    _crc: int = field(repr=False, compare=False)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def n_bytes(self) -> int:
        """Bytes of the elements in their stored type."""
        return self.size * DTYPES[self.dtype].itemsize

    def read(self) -> Array:
        """The values.

        Returns:
            An array of `shape` in the stored type; bfloat16 comes as float32, which holds it exactly.
            Contiguous tensors are read-only views of the file: nothing is copied, and their pages
            are read when touched. Anything else is a copy.
        """
        values = self._stored()
        if self.dtype == "bfloat16":
            wide = np.left_shift(values, 16, dtype=np.uint32, casting="unsafe")
            return np.ascontiguousarray(wide).view(np.float32).reshape(self.shape)
        if self.dtype == "bool":
            return np.asarray(values != 0)
        return values

    def check(self) -> None:
        """Compare the storage's bytes with the checksum that torch wrote beside them.

        Raises:
            ConversionError: They differ: the file was damaged after it was written.
        """
        if zlib.crc32(self._storage) != self._crc:
            raise ConversionError(
                f"The bytes of tensor {self.name!r} do not match their checksum: the file is damaged. "
                "Download it again; if it was written without checksums, convert it with --no-checksums."
            )

    def _stored(self) -> Array:
        item = DTYPES[self.dtype]
        if not self.size:
            return np.empty(self.shape, item)
        flat = np.frombuffer(self._storage, item)[self.offset :]
        if self._is_contiguous():
            # Alignment is torch's habit, not a rule; code behind numpy may rely on it.
            return np.require(flat[: self.size].reshape(self.shape), requirements="A")
        strides = [step * item.itemsize for step in self.strides]
        return as_strided(flat, self.shape, strides, writeable=False).copy()

    def _is_contiguous(self) -> bool:
        step = 1
        for size, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if size > 1 and stride != step:
                return False
            step *= size
        return True
