"""A torch checkpoint without torch: the bytes of a `.ckpt` in, named lazy tensors out.

The format is a stored zip with one pickle and one entry for each storage, as torch writes it since 1.6.
Knows nothing about Canary.
"""

from collections.abc import Mapping

from mlx_canary.conversion.pickle_reader import read_pickle
from mlx_canary.conversion.rebuild import Rebuild, Tensor
from mlx_canary.conversion.tensors import LazyTensor
from mlx_canary.conversion.zip_entries import Entry, list_zip
from mlx_canary.errors import ConversionError

# A tensor takes about 200 bytes of pickle, its name included; the largest published model has 1510.
_PICKLE_FLOOR, _PICKLE_PER_ENTRY, _MAX_PICKLE = 1 << 20, 1024, 4 << 20
# One tied pair doubles its own bytes only; more aliasing than this is a bomb.
_MAX_ALIASING = 4


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
    if size > min(_PICKLE_FLOOR + _PICKLE_PER_ENTRY * len(entries), _MAX_PICKLE):
        raise ConversionError(f"{what} has {size} bytes of pickle for {len(entries)} entries. Do not trust this file.")
    rebuild = Rebuild(entries, f"{top}/data/", what)
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


def _name_tensors(found: object, buffer: memoryview, what: str) -> dict[str, LazyTensor]:
    if not isinstance(found, dict):
        raise ConversionError(f"{what} holds a {type(found).__name__}; expected a dict of tensors.")
    tensors: dict[str, LazyTensor] = {}
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ConversionError(
                f"{what} has {str(name)[:200]!r}, a {type(value).__name__}, among its tensors. "
                "Expected a plain state dict; training checkpoints keep theirs under 'state_dict'."
            )
        entry = value.storage.entry
        window = buffer[entry.start : entry.end]
        layout = (value.shape, value.dtype, value.storage.key, value.offset, value.strides)
        tensors[name] = LazyTensor(name, *layout, window, entry.crc)
    if sum(tensor.n_bytes for tensor in tensors.values()) > _MAX_ALIASING * len(buffer):
        raise ConversionError(f"{what} has tensors that repeat its {len(buffer)} bytes many times. Do not trust it.")
    return tensors
