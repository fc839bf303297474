"""Safetensors files, written as a stream and checked before they are trusted.

The format: eight bytes with the header's length, a JSON header with every tensor's type, shape and place, the bytes.
Source: the format's description at huggingface.co/docs/safetensors. Nothing here holds more than one tensor in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mlx_canary.backend import mx
from mlx_canary.conversion.mapped_file import MappedFile
from mlx_canary.errors import CheckpointError

_NAMES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "uint32": "U32"}
_ITEM_SIZES = {"F32": 4, "F16": 2, "BF16": 2, "U32": 4}
_MAX_HEADER = 32 << 20

Layout = Mapping[str, tuple[tuple[int, ...], mx.Dtype]]


@dataclass(frozen=True, slots=True, eq=False)
class StoredTensor:
    """A tensor in a mapped file.

    Attributes:
        shape: Sizes.
        dtype: Such as "float32".
        contents: Its bytes.
    """

    shape: tuple[int, ...]
    dtype: str
    contents: memoryview

    def read(self) -> npt.NDArray[Any]:
        """The values; bfloat16 comes as float32, which holds it exactly."""
        if self.dtype == "bfloat16":
            halves = np.frombuffer(self.contents, "<u2").astype(np.uint32)
            return (halves << 16).view(np.float32).reshape(self.shape)
        return np.frombuffer(self.contents, self.dtype).reshape(self.shape)


def dtype_name(dtype: mx.Dtype) -> str:
    """The name of an MLX type, such as "float32"."""
    return str(dtype).rsplit(".", 1)[-1]


def file_size(layout: Layout) -> int:
    """Bytes that a file with these tensors takes, its header apart."""
    return sum(int(np.prod(shape, dtype=np.int64)) * dtype.size for shape, dtype in layout.values())


def write(path: Path, tensors: Iterable[tuple[str, mx.array]], layout: Layout) -> None:
    """Write tensors as they come.

    Args:
        path: The file to make.
        tensors: Exactly those of the layout, in its order.
        layout: Name, shape and type of each.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "mlx"}}
    offset = 0
    for name, (shape, dtype) in layout.items():
        end = offset + file_size({name: (shape, dtype)})
        header[name] = {
            "dtype": _NAMES[dtype_name(dtype)],
            "shape": list(shape),
            "data_offsets": [offset, end],
        }
        offset = end
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for (name, array), wanted in zip(tensors, layout, strict=True):
            assert name == wanted, f"{name} comes where {wanted} belongs"
            file.write(_bytes(array))


def _bytes(array: mx.array) -> memoryview:
    """Little-endian contents; NumPy has no bfloat16."""
    bits = array.view(mx.uint16) if array.dtype == mx.bfloat16 else array
    return np.ascontiguousarray(bits).data.cast("B")  # MLX's own memory, not a copy


def read(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a file, in the file until they are read.

    Raises:
        CheckpointError: The header or a tensor's place makes no sense, or the file is cut off or cannot be read.
    """
    try:
        data = MappedFile(path).view()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error
    length = int.from_bytes(data[:8], "little")
    if not 2 <= length <= min(_MAX_HEADER, len(data) - 8):
        raise CheckpointError(f"{path.name} is not a safetensors file, or is cut off: header of {length} bytes.")
    try:
        header = json.loads(bytes(data[8 : 8 + length]), object_pairs_hook=_without_repeats)
        entries = {str(name): entry for name, entry in header.items() if name != "__metadata__"}
        notes = header.get("__metadata__") or {}
        if not isinstance(notes, dict) or not all(isinstance(note, str) for note in notes.values()):
            raise ValueError("__metadata__ is not a list of texts by name")
    except (ValueError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"The header of {path.name} is not valid JSON: {error}.") from error
    contents = data[8 + length :]
    tensors = {name: _tensor(name, entry, contents, path.name) for name, entry in entries.items()}
    spans = sorted(entry["data_offsets"] for entry in entries.values())
    if any(before[1] > after[0] for before, after in pairwise(spans)):
        raise CheckpointError(f"{path.name} has tensors that overlap. The file is damaged.")
    return tensors


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Readers differ in which of two entries of one name they take."""
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError("a name occurs twice")
    return entries


def _tensor(name: str, entry: Any, contents: memoryview, file: str) -> StoredTensor:
    try:
        code, shape, (start, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        dtype = next(ours for ours, theirs in _NAMES.items() if theirs == code)
    except (KeyError, TypeError, ValueError, StopIteration) as error:
        raise CheckpointError(f"The entry of tensor {name!r} in {file} makes no sense: {entry!r:.100}.") from error
    numbers = (*shape, start, end)
    sound = all(type(n) is int and 0 <= n < 1 << 48 for n in numbers) and start <= end <= len(contents)
    if not sound or int(np.prod(shape, dtype=object)) * _ITEM_SIZES[code] != end - start:
        raise CheckpointError(
            f"The tensor {name!r} in {file} does not fit the file: shape {list(shape)}, bytes {start} to {end} "
            f"of {len(contents)}. The file is cut off or damaged."
        )
    return StoredTensor(shape, dtype, contents[start:end])
