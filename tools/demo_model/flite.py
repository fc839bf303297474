"""Flite: an English sentence in, speech out, without word times.

Debian's flite (BSD-like), four voices cut from recordings of people. Knows
nothing about where sentences come from.
"""

import random
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import soxr

VOICES = ("slt", "rms", "awb", "kal16")


def speak(text: str, lang: str, rng: random.Random, held_out: bool) -> tuple[np.ndarray, tuple[float, ...], str] | None:
    """Samples (N,) float32 at 16 kHz, no times, speaker; English only."""
    voice = rng.choice(VOICES)
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch, "speech.wav")
        stretch = f"duration_stretch={rng.uniform(0.8, 1.25):.2f}"
        command = ["flite", "-voice", voice, "--setf", stretch, "-t", text, "-o", str(target)]
        subprocess.run(command, check=True, capture_output=True)
        samples, rate = soundfile.read(target, dtype="float32")
    return soxr.resample(samples, rate, 16_000).astype(np.float32), (), voice
