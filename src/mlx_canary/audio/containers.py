"""Which containers are read, how their files are named, and how much sound they promise.

Knows nothing about decoding.
"""

from __future__ import annotations

import os
import struct
from typing import IO, Any

import av

# FFmpeg's readers of recordings, by its names. Left out on purpose are those that open other files or
# addresses (hls, dash, concat, sdp, rtsp, imf ...), pictures, subtitles, devices and the formats of games.
# A recording may come from anybody, and each reader is a way in.
_SOUND = """
    aa aac ac3 ac4 act aea aiff amr amrnb amrwb ape ast au avr bit caf codec2 dsf dss dts dtshd eac3 epaf flac
    g729 gsm iamf iff ilbc ircam lc3 loas mlp mp3 mpc mpc8 nistsphere nsp oma osq paf pvf qcp qoa rso sds sdx
    shn sox spdif tak truehd tta voc vqf w64 wav wavarc wsd wv wve xwma
"""
_VIDEO = """
    asf asf_o avi dhav dv flv gxf ivr kux live_flv lxf matroska mov mpeg mpegts mxf nsv nut ogg pva rm swf ty
    wtv
"""
READABLE = ",".join((_SOUND + _VIDEO).split())
"""Value for FFmpeg's `format_whitelist`."""

_ENDINGS = """
    3g2 3gp aac ac3 aif aifc aiff amr ape asf au avi caf dts dv eac3 f4v flac flv m2ts m4a m4b m4v mka mkv mov mp2
    mp3 mp4 mpeg mpg mpga mts mxf nut oga ogg ogv opus rm spx ts tta voc vob w64 wav weba webm wma wmv wv
"""
SUFFIXES = frozenset(f".{ending}" for ending in _ENDINGS.split())
"""What counts as a recording in a folder: ends of names, in small letters. A file that is named itself may have any."""

# Of these FFmpeg tells what the header says, or the last page. Of others it estimates from the bit rate.
_TELLS_DURATION = {"aiff", "avi", "caf", "flac", "matroska", "mov", "ogg", "wav", "w64"}

# What programs write into a RIFF header when they do not know the size yet lies at or above this.
_RIFF_UNKNOWN = 0x7FFFF000


def declared_seconds(container: Any, track: Any, file: IO[bytes], delay: float) -> float | None:
    """How long the file says its sound is, from where the recording begins; None where it does not say.

    Args:
        container: PyAV's open container.
        track: The sound track in it.
        file: The file itself; its position is kept.
        delay: Seconds from the beginning of the recording to that of the track.
    """
    if not _TELLS_DURATION.intersection(container.format.name.split(",")):
        return None
    bit_rate = track.codec_context.bit_rate
    if container.format.name == "wav" and bit_rate and (n_bytes := _riff_bytes_if_cut_off(file)):
        # FFmpeg takes the duration of such a file from what is there.
        return n_bytes * 8 / float(bit_rate)
    if track.duration is not None:
        return delay + float(track.duration * track.time_base)
    if len(container.streams) == 1 and container.duration is not None:
        return float(container.duration / av.time_base)
    return None


def _riff_bytes_if_cut_off(file: IO[bytes]) -> int | None:
    """The size in a RIFF header, if the file is shorter than that."""
    position = file.tell()
    file.seek(0)
    head = file.read(8)
    n_present = file.seek(0, os.SEEK_END)
    file.seek(position)
    if len(head) < 8 or not head.startswith(b"RIFF"):
        return None
    n_declared = int(struct.unpack("<I", head[4:])[0]) + 8
    return n_declared if n_present < n_declared < _RIFF_UNKNOWN else None


def describe_unreadable(head: bytes) -> str:
    """What a file that FFmpeg does not read may be, judged by its first bytes: the rest of a sentence."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"#extm3u", b"ffconcat", b"[playlist]", b"<asx")):
        return "is a list of other files, which are not opened. Give the recordings themselves."
    if text.startswith((b"<!doctype html", b"<html")):
        return "is a web page, not a recording."
    if head[4:8] == b"ftyp":
        return "is an MP4 file without a usable index: the recording was not finished, or the copy is incomplete."
    return "is not a sound or video file that can be read, or its beginning is damaged."
