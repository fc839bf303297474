"""Where the entries of a stored zip lie: the bytes of a zip in, names and spans out.

Accepts only what torch writes: nothing compressed, nothing encrypted, one disk, ZIP64 where needed. Every
entry is checked against its local header, its neighbours and the end of the file. Unlike the standard
library's zipfile it takes the data offsets from the local headers, and no memory on a header's word.
"""

import itertools
import struct
from collections.abc import Iterator
from typing import NamedTuple

from mlx_canary.conversion.sniff import looks_like
from mlx_canary.errors import ConversionError

_MAX_ENTRIES, _MAX_DIRECTORY = 100_000, 64 << 20
_END = struct.Struct("<4s4H2IH")
_END64_LOCATOR = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ2H2I4Q")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_FULL32 = 0xFFFFFFFF
_ENCRYPTED = 1 | 1 << 6 | 1 << 13


class Entry(NamedTuple):
    """A stored file: its bytes are `data[start:end]`."""

    name: str
    header: int
    start: int
    end: int
    crc: int


class _Directory(NamedTuple):
    n_entries: int
    start: int
    size: int


def list_zip(data: memoryview, what: str) -> dict[str, Entry]:
    """Find every entry of a zip archive.

    Args:
        data: The whole archive.
        what: Its name, for messages.

    Raises:
        ConversionError: It is no zip, is damaged, or has entries that torch does not write.
    """
    directory = _find_directory(data, what)
    entries: dict[str, Entry] = {}
    for entry in _read_directory(data, directory, what):
        if entry.name in entries:
            raise ConversionError(f"{what} holds the entry {entry.name!r} twice, so its meaning is unclear.")
        entries[entry.name] = entry
    _check_overlaps(list(entries.values()), what)
    return entries


def _find_directory(data: memoryview, what: str) -> _Directory:
    head = bytes(data[:512])
    if head[:4] != b"PK\x03\x04":
        raise ConversionError(f"{what} is not a torch checkpoint: it looks like {looks_like(head)}.")
    at = len(data) - _END.size
    end = _END.unpack_from(data, at) if at >= 0 else (b"",)
    if end[0] != b"PK\x05\x06":
        raise ConversionError(f"{what} is truncated: it does not end with a zip directory. Download it again.")
    _, disk, first_disk, _, n_entries, size, start, _ = end
    if at >= _END64_LOCATOR.size and bytes(data[at - _END64_LOCATOR.size :][:4]) == b"PK\x06\x07":
        at, (disk, first_disk, n_entries, size, start) = _read_end64(data, at - _END64_LOCATOR.size, what)
    # Exactly before its end record, so that nothing can hide between the two.
    if disk or first_disk or start + size != at or n_entries * _CENTRAL.size > size:
        raise ConversionError(f"{what} is damaged: its zip directory is not where its end record says.")
    if n_entries > _MAX_ENTRIES or size > _MAX_DIRECTORY:
        raise ConversionError(f"{what} has {n_entries} zip entries in {size} bytes; a checkpoint has a few thousand.")
    return _Directory(n_entries, start, size)


def _read_end64(data: memoryview, locator: int, what: str) -> tuple[int, tuple[int, int, int, int, int]]:
    _, _, at, _ = _END64_LOCATOR.unpack_from(data, locator)
    if at + _END64.size > locator or bytes(data[at : at + 4]) != b"PK\x06\x06":
        raise ConversionError(f"{what} is damaged: its ZIP64 end record is missing.")
    _, _, _, _, disk, first_disk, _, n_entries, size, start = _END64.unpack_from(data, at)
    return at, (disk, first_disk, n_entries, size, start)


def _read_directory(data: memoryview, directory: _Directory, what: str) -> Iterator[Entry]:
    at, end = directory.start, directory.start + directory.size
    for _ in range(directory.n_entries):
        if at + _CENTRAL.size > end:
            raise ConversionError(f"{what} is damaged: its zip directory ends early.")
        fields = _CENTRAL.unpack_from(data, at)
        n_name, n_extra, n_comment = fields[10:13]
        name_at = at + _CENTRAL.size
        at = name_at + n_name + n_extra + n_comment
        if fields[0] != b"PK\x01\x02" or at > end:
            raise ConversionError(f"{what} is damaged: its zip directory cannot be read.")
        name = bytes(data[name_at : name_at + n_name])
        extra = bytes(data[name_at + n_name : name_at + n_name + n_extra])
        yield _locate(data, name, fields, extra, directory.start, what)


def _locate(data: memoryview, raw_name: bytes, fields: tuple[int, ...], extra: bytes, limit: int, what: str) -> Entry:
    """Follow a directory entry to its local header and its bytes."""
    flags, method, crc = fields[3], fields[4], fields[7]
    name = raw_name.decode("utf-8", "backslashreplace")
    shown = f"Entry {name[:200]!r} of {what}"
    if flags & _ENCRYPTED:
        raise ConversionError(f"{shown} is encrypted; only open checkpoints are read.")
    if method:
        raise ConversionError(f"{shown} is compressed (method {method}); torch stores entries as they are.")
    size, stored, header = _sizes64(fields[9], fields[8], fields[16], extra, shown)
    local = _LOCAL.unpack_from(data, header) if header + _LOCAL.size <= limit else (b"",) + (0,) * 10
    start = header + _LOCAL.size + local[9] + local[10]
    in_place = bytes(data[header + _LOCAL.size :][: local[9]]) == raw_name and start + size <= limit
    if local[0] != b"PK\x03\x04" or local[3] or local[2] & _ENCRYPTED or size != stored or not in_place:
        raise ConversionError(f"{shown} is damaged: it is not where the zip directory says, or ends outside the file.")
    return Entry(name, header, start, start + size, crc)


def _sizes64(size: int, stored: int, header: int, extra: bytes, shown: str) -> tuple[int, int, int]:
    """Replace the values that do not fit 32 bits by those of the ZIP64 record, which lists only them."""
    values = [size, stored, header]
    wide = [index for index, value in enumerate(values) if value == _FULL32]
    if not wide:
        return size, stored, header
    record = _extra_field(extra, 1)
    if len(record) < 8 * len(wide):
        raise ConversionError(f"{shown} is damaged: its ZIP64 sizes are missing.")
    for index, value in zip(wide, struct.unpack_from(f"<{len(wide)}Q", record), strict=True):
        values[index] = value
    return values[0], values[1], values[2]


def _extra_field(extra: bytes, wanted: int) -> bytes:
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, at)
        if kind == wanted:
            return extra[at + 4 : at + 4 + size]
        at += 4 + size
    return b""


def _check_overlaps(entries: list[Entry], what: str) -> None:
    entries = sorted(entries, key=lambda entry: entry.header)
    for entry, following in itertools.pairwise(entries):
        if entry.end > following.header:
            raise ConversionError(
                f"Entries {entry.name!r} and {following.name!r} of {what} overlap. Do not trust this file."
            )
