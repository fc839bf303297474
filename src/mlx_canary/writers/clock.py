"""Seconds as the formats write them. Rounds before it divides, so no 60.000 seconds."""

from __future__ import annotations

import math


def milliseconds(time: float) -> int:
    """The nearest millisecond, halves upwards."""
    return math.floor(time * 1000 + 0.5)


def centiseconds(time: float) -> int:
    """The nearest centisecond of the nearest millisecond, halves upwards: what is 10 ms apart stays apart."""
    return (milliseconds(time) + 5) // 10


def srt_time(time: float) -> str:
    """01:02:03,456"""
    return vtt_time(time).replace(".", ",")


def vtt_time(time: float) -> str:
    """01:02:03.456; hours take more digits where they need them."""
    seconds, ms = divmod(milliseconds(time), 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}.{ms:03d}"


def ass_time(time: float) -> str:
    """1:02:03.46"""
    seconds, cs = divmod(centiseconds(time), 100)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}.{cs:02d}"


def lrc_time(time: float) -> str:
    """62:03.46; the format has no hours."""
    seconds, cs = divmod(centiseconds(time), 100)
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes:02d}:{seconds:02d}.{cs:02d}"
