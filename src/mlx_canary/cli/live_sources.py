"""Where live sound comes from: a microphone, a recording played in real time, raw samples on standard input.

Each gives blocks of about a tenth of a second, `Audio` with its rate.
"""

from __future__ import annotations

import logging
import math
import queue
import sys
import time
from collections.abc import Iterator
from io import BufferedReader
from typing import Any, cast

import numpy as np

from mlx_canary.audio.load import iter_audio
from mlx_canary.audio.samples import to_float
from mlx_canary.errors import AudioError
from mlx_canary.types import Audio

BLOCK = 0.1  # seconds
RAW_RATE = 16_000
_RAW_WIDTH = 2  # bytes of a sample
# When so much sound waits, this machine is too slow; the oldest would have to be thrown away soon.
_MOST_WAITING = 60.0  # seconds
# A Mac gives a program that may not use the microphone zeros. So long from the beginning they are told.
_SUSPICIOUS = 3.0  # seconds
_ON_A_MAC = "On a Mac, allow the terminal to use it: System Settings, Privacy & Security, Microphone."
_log = logging.getLogger(__name__)


def recording(source: str, sample_rate: int, in_real_time: bool) -> Iterator[Audio]:
    """A recording, at the speed at which it was spoken or as fast as it is taken."""
    started, heard = time.monotonic(), 0.0
    for block in iter_audio(source, sample_rate=sample_rate, block_seconds=BLOCK):
        heard += len(block) / sample_rate
        if in_real_time:
            time.sleep(max(0.0, started + heard - time.monotonic()))
        yield Audio(block, sample_rate)


def raw_stdin() -> Iterator[Audio]:
    """Samples of 16 bits, little-endian, one channel, 16 kHz."""
    size = round(BLOCK * RAW_RATE) * _RAW_WIDTH
    rest, stdin = b"", cast(BufferedReader, sys.stdin.buffer)
    while data := stdin.read1(size):
        data = rest + data
        n_whole = len(data) // _RAW_WIDTH * _RAW_WIDTH
        rest = data[n_whole:]
        yield Audio(to_float(np.frombuffer(data[:n_whole], "<i2")), RAW_RATE)


def microphone(device: str | None) -> Iterator[Audio]:
    """A microphone, until the caller stops.

    Raises:
        AudioError: There is none, it may not be used, or this machine is too slow for it.
    """
    sounddevice = _sounddevice()
    chosen = int(device) if device is not None and device.isdigit() else device
    blocks: queue.Queue[Any] = queue.Queue()
    try:
        rate = int(sounddevice.query_devices(chosen, "input")["default_samplerate"])
        stream = sounddevice.InputStream(
            samplerate=rate,
            blocksize=round(BLOCK * rate),
            device=chosen,
            channels=1,
            dtype="float32",
            callback=lambda data, frames, when, status: blocks.put(data[:, 0].copy()),
        )
        stream.start()
    except (ValueError, sounddevice.PortAudioError) as error:
        raise AudioError(
            f"The microphone cannot be used ({error}). `mlx-canary live --list-devices` lists what there is; "
            f"choose one with --device. {_ON_A_MAC} Without one, use --file."
        ) from error
    silent = 0.0
    with stream:
        while True:
            block = blocks.get()
            silent = -math.inf if block.any() else silent + BLOCK
            if silent >= _SUSPICIOUS:
                silent = -math.inf
                _log.warning("The microphone gives nothing, not even noise: it is off, or not allowed. %s", _ON_A_MAC)
            yield Audio(block, rate)
            if blocks.qsize() * BLOCK > _MOST_WAITING:
                raise AudioError(
                    f"This machine is more than {_MOST_WAITING:.0f} s behind. Use a smaller model or a longer --chunk."
                )


def device_names() -> list[str]:
    """Every microphone with its number; the one that is taken by default has a star.

    Raises:
        AudioError: The extra is missing.
    """
    sounddevice = _sounddevice()
    default = sounddevice.default.device[0]
    devices = [device for device in sounddevice.query_devices() if device["max_input_channels"] > 0]
    return [f"{'*' if d['index'] == default else ' '} {d['index']:2}  {d['name']}" for d in devices]


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError as error:
        raise AudioError(
            "The microphone needs the package of the extra 'live'. Install it with: pip install sounddevice"
        ) from error
    except OSError as error:
        raise AudioError(
            f"The microphone needs the library PortAudio ({error}). On Debian or Ubuntu: apt install libportaudio2."
        ) from error
    return sounddevice
