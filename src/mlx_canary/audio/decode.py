"""Decode a sound or video file with FFmpeg's libraries: an open file in, blocks of float samples out.

FFmpeg sees the bytes of this one file and nothing else: it gets no file name, and opens no other file or
address. Knows nothing about paths, mixing or resampling.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import av
import numpy as np

from mlx_canary.audio.containers import READABLE, declared_seconds, describe_unreadable
from mlx_canary.audio.samples import Samples, check_sample_rate, check_samples, to_float
from mlx_canary.audio.timeline import Timeline
from mlx_canary.audio.wav import is_big_endian, width_as_valid_bits
from mlx_canary.errors import AudioError

_log = logging.getLogger("mlx_canary")

# Seconds that may be missing before that is worth a word: joins between tracks, a last packet cut in two.
_TOLERATED_LOSS = 0.5

_SILENCE_BLOCK = 2**16  # samples; a long gap takes no more memory than a short one


@dataclass
class _Progress:
    """What became of the file so far.

    Attributes:
        seconds: Sound decoded, and silence put in its gaps.
        gap_seconds: Silence put between frames, because their times leave it open.
        lost_seconds: Sound in packets that could not be decoded.
        stopped: Whether reading broke off before the end of the file.
        error: The last thing that went wrong.
    """

    seconds: float = 0.0
    gap_seconds: float = 0.0
    lost_seconds: float = 0.0
    stopped: bool = False
    error: Exception | None = None


def decode(file: IO[bytes], name: str, track_number: int | None = None) -> Iterator[tuple[Samples, int]]:
    """Decode the sound of a file, piece by piece.

    Of several sound tracks the one asked for is taken, or the one marked as default, else the first. Where it
    begins later than the recording, or its times have gaps, there is silence. Damaged parts are silent too where
    packets have times (MP4, MKV, WebM ...), and left out elsewhere; a file that ends early gives what is there.
    Gaps and damage are logged as a warning. A file of sound without any samples gives no pieces.

    Args:
        file: Seekable and open for reading.
        name: What to call it in messages.
        track_number: Of the sound tracks, from 0.

    Yields:
        Samples (C, n) float32 of C channels, at full scale 1.0, and their rate in Hz. C and the rate may
        change between pieces.

    Raises:
        AudioError: Not a sound or video file, no sound or no such track in it, nothing can be decoded, or float
            samples that are not finite or far outside [-1, 1].
    """
    progress = _Progress()
    is_big_endian_wav = is_big_endian(file)  # before FFmpeg moves about in it
    with _open_container(file, name) as container:
        track = _sound_track(container, name, track_number)
        timeline = Timeline(container, track)
        decoder = _decoder(container, track, is_big_endian_wav)
        is_float_pcm = decoder.name.startswith("pcm_f")
        for frame in _packed(_frames(container, track, decoder, progress), name):
            rate = check_sample_rate(frame.sample_rate, name)
            samples = _to_channels(frame)
            for silence in _silence(timeline.gap(frame.time, progress.seconds), len(samples), rate, progress):
                yield silence, rate
            if is_float_pcm:
                check_samples(samples, rate, name, start=progress.seconds)
            elif not np.isfinite(samples).all():  # what a lossy decoder may make of damage
                samples = np.nan_to_num(samples, posinf=0.0, neginf=0.0)
                progress.lost_seconds += samples.shape[1] / rate
                progress.error = ValueError("samples that are not finite")
            progress.seconds += samples.shape[1] / rate
            yield samples, rate
        declared = declared_seconds(container, track, file, timeline.delay)
        _report(progress, declared, name)


def estimated_duration(file: IO[bytes], name: str) -> float | None:
    """About how many seconds a file lasts, by its header or its size; None where FFmpeg cannot tell.

    Args:
        file: Seekable and open for reading.
        name: What to call it in messages.

    Raises:
        AudioError: Not a sound or video file.
    """
    with _open_container(file, name) as container:
        return None if container.duration is None else float(container.duration / av.time_base)


def _open_container(file: IO[bytes], name: str) -> Any:
    def refuse(url: str, flags: int, options: dict[str, str]) -> Any:
        raise AudioError(f"{name} points to another file, {url!r}, which is not opened.")

    try:
        return av.open(
            _Reader(file, name, width_as_valid_bits(file)),
            mode="r",
            # A playlist may name other files and addresses. Its readers are off, so is every protocol, and
            # what is still asked for is refused. The last two do not suffice: in PyAV 14 a DASH manifest gets
            # past them.
            container_options={"format_whitelist": READABLE, "protocol_whitelist": ""},
            io_open=refuse,
            **_tag_options(),
        )
    except av.FFmpegError as error:
        file.seek(0)
        raise AudioError(f"{name} {describe_unreadable(file.read(64))}") from error


def _tag_options() -> dict[str, Any]:
    """Tags in an old encoding must not make a recording unreadable. PyAV 19 reads them all, and lost the option."""
    return {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}


class _Reader:
    """All that FFmpeg sees of a file. It has no name, so that the content alone decides the format.

    Args:
        file: The file, at its start.
        name: What to call it in messages.
        patch: Where other bytes are seen than those in the file, and which.
    """

    def __init__(self, file: IO[bytes], name: str, patch: tuple[int, bytes] | None) -> None:
        self._file = file
        self._name = name
        self._patch = patch

    def read(self, size: int) -> bytes:
        start = self._file.tell() if self._patch else 0
        data = self._file.read(size)
        # PyAV copies what it gets into a buffer of `size` bytes without looking.
        if not isinstance(data, bytes) or len(data) > size:
            raise AudioError(f"{self._name}: read({size}) must give at most {size} bytes, as binary files do.")
        return _patched(data, start, *self._patch) if self._patch else data

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _patched(data: bytes, start: int, at: int, new: bytes) -> bytes:
    """What was read from `start`, with other bytes at a place in the file."""
    seen = bytearray(data)
    for place, byte in enumerate(new, at - start):
        if 0 <= place < len(seen):
            seen[place] = byte
    return bytes(seen)


def _sound_track(container: Any, name: str, number: int | None) -> Any:
    tracks = container.streams.audio
    if not tracks:
        # Not even the kinds of the other tracks are looked at: PyAV 14 crashes on a kind that FFmpeg does not know.
        raise AudioError(f"{name} has no sound: it is a file of kind {container.format.name} without a sound track.")
    if number is not None and number >= len(tracks):
        raise AudioError(f"{name} has no sound track {number}. It has {_list(tracks)}.")
    # Telephones write the same sound twice, once in a coding for headphones that FFmpeg does not know.
    known = [track for track in tracks if track.codec_context is not None]
    track = next(filter(_is_default, known), (known or tracks)[0]) if number is None else tracks[number]
    if track.codec_context is None:
        raise AudioError(f"{name} has sound in a coding that cannot be decoded. Convert it to WAV or FLAC.")
    if number is None and len(known) > 1:  # each may be another language, or another speaker
        chosen = next(n for n, each in enumerate(tracks) if each.index == track.index)
        _log.warning(
            "%s has several sound tracks: %s. Number %d is heard; --track (in Python: track) chooses another.",
            *(name, _list(tracks), chosen),
        )
    return track


def _list(tracks: Any) -> str:
    """How many tracks there are, with their languages as far as they are told."""
    languages = [track.metadata.get("language", "und") for track in tracks]
    numbers = ", ".join(str(n) if code == "und" else f"{n} ({code})" for n, code in enumerate(languages))
    return f"one, number {numbers}" if len(languages) == 1 else f"{len(languages)}, numbers {numbers}"


def _is_default(track: Any) -> bool:
    disposition = getattr(track, "disposition", None)  # PyAV tells it from 14.1 on
    return disposition is not None and bool(disposition & type(disposition).default)


def _decoder(container: Any, track: Any, is_big_endian_wav: bool) -> Any:
    found = track.codec_context
    if not (is_big_endian_wav and container.format.name == "wav" and found.name.endswith("le")):
        return found
    decoder: Any = av.CodecContext.create(f"{found.name[:-2]}be", "r")
    decoder.sample_rate, decoder.layout = found.sample_rate, found.layout
    return decoder


def _frames(container: Any, track: Any, decoder: Any, progress: _Progress) -> Iterator[Any]:
    """Every frame that can be decoded."""
    packets = container.demux(track)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:  # no more can be read, but the decoder may still hold good frames
            progress.stopped, progress.error = True, error
            packet = None
        except IndexError:  # PyAV, at the end of a file that has more streams than its beginning showed
            packet = None
        try:
            yield from decoder.decode(packet)
        except av.FFmpegError as error:
            if not isinstance(error, EOFError):
                progress.error = error
                if packet is not None and packet.duration and packet.time_base:
                    progress.lost_seconds += float(packet.duration * packet.time_base)
        except ValueError as error:  # PyAV 19, when it is asked again after its decoder could not be opened
            progress.error = progress.error or error
        if packet is None:
            return


def _packed(frames: Iterator[Any], name: str) -> Iterator[Any]:
    """Frames that PyAV can turn into arrays.

    It has no 64-bit integers, and reads past the end of the list of planes from eight planar channels on.
    """
    resampler, key = None, None
    for frame in frames:
        if not frame.format.name.startswith("s64") and not (frame.format.is_planar and frame.layout.nb_channels >= 8):
            yield frame
            continue
        if key != (key := (frame.format.name, frame.layout.name, frame.sample_rate)):
            resampler = av.AudioResampler(format="flt")
        assert resampler is not None
        try:
            packed = resampler.resample(frame)
        except av.FFmpegError as error:  # it takes 64 channels
            raise AudioError(
                f"{name} has {frame.layout.nb_channels} channels of {frame.format.name}, more than can be read."
            ) from error
        yield from packed


def _to_channels(frame: Any) -> Samples:
    samples = to_float(frame.to_ndarray())
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    return samples  # (C, n)


def _silence(seconds: float, n_channels: int, rate: int, progress: _Progress) -> Iterator[Samples]:
    """Zeros (C, n) for a gap, which is noted."""
    if progress.seconds:
        progress.gap_seconds += seconds
    n_samples = round(seconds * rate)
    progress.seconds += n_samples / rate
    for start in range(0, n_samples, _SILENCE_BLOCK):
        yield np.zeros((n_channels, min(_SILENCE_BLOCK, n_samples - start)), np.float32)


def _report(progress: _Progress, declared: float | None, name: str) -> None:
    """Say what is missing from what was decoded."""
    lost, gaps = progress.lost_seconds, progress.gap_seconds  # what is lost may have left a gap
    is_short = declared is not None and progress.seconds + max(0.0, lost - gaps) < declared - _TOLERATED_LOSS
    if progress.seconds == 0 and (is_short or progress.error):
        reason = _reason(progress.error) if progress.error else "it ends after its header"
        raise AudioError(f"{name} is damaged: none of its sound can be decoded ({reason}).")
    if is_short:
        seconds = progress.seconds
        _log.warning("%s is cut off or damaged: %.1f s of its %.1f s could be read.", name, seconds, declared)
    elif progress.stopped:
        _log.warning("%s cannot be read past %.1f s: %s.", name, progress.seconds, _reason(progress.error))
    if lost > _TOLERATED_LOSS:
        reason = _reason(progress.error)
        _log.warning("%s is damaged: about %.1f s of it could not be decoded (%s).", name, lost, reason)
    if gaps - lost > _TOLERATED_LOSS:
        _log.warning("%s has gaps in its sound, %.1f s in all; they are read as silence.", name, gaps - lost)


def _reason(error: Exception | None) -> str:
    """FFmpeg's own words, without number and file name."""
    return str(getattr(error, "strerror", None) or error)
