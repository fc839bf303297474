"""SVOX Pico: a sentence in, speech out, without word times.

PyPI py-nanotts (Apache-2.0): one voice a language (two for English); speed
and pitch make variants. Knows nothing about where sentences come from.
"""

import functools
import random

import numpy as np

VOICES = {"en": ("en-US", "en-GB"), "de": ("de-DE",), "es": ("es-ES",), "fr": ("fr-FR",)}
# Pitches that training never hears: the nearest Pico has to a held-out voice.
HELD_OUT_PITCH = ((0.84, 0.88), (1.14, 1.18))
PITCH = ((0.7, 0.83), (0.89, 1.13), (1.19, 1.35))


@functools.cache
def engine():
    import py_nanotts

    return py_nanotts.NanoTTS()


def speak(text: str, lang: str, rng: random.Random, held_out: bool) -> tuple[np.ndarray, tuple[float, ...], str] | None:
    """Samples (N,) float32 at 16 kHz, no times, speaker."""
    voice = rng.choice(VOICES[lang])
    pitch = rng.uniform(*rng.choice(HELD_OUT_PITCH if held_out else PITCH))
    sound = engine().speak(text, voice=voice, speed=rng.uniform(0.8, 1.3), pitch=pitch)
    return np.frombuffer(sound, np.int16).astype(np.float32) / 32768, (), f"{voice} {pitch:.2f}"
