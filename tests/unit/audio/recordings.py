"""Makes the recordings that the tests of loading read: real files, small, the same every time."""

from __future__ import annotations

import io
import struct
import tempfile
from collections.abc import Callable
from typing import Any

import av
import numpy as np

RATE = 16_000


def tone(seconds: float = 1.0, rate: int = RATE, hertz: float = 440.0, gain: float = 0.25) -> np.ndarray:
    """(N,) int16."""
    t = np.arange(round(seconds * rate)) / rate
    return (np.sin(2 * np.pi * hertz * t) * gain * 32767).astype(np.int16)


def noise(n_samples: int, seed: int = 0) -> np.ndarray:
    """(N,) int16 over the whole range."""
    return np.random.default_rng(seed).integers(-(2**15), 2**15, n_samples).astype(np.int16)


def wav(samples: np.ndarray, rate: int = RATE, code: int = 1, bits: int = 16, n_channels: int = 1) -> bytes:
    """A WAV file around samples as they lie in memory; code 1 is PCM, 3 float, 7 mu-law."""
    data = samples.tobytes()
    n_bytes = bits // 8 * n_channels
    fmt = struct.pack("<HHIIHH", code, n_channels, rate, rate * n_bytes, n_bytes, bits)
    chunks = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def encode(samples: np.ndarray, container: str, codec: str, rate: int = RATE, layout: str = "mono") -> bytes:
    """Samples (N,) or (N, C) int16 in any container and coding that FFmpeg writes."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        add_sound(output, output.add_stream(codec, rate=rate, layout=layout), samples, rate, layout)
    return file.getvalue()


def add_sound(output: Any, stream: Any, samples: np.ndarray, rate: int = RATE, layout: str = "mono") -> None:
    packed = np.ascontiguousarray(samples).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=layout)
    frame.sample_rate, frame.pts = rate, 0
    for packet in [*stream.encode(frame), *stream.encode(None)]:
        output.mux(packet)


def video(*tracks: np.ndarray) -> bytes:
    """An MP4 file of a black second with any number of sound tracks (N,) int16 at 16 kHz."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        pictures = output.add_stream("mpeg4", rate=25)
        pictures.width = pictures.height = 64
        pictures.pix_fmt = "yuv420p"
        sounds = [output.add_stream("aac", rate=RATE, layout="mono") for _ in tracks]
        for _ in range(25):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            output.mux(pictures.encode(frame))
        output.mux(pictures.encode(None))
        for stream, samples in zip(sounds, tracks, strict=True):
            add_sound(output, stream, samples)
    return file.getvalue()


def moved(
    sound: bytes,
    container: str,
    when: Callable[[float], float | None],
    pictures: tuple[float, float] | None = None,
    **options: str,
) -> bytes:
    """The packets of a sound file at other times (None leaves one out), beside pictures from one second to another."""
    with (
        tempfile.NamedTemporaryFile() as file,  # to move the index to the front FFmpeg opens it again
        av.open(io.BytesIO(sound)) as source,
    ):
        with av.open(file.name, "w", format=container, options=options) as output:
            _move(source, output, when, pictures)
        return file.read()


def _move(
    source: Any, output: Any, when: Callable[[float], float | None], pictures: tuple[float, float] | None
) -> None:
    track = source.streams.audio[0]
    packets = [] if pictures is None else _pictures(output, *pictures)
    stream = output.add_stream_from_template(track)
    for packet in source.demux(track):
        if packet.pts is not None and (time := when(float(packet.pts * packet.time_base))) is not None:
            packet.pts = packet.dts = round(time / packet.time_base)
            packet.stream = stream
            packets.append(packet)
    for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
        output.mux(packet)


def _pictures(output: Any, start: float, end: float) -> list[Any]:
    rate = 25
    stream = output.add_stream({"webm": "libvpx", "flv": "flv"}.get(output.format.name, "mpeg4"), rate=rate)
    stream.width = stream.height = 64
    stream.pix_fmt = "yuv420p"
    packets = []
    for number in range(round(start * rate), round(end * rate)):
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        frame.pts = number
        packets += stream.encode(frame)
    packets += stream.encode(None)
    for packet in packets:
        packet.dts = packet.pts
    return packets


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
