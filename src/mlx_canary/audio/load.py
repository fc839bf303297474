"""Read a recording: path, bytes, file object, standard input, URL or array in, Audio at the wanted rate out.

Any container and coding that FFmpeg's libraries read, inside PyAV's wheel; no ffmpeg program is needed.
Knows nothing about models: padding and features come later.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Literal, TypeAlias

import numpy as np

from mlx_canary.audio.decode import decode
from mlx_canary.audio.resample import resample
from mlx_canary.audio.samples import Samples, check_sample_rate, from_array
from mlx_canary.audio.sources import AudioSource, describe, open_source
from mlx_canary.errors import AudioError
from mlx_canary.types import Audio

Channel: TypeAlias = int | Literal["mix"]

MAX_DURATION = 24 * 3600.0
"""Longest recording that is read, in seconds: small files can claim to hold days of sound."""


def load_audio(
    source: AudioSource,
    *,
    sample_rate: int = 16_000,
    channel: Channel = "mix",
    track: int | None = None,
    max_duration: float = MAX_DURATION,
    name: str | None = None,
) -> Audio:
    """Read a recording as one channel, resampled.

    16-bit sound that is already at `sample_rate` comes out as int16 / 32768 exactly. Other rates are
    resampled with soxr (HQ); the length is rounded to the nearest sample. A sound file without samples gives an
    empty Audio. A file that ends early or is damaged in places gives what can be read, with a warning on the
    logger "mlx_canary".

    Times count from the beginning of the recording, as in players: where a video's sound track begins later,
    or has gaps, there is silence. That holds for files whose packets have times (MP4, MOV, MKV, WebM, FLV,
    ASF, MPEG). A time beyond the end of the file means nothing, nor one that goes back; where a file does not
    tell its end, gaps up to a minute are filled.

    Args:
        source: A path; bytes; a binary file object, read from its start if it can seek; "-" for standard
            input; an http(s) URL; or `Audio(samples, sample_rate)` with samples (N,) as a NumPy or MLX array
            of floats in [-1, 1], or of int16, int32 or uint8, which are scaled.
        sample_rate: Wanted rate in Hz.
        channel: "mix" for the mean of all channels, or the number of one, from 0.
        track: Which of several sound tracks, from 0; None for the one marked as default, else the first.
        max_duration: Longest recording to accept, in seconds.
        name: What to call the recording in messages; by default the path or address.

    Returns:
        Samples (N,) float32 at `sample_rate`, within [-1, 1] but for the overshoot that resampling and lossy
        codings bring.

    Raises:
        AudioError: The source is missing, unreadable, empty, too long, not sound or damaged throughout; it
            lacks the channel or the track; its samples are not finite or far outside [-1, 1]; or it is an array
            without a rate.
    """
    samples = bytearray()  # grows in place, so that a long recording is in memory once
    for block in iter_audio(
        source, sample_rate=sample_rate, channel=channel, track=track, max_duration=max_duration, name=name
    ):
        samples += block.tobytes()
    return Audio(np.frombuffer(samples, np.float32), sample_rate)


def iter_audio(
    source: AudioSource,
    *,
    sample_rate: int = 16_000,
    channel: Channel = "mix",
    track: int | None = None,
    block_seconds: float = 10.0,
    max_duration: float = MAX_DURATION,
    name: str | None = None,
) -> Generator[Samples, None, None]:
    """Read a recording in blocks, with memory that does not grow; together they are what `load_audio` gives.

    Args:
        source: As for `load_audio`.
        sample_rate: Wanted rate in Hz.
        channel: "mix" for the mean of all channels, or the number of one, from 0.
        track: Which of several sound tracks, from 0; None for the one marked as default, else the first.
        block_seconds: Length of every block but the last.
        max_duration: Longest recording to accept, in seconds.
        name: What to call the recording in messages; by default the path or address.

    Yields:
        Samples (n,) float32 at `sample_rate`.

    Raises:
        AudioError: As for `load_audio`; what is wrong further on is noticed there, after good blocks.
    """
    name = name or describe(source)
    check_sample_rate(sample_rate, "The wanted sound")
    if not 1 / sample_rate <= block_seconds <= MAX_DURATION:
        raise AudioError(f"block_seconds={block_seconds!r} is not between one sample and {MAX_DURATION:g} s.")
    pieces = _one_channel(_pieces(source, track, name), channel, name)
    samples = _bounded(resample(pieces, sample_rate), sample_rate, max_duration, name)
    yield from _blocks(samples, round(block_seconds * sample_rate))


def _pieces(source: AudioSource, track: int | None, name: str) -> Iterator[tuple[Samples, int]]:
    """The source's samples (C, n) with their rate."""
    if track is not None and (isinstance(track, bool) or not isinstance(track, int | np.integer) or track < 0):
        raise AudioError(f"track={track!r} is not the number of a sound track, from 0.")
    if isinstance(source, Audio):
        if track is not None:
            raise AudioError(f"{name} has no tracks: track={track} is for files.")
        audio = from_array(source, name)
        yield audio.samples[np.newaxis], audio.sample_rate
        return
    with open_source(source, name) as file:
        yield from decode(file, name, track)


def _one_channel(pieces: Iterable[tuple[Samples, int]], channel: Channel, name: str) -> Iterator[tuple[Samples, int]]:
    """(C, n) -> (n,)"""
    if channel != "mix" and (isinstance(channel, bool) or not isinstance(channel, int | np.integer) or channel < 0):
        raise AudioError(f"channel={channel!r} is neither 'mix' nor the number of a channel, from 0.")
    for samples, rate in pieces:
        n_channels = len(samples)
        if channel == "mix":
            yield samples.mean(axis=0), rate
        elif channel < n_channels:
            yield samples[channel], rate
        else:
            have = "1 channel, number 0" if n_channels == 1 else f"{n_channels} channels, numbers 0 to {n_channels - 1}"
            raise AudioError(f"{name} has no channel {channel}. It has {have}.")


def _bounded(pieces: Iterable[Samples], sample_rate: int, max_duration: float, name: str) -> Iterator[Samples]:
    n_samples = 0
    for samples in pieces:
        n_samples += len(samples)
        if n_samples > max_duration * sample_rate:
            raise AudioError(f"{name} is longer than the limit of {max_duration:g} s. Cut it into shorter ones.")
        yield samples


def _blocks(pieces: Iterable[Samples], n_samples: int) -> Iterator[Samples]:
    """The same samples in blocks of one size, but for the last."""
    block, filled = np.empty(n_samples, np.float32), 0
    for piece in pieces:
        while len(piece):
            part = piece[: n_samples - filled]
            block[filled : filled + len(part)] = part
            filled += len(part)
            piece = piece[len(part) :]
            if filled == n_samples:
                yield block
                block, filled = np.empty(n_samples, np.float32), 0
    if filled:
        yield block[:filled]
