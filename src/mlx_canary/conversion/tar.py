"""Where the members of a tar lie: the bytes of an archive in, names and spans out.

Reads the ustar, GNU and PAX formats. Unlike the standard library's tarfile it stops at the first doubt
(tarfile ends its list quietly at a damaged header) and takes no memory on a header's word.
Writes and extracts nothing.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from mlx_canary.errors import ConversionError

_BLOCK = 512
_MAX_HEADERS = 10_000
_MAX_EXTENDED_HEADER = 1 << 16
_PAX_LENGTH = re.compile(rb"(\d{1,5}) ")
_FILES, _FOLDER = (b"0", b"\0", b"7"), b"5"
_REFUSED = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a named pipe",
    b"S": "a sparse file",
}


class Span(NamedTuple):
    """Where a member's bytes are in its file."""

    offset: int
    size: int


def list_tar(data: memoryview, what: str) -> dict[str, Span]:
    """Find every file in a tar archive.

    Args:
        data: The whole archive.
        what: Its name, for messages.

    Returns:
        Normalised member names and where their bytes are. Folders are left out.

    Raises:
        ConversionError: The archive is damaged, or holds anything but plain files under plain names.
    """
    files: dict[str, Span] = {}
    for name, kind, span in _members(data, what):
        clean = normal_name(name, what)
        if kind == _FOLDER:
            continue
        if kind not in _FILES:
            found = _REFUSED.get(kind, f"of the unknown type {kind!r}")
            raise ConversionError(f"Member {clean!r} of {what} is {found}; only plain files are read.")
        if clean in files:
            raise ConversionError(f"{what} holds {clean!r} twice, so its meaning is unclear. Pack it again.")
        files[clean] = span
    return files


def normal_name(name: str, what: str) -> str:
    """A member's name without `./`; refuses names that could point outside the archive."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\\" in name or "\0" in name or name[1:2] == ":":
        raise ConversionError(f"Member {name[:200]!r} of {what} points outside the archive. Do not trust this file.")
    return "/".join(parts)


def _members(data: memoryview, what: str) -> Iterator[tuple[str, bytes, Span]]:
    """Walk the headers; long names and PAX records are joined to the member that they describe."""
    position, extra = 0, dict[str, str]()
    for _ in range(_MAX_HEADERS):
        header = bytes(data[position : position + _BLOCK])
        if len(header) == _BLOCK and not any(header):
            return
        _check_header(header, position, what)
        kind = header[156:157]
        size = _number(header[124:136], what)
        if kind not in b"xgLK" and "size" in extra:
            size = _decimal(extra["size"], what)
        start = position + _BLOCK
        if size > len(data) - start:
            raise ConversionError(
                f"{what} is truncated: a member at byte {position} should have {size} bytes, "
                f"{max(len(data) - start, 0)} are left. Download it again."
            )
        position = start + -(-size // _BLOCK) * _BLOCK
        if kind in b"xgLK":
            records = _extended(kind, bytes(data[start : start + _bounded(size, what)]), what)
            extra.update(records)
            continue
        yield extra.get("path") or _ustar_name(header, what), kind, Span(start, size)
        extra = {}
    raise ConversionError(f"{what} has more than {_MAX_HEADERS} members; a .nemo file has a few dozen.")


def _check_header(header: bytes, position: int, what: str) -> None:
    if len(header) < _BLOCK:
        raise ConversionError(
            f"{what} is truncated: the archive has no end mark after byte {position}. Download it again."
        )
    rest = header[:148] + b" " * 8 + header[156:]
    # Very old writers summed signed bytes.
    sums = {sum(rest), sum(byte - 256 if byte > 127 else byte for byte in rest)}
    if _number(header[148:156], what) not in sums:
        raise ConversionError(f"{what} is damaged: the tar header at byte {position} has a wrong checksum.")


def _extended(kind: bytes, body: bytes, what: str) -> dict[str, str]:
    if kind == b"L":
        return {"path": _text(body.rstrip(b"\0"), what)}
    if kind == b"x":
        return _pax(body, what)
    # Global records and long link names describe nothing that is read here.
    return {}


def _pax(body: bytes, what: str) -> dict[str, str]:
    """Records of the form `LENGTH KEY=VALUE` and a newline, where LENGTH counts the whole record."""
    records: dict[str, str] = {}
    position = 0
    while position < len(body) and body[position]:
        length = _PAX_LENGTH.match(body, position)
        end = position + int(length[1]) if length else position
        key, equals, value = body[length.end() if length else end : max(end - 1, 0)].partition(b"=")
        if not equals or body[end - 1 : end] != b"\n":
            raise ConversionError(f"{what} is damaged: it has a PAX header that cannot be read.")
        if key.startswith(b"GNU.sparse"):
            raise ConversionError(f"{what} has a sparse member; only plain files are read. Pack it again.")
        if key in (b"path", b"size"):
            records[key.decode()] = _text(value, what)
        position = end
    return records


def _ustar_name(header: bytes, what: str) -> str:
    name = _text(header[:100].split(b"\0")[0], what)
    prefix = header[345:500].split(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return f"{_text(prefix, what)}/{name}" if prefix else name


def _number(field: bytes, what: str) -> int:
    """Octal digits, or base 256 where the first bit is set (files over 8 GiB)."""
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b"\0 ")
    if not re.fullmatch(rb"[0-7]*", digits):
        raise ConversionError(f"{what} is damaged: a tar header holds {digits[:20]!r} where a number belongs.")
    return int(digits or b"0", 8)


def _decimal(text: str, what: str) -> int:
    if not re.fullmatch(r"[0-9]{1,19}", text):
        raise ConversionError(f"{what} is damaged: a PAX header gives the size {text[:20]!r}.")
    return int(text)


def _bounded(size: int, what: str) -> int:
    if size > _MAX_EXTENDED_HEADER:
        raise ConversionError(f"{what} has a {size}-byte PAX header; a name needs a few hundred.")
    return size


def _text(raw: bytes, what: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ConversionError(f"{what} has a member whose name is not UTF-8: {raw[:80]!r}.") from None
