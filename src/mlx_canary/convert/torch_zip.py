"""A torch checkpoint without torch: the bytes of a `.ckpt` in, named lazy tensors out.

The format is a stored zip with one pickle and one entry for each storage (spec: torch 1.6 and later).
Every tensor's layout is checked against its storage here, so reading one later cannot leave its bytes.
Knows nothing about Canary.
"""

from collections.abc import Mapping
from typing import NamedTuple

from mlx_canary.convert.pickle_reader import Function, read_pickle
from mlx_canary.convert.tensors import DTYPES, LazyTensor
from mlx_canary.convert.zip_entries import Entry, list_zip
from mlx_canary.errors import ConversionError

# A tensor takes about 300 bytes of pickle, its name included.
_PICKLE_FLOOR, _PICKLE_PER_ENTRY = 1 << 20, 4096
_MAX_DIMENSIONS = 16
_MAX_ELEMENTS = 1 << 40
# One tied pair doubles its own bytes only; more aliasing than this is a bomb.
_MAX_ALIASING = 4

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


class _StorageType(NamedTuple):
    """A torch storage class; an untyped one counts bytes and has no dtype."""

    dtype: str | None


class _DType(NamedTuple):
    name: str


class _Storage(NamedTuple):
    key: str
    dtype: str | None
    entry: Entry


class _Tensor(NamedTuple):
    storage: _Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_state_dict(buffer: memoryview, what: str = "The checkpoint") -> dict[str, LazyTensor]:
    """Find the tensors of a torch checkpoint.

    Args:
        buffer: The whole `.ckpt` file, mapped or in memory. The tensors keep windows on it.
        what: Its name, for messages.

    Returns:
        Tensors in the order of the file. Those that share a storage have the same `storage_key`.

    Raises:
        ConversionError: It is no such file, is damaged, or does what a plain state dict does not.
    """
    entries = list_zip(buffer, what)
    top = _find_top(entries, what)
    _check_byteorder(buffer, entries.get(f"{top}/byteorder"), what)
    pickled = entries[f"{top}/data.pkl"]
    size = pickled.end - pickled.start
    if size > _PICKLE_FLOOR + _PICKLE_PER_ENTRY * len(entries):
        raise ConversionError(
            f"{what} has {size} bytes of pickle for {len(entries)} entries. Do not trust this file."
        )
    rebuild = _Rebuild(entries, f"{top}/data/", what)
    found = read_pickle(bytes(buffer[pickled.start : pickled.end]), rebuild.globals(), rebuild.storage, what)
    return _name_tensors(found, buffer, what)


def _find_top(entries: Mapping[str, Entry], what: str) -> str:
    """The only folder of the zip, called after the file that torch first wrote."""
    tops = [name.removesuffix("/data.pkl") for name in entries if name.endswith("/data.pkl")]
    if len(tops) != 1:
        raise ConversionError(
            f"{what} is a zip with {len(tops)} entries called data.pkl; a torch checkpoint has exactly one."
        )
    if f"{tops[0]}/constants.pkl" in entries:
        raise ConversionError(f"{what} is a TorchScript program; only plain weights are read.")
    return tops[0]


def _check_byteorder(buffer: memoryview, entry: Entry | None, what: str) -> None:
    if entry is None:
        return
    order = bytes(buffer[entry.start : min(entry.end, entry.start + 16)])
    if order != b"little":
        raise ConversionError(f"{what} has byte order {order!r}; only little-endian checkpoints are read.")


class _Rebuild:
    """What the names in a state dict's pickle mean."""

    def __init__(self, entries: Mapping[str, Entry], folder: str, what: str) -> None:
        self._entries = entries
        self._folder = folder
        self._what = what

    def globals(self) -> dict[tuple[str, str], object]:
        """The whole whitelist."""
        storages = {("torch", name): _StorageType(dtype) for name, dtype in _STORAGES.items()}
        dtypes = {("torch", name): _DType(name) for name in DTYPES}
        return {
            **storages,
            **dtypes,
            ("torch.storage", "UntypedStorage"): _StorageType(None),
            ("torch", "UntypedStorage"): _StorageType(None),
            ("collections", "OrderedDict"): Function(self._ordered_dict),
            ("torch._utils", "_rebuild_tensor_v2"): Function(self._tensor_v2),
            ("torch._utils", "_rebuild_tensor_v3"): Function(self._tensor_v3),
            ("torch._utils", "_rebuild_parameter"): Function(self._parameter),
        }

    def storage(self, reference: object) -> _Storage:
        """("storage", class, key, device, number of elements) -> the entry that holds it."""
        match reference:
            case ("storage", _StorageType(dtype), str(key), str(), int(n_items)):
                entry = self._entries.get(self._folder + key)
            case _:
                raise self._error("refers to a storage in an unknown way")
        if entry is None:
            raise self._error(f"refers to the storage {key[:80]!r}, which is missing")
        n_bytes, expected = entry.end - entry.start, n_items * _item_size(dtype)
        if n_bytes != expected:
            raise self._error(f"gives storage {key!r} {expected} bytes, but it has {n_bytes}")
        return _Storage(key, dtype, entry)

    def _ordered_dict(self, arguments: tuple[object, ...]) -> object:
        if arguments:
            raise self._error("builds an OrderedDict in an unknown way")
        return {}

    def _tensor_v2(self, arguments: tuple[object, ...]) -> _Tensor:
        match arguments:
            case (_Storage(dtype=str(dtype)) as storage, int(offset), tuple(shape), tuple(strides), _, _, *_):
                return self._tensor(storage, dtype, offset, shape, strides)
        raise self._error("builds a tensor from unexpected values")

    def _tensor_v3(self, arguments: tuple[object, ...]) -> _Tensor:
        match arguments:
            case (_Storage() as storage, int(offset), tuple(shape), tuple(strides), _, _, _DType(dtype), *_):
                return self._tensor(storage, dtype, offset, shape, strides)
        raise self._error("builds a tensor from unexpected values")

    def _parameter(self, arguments: tuple[object, ...]) -> _Tensor:
        match arguments:
            case (_Tensor() as tensor, *_):
                return tensor
        raise self._error("builds a parameter from something that is no tensor")

    def _tensor(
        self,
        storage: _Storage,
        dtype: str,
        offset: int,
        shape: tuple[object, ...],
        strides: tuple[object, ...],
    ) -> _Tensor:
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
                f"has a tensor of shape {sizes} with strides {steps} at {offset}, outside the "
                f"{n_available} elements of its storage"
            )
        return _Tensor(storage, dtype, offset, sizes, steps)

    def _integers(self, values: tuple[object, ...]) -> tuple[int, ...]:
        if len(values) > _MAX_DIMENSIONS:
            raise self._error(f"has a tensor with {len(values)} dimensions")
        if not all(type(value) is int and 0 <= value < 1 << 62 for value in values):
            raise self._error("has a tensor whose sizes or strides are not whole numbers")
        return tuple(value for value in values if isinstance(value, int))

    def _error(self, problem: str) -> ConversionError:
        return ConversionError(
            f"{self._what} {problem}. The file is damaged, or made to harm; do not trust it."
        )


def _item_size(dtype: str | None) -> int:
    return DTYPES[dtype].itemsize if dtype else 1


def _name_tensors(found: object, buffer: memoryview, what: str) -> dict[str, LazyTensor]:
    if not isinstance(found, dict):
        raise ConversionError(f"{what} holds a {type(found).__name__}; expected a dict of tensors.")
    tensors: dict[str, LazyTensor] = {}
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, _Tensor):
            raise ConversionError(
                f"{what} has {str(name)[:200]!r}, a {type(value).__name__}, among its tensors. "
                "Expected a plain state dict; training checkpoints keep theirs under 'state_dict'."
            )
        entry = value.storage.entry
        window = buffer[entry.start : entry.end]
        layout = (value.shape, value.dtype, value.storage.key, value.offset, value.strides)
        tensors[name] = LazyTensor(name, *layout, window, entry.crc)
    if sum(tensor.n_bytes for tensor in tensors.values()) > _MAX_ALIASING * len(buffer):
        raise ConversionError(
            f"{what} has tensors that repeat its {len(buffer)} bytes many times. Do not trust it."
        )
    return tensors
