"""Speech whose word times are known: sentences in, recordings and the beginning and end of every word out.

    python tools/spoken_words.py sentences.txt OUT.npz

Each line of sentences.txt is a language (en, de, es, fr), a tab and a sentence. espeak-ng's library speaks it in a
voice that the demo model's training leaves out and reports when each word and each sound begins; a word ends where a
pause or the next word begins. Knows nothing about alignment.
"""

from __future__ import annotations

import ctypes
import json
import random
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soxr

RATE = 16_000
VOICES = {"en": ("en-us", "en-gb", "en-gb-scotland"), "de": ("de",), "es": ("es", "es-419"), "fr": ("fr", "fr-be")}
VARIANTS = ("m3", "f4", "Andrea", "klatt3", "iven3", "linda", "max", "steph2", "michel", "Alicia")
WORD, PHONEME = 1, 7


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user", ctypes.c_void_p),
        ("id", _Id),
    )


@dataclass
class Espeak:
    """The library, told to report words and phonemes."""

    blocks: list[np.ndarray] = field(default_factory=list)
    words: list[tuple[int, int]] = field(default_factory=list)  # position in the text, sample
    pauses: list[int] = field(default_factory=list)  # sample

    def __post_init__(self) -> None:
        self.library = ctypes.CDLL("libespeak-ng.so.1")
        synchronous, phoneme_events = 2, 1
        self.rate = self.library.espeak_Initialize(synchronous, 200, None, phoneme_events)
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
        self.callback = kind(self._receive)  # kept, for ctypes does not hold it
        self.library.espeak_SetSynthCallback(self.callback)

    def _receive(self, wave, n_samples, events) -> int:
        if n_samples > 0:
            self.blocks.append(np.ctypeslib.as_array(wave, (n_samples,)).copy())
        i = 0
        while events[i].type != 0:
            if events[i].type == WORD:
                self.words.append((events[i].text_position - 1, events[i].sample))
            elif events[i].type == PHONEME and bytes(events[i].id.string).startswith(b"_"):
                self.pauses.append(events[i].sample)
            i += 1
        return 0

    def say(self, text: str, voice: str, rate: int, pitch: int) -> tuple[np.ndarray, list[float], list[float]] | None:
        """Samples (N,) float32 at 16 kHz, starts and ends of the words; None where a word has no event of its own."""
        self.blocks, self.words, self.pauses = [], [], []
        if self.library.espeak_SetVoiceByName(voice.encode()) != 0:
            return None
        self.library.espeak_SetParameter(1, rate, 0)
        self.library.espeak_SetParameter(3, pitch, 0)
        encoded = text.encode()
        self.library.espeak_Synth(encoded, len(encoded) + 1, 0, 0, 0, 1, None, None)
        self.library.espeak_Synchronize()
        samples = np.concatenate(self.blocks).astype(np.float32) / 32768
        starts = []
        for match in re.finditer(r"\S+", text):
            inside = [sample for position, sample in self.words if match.start() <= position < match.end()]
            if not inside:
                return None
            starts.append(inside[0])
        ends = []
        for start, following in zip(starts, [*starts[1:], len(samples)], strict=True):
            pauses = [sample for sample in self.pauses if start < sample <= following]
            ends.append(min([following, *pauses]))
        return (
            soxr.resample(samples, self.rate, RATE).astype(np.float32),
            [n / self.rate for n in starts],
            [n / self.rate for n in ends],
        )


def main() -> None:
    sentences, out = sys.argv[1:]
    rng, engine = random.Random(1), Espeak()
    rows, sounds = [], []
    for line in Path(sentences).read_text(encoding="utf-8").splitlines():
        lang, text = line.split("\t")
        voice = f"{rng.choice(VOICES[lang])}+{rng.choice(VARIANTS)}"
        said = engine.say(text, voice, rng.randint(115, 205), rng.randint(20, 80))
        if said is None:
            continue
        samples, starts, ends = said
        sounds.append(np.round(samples / np.abs(samples).max() * 16_000).astype(np.int16))
        rows.append({"lang": lang, "text": text, "voice": voice, "starts": starts, "ends": ends})
    np.savez(out, audio=np.concatenate(sounds), lengths=[len(sound) for sound in sounds], rows=json.dumps(rows))
    print(f"{len(rows)} recordings, {sum(map(len, sounds)) / RATE / 60:.1f} minutes, {out}")


if __name__ == "__main__":
    main()
