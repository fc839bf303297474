"""espeak-ng: a sentence in, speech with exact word times out.

Drives the shared library, whose word events carry the sample at which each
word begins. About 98 variants by accents, rates and pitches; its output is
free of the program's licence. Knows nothing about where sentences come from.
"""

import ctypes
import functools
import random
import re
from pathlib import Path

import numpy as np
import soxr

VOICES = {
    "en": ("en-us", "en-us", "en-gb", "en-gb-x-rp", "en-gb-scotland", "en-029"),
    "de": ("de",),
    "es": ("es", "es-419"),
    "fr": ("fr", "fr-be", "fr-ch"),
}
HELD_OUT = ("m3", "f4", "Andrea", "klatt3", "iven3", "linda", "max", "steph2", "michel", "Alicia")
UNCLEAR = {
    "whisper", "whisperf", "Demonic", "croak", "fast", "UniRobot", "Tweaky", "robosoft", "robosoft2", "robosoft4",
    "robosoft6", "robosoft7", "AnxiousAndy", "anikaRobot", "klatt5", "klatt6",
}  # fmt: skip
SYNCHRONOUS, WORD, RATE, PITCH, UTF8 = 2, 1, 1, 3, 1


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int), ("unique", ctypes.c_uint), ("text_position", ctypes.c_int), ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int), ("sample", ctypes.c_int), ("user", ctypes.c_void_p), ("id", _Id),
    ]  # fmt: skip


class _Library:
    """The loaded library with its callback; one per process."""

    def __init__(self) -> None:
        self.lib = ctypes.CDLL("libespeak-ng.so.1")
        self.lib.espeak_ng_GetSampleRate.restype = ctypes.c_int
        self.rate = self.lib.espeak_Initialize(SYNCHRONOUS, 200, None, 0)
        self.blocks: list[np.ndarray] = []
        self.events: list[tuple[int, int]] = []
        signature = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
        self.callback = signature(self._receive)  # kept: ctypes does not hold it
        self.lib.espeak_SetSynthCallback(self.callback)

    def _receive(self, wave, n_samples, events) -> int:
        if n_samples > 0:
            self.blocks.append(np.ctypeslib.as_array(wave, (n_samples,)).copy())
        i = 0
        while events[i].type != 0:
            if events[i].type == WORD:
                self.events.append((events[i].text_position - 1, events[i].sample))
            i += 1
        return 0

    def say(self, text: str, voice: str, rate: int, pitch: int) -> bool:
        self.blocks, self.events = [], []
        if self.lib.espeak_SetVoiceByName(voice.encode()) != 0:
            return False
        self.lib.espeak_SetParameter(RATE, rate, 0)
        self.lib.espeak_SetParameter(PITCH, pitch, 0)
        encoded = text.encode()
        self.lib.espeak_Synth(encoded, len(encoded) + 1, 0, 0, 0, UTF8, None, None)
        self.lib.espeak_Synchronize()
        return bool(self.blocks)


@functools.cache
def library() -> _Library:
    return _Library()


@functools.cache
def variants() -> tuple[str, ...]:
    (folder,) = Path("/usr/lib").glob("*/espeak-ng-data/voices/!v")
    return tuple(sorted(p.name for p in folder.iterdir() if p.name not in UNCLEAR and p.name not in HELD_OUT))


def speak(text: str, lang: str, rng: random.Random, held_out: bool) -> tuple[np.ndarray, tuple[float, ...], str] | None:
    """Samples (N,) float32 at 16 kHz, word times in seconds, speaker; None where it fails."""
    engine = library()
    voice = f"{rng.choice(VOICES[lang])}+{rng.choice(HELD_OUT if held_out else variants())}"
    if not engine.say(text, voice, rng.randint(115, 205), rng.randint(20, 80)):
        return None
    samples = soxr.resample(np.concatenate(engine.blocks).astype(np.float32) / 32768, engine.rate, 16_000)
    starts: list[float] = []
    for match in re.finditer(r"\S+", text):
        inside = [sample for position, sample in engine.events if match.start() <= position < match.end()]
        if not inside:
            return None
        starts.append(inside[0] / engine.rate)
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    return samples, (*starts, float(loud[-1]) / 16_000), voice
