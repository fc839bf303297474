"""What FFmpeg misreads in WAV files: an open file in, what to do about it out.

Knows nothing about decoding.
"""

from __future__ import annotations

import os
import struct
from typing import IO

_EXTENSIBLE = 0xFFFE
_PLAIN_CODINGS = (1, 3)  # PCM and float
_MOST_CHUNKS = 64  # before the one that tells the format


def is_big_endian(file: IO[bytes]) -> bool:
    """Whether it is a RIFX file, whose samples FFmpeg takes for little-endian ones. It is left at its start."""
    file.seek(0)
    magic = file.read(4)
    file.seek(0)
    return magic == b"RIFX"


def width_as_valid_bits(file: IO[bytes]) -> tuple[int, bytes] | None:
    """Where the header tells how many bits of a sample are valid, and the width of the sample to put there.

    FFmpeg takes the one for the other: it reads 24 bits in 32 as a kind of float, and 20 in 32 as three bytes. The
    bits that are not valid are the lowest and zero. The file is left at its start; None where nothing is wrong.
    """
    file.seek(0)
    try:
        return _find_width(file)
    finally:
        file.seek(0)


def _find_width(file: IO[bytes]) -> tuple[int, bytes] | None:
    head = file.read(12)
    if head[:4] not in (b"RIFF", b"RF64", b"BW64") or head[8:] != b"WAVE":
        return None
    for _ in range(_MOST_CHUNKS):
        chunk = file.read(8)
        if len(chunk) < 8 or chunk[:4] == b"data":
            return None
        size = struct.unpack("<I", chunk[4:])[0]
        if chunk[:4] != b"fmt ":
            file.seek(size + size % 2, os.SEEK_CUR)
            continue
        start, fields = file.tell(), file.read(26)
        if size < 40 or len(fields) < 26:
            return None
        tag, width, _, valid, coding = struct.unpack("<H12xHHH4xH", fields)
        is_misread = tag == _EXTENSIBLE and coding in _PLAIN_CODINGS and 0 < valid < width
        return (start + 18, struct.pack("<H", width)) if is_misread else None
    return None
