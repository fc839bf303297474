"""What the names in a state dict's pickle mean: the whole whitelist, and the checks behind it.

Every tensor's layout is checked against its storage here, so reading one later cannot leave its bytes, and
none is larger than what is stored. Knows nothing about Canary.
"""

from collections.abc import Mapping
from typing import NamedTuple

from mlx_canary.conversion.pickle_reader import Function
from mlx_canary.conversion.tensors import DTYPES
from mlx_canary.conversion.zip_entries import Entry
from mlx_canary.errors import ConversionError

_MAX_DIMENSIONS = 16
_MAX_ELEMENTS = 1 << 40

_STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}


class StorageType(NamedTuple):
    """A torch storage class; an untyped one counts bytes and has no dtype."""

    dtype: str | None


class DType(NamedTuple):
    """A name such as torch.float32."""

    name: str


class Storage(NamedTuple):
    """The entry that holds a storage's bytes."""

    key: str
    dtype: str | None
    entry: Entry


class Tensor(NamedTuple):
    """A checked window on a storage; offset and strides count elements."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Rebuild:
    """The functions that a pickle may call, over the entries of one zip."""

    def __init__(self, entries: Mapping[str, Entry], folder: str, what: str) -> None:
        self._entries = entries
        self._folder = folder
        self._what = what

    def globals(self) -> dict[tuple[str, str], object]:
        """The whole whitelist."""
        storages = {("torch", name): StorageType(dtype) for name, dtype in _STORAGES.items()}
        dtypes = {("torch", name): DType(name) for name in DTYPES}
        return {
            **storages,
            **dtypes,
            ("torch.storage", "UntypedStorage"): StorageType(None),
            ("torch", "UntypedStorage"): StorageType(None),
            ("collections", "OrderedDict"): Function(self._ordered_dict),
            ("torch._utils", "_rebuild_tensor_v2"): Function(self._tensor_v2),
            ("torch._utils", "_rebuild_tensor_v3"): Function(self._tensor_v3),
            ("torch._utils", "_rebuild_parameter"): Function(self._parameter),
        }

    def storage(self, reference: object) -> Storage:
        """("storage", class, key, device, number of elements) -> the entry that holds it."""
        match reference:
            case ("storage", StorageType(dtype), str(key), str(), int(n_items)):
                entry = self._entries.get(self._folder + key)
            case _:
                raise self._error("refers to a storage in an unknown way")
        if entry is None:
            raise self._error(f"refers to the storage {key[:80]!r}, which is missing")
        n_bytes, expected = entry.end - entry.start, n_items * _item_size(dtype)
        if n_bytes != expected:
            raise self._error(f"gives storage {key!r} {expected} bytes, but it has {n_bytes}")
        return Storage(key, dtype, entry)

    def _ordered_dict(self, arguments: tuple[object, ...]) -> object:
        if arguments:
            raise self._error("builds an OrderedDict in an unknown way")
        return {}

    def _tensor_v2(self, arguments: tuple[object, ...]) -> Tensor:
        match arguments:
            case (
                Storage(dtype=str(dtype)) as storage,
                int(offset),
                tuple(shape),
                tuple(strides),
                _,
                _,
                *more,
            ):
                self._check_metadata(more)
                return self._tensor(storage, dtype, offset, shape, strides)
        raise self._error("builds a tensor from unexpected values")

    def _tensor_v3(self, arguments: tuple[object, ...]) -> Tensor:
        match arguments:
            case (
                Storage() as storage,
                int(offset),
                tuple(shape),
                tuple(strides),
                _,
                _,
                DType(dtype),
                *more,
            ):
                self._check_metadata(more)
                return self._tensor(storage, dtype, offset, shape, strides)
        raise self._error("builds a tensor from unexpected values")

    def _check_metadata(self, more: list[object]) -> None:
        """torch marks lazily negated and conjugated tensors here; dropping that would change their values."""
        if any(more):
            raise self._error("has a lazily negated or conjugated tensor")

    def _parameter(self, arguments: tuple[object, ...]) -> Tensor:
        match arguments:
            case (Tensor() as tensor, *_):
                return tensor
        raise self._error("builds a parameter from something that is no tensor")

    def _tensor(
        self,
        storage: Storage,
        dtype: str,
        offset: int,
        shape: tuple[object, ...],
        strides: tuple[object, ...],
    ) -> Tensor:
        """Check that every element lies in the storage, and that the tensor is not larger than it."""
        sizes, steps = self._integers(shape), self._integers(strides)
        if len(sizes) != len(steps):
            raise self._error(f"has a tensor of {len(sizes)} dimensions with {len(steps)} strides")
        n_available = (storage.entry.end - storage.entry.start) // _item_size(dtype)
        n_items, n_grid = 1, 1
        for size in sizes:
            n_items, n_grid = n_items * size, n_grid * max(size, 1)
        last = offset + sum((size - 1) * step for size, step in zip(sizes, steps, strict=True))
        fits = offset >= 0 and n_items <= n_available and (not n_items or last < n_available)
        if not fits or n_grid > _MAX_ELEMENTS:
            raise self._error(
                f"has a tensor of shape {sizes} with strides {steps} at offset {offset}, which does not fit "
                f"the {n_available} elements of its storage"
            )
        return Tensor(storage, dtype, offset, sizes, steps)

    def _integers(self, values: tuple[object, ...]) -> tuple[int, ...]:
        if len(values) > _MAX_DIMENSIONS:
            raise self._error(f"has a tensor with {len(values)} dimensions")
        if not all(type(value) is int and 0 <= value < 1 << 62 for value in values):
            raise self._error("has a tensor whose sizes or strides are not all whole numbers from 0 up")
        return tuple(value for value in values if isinstance(value, int))

    def _error(self, problem: str) -> ConversionError:
        return ConversionError(f"{self._what} {problem}. The file is damaged, or made to harm; do not trust it.")


def _item_size(dtype: str | None) -> int:
    return DTYPES[dtype].itemsize if dtype else 1
