"""A stranger's microphone: clean speech in, speech as it might arrive out.

Speed, gain, noise, reverberation, telephone band, companding, codecs, silence
around; and sounds that are no speech at all. Knows nothing about texts or models.
"""

import functools
import io
import random

import numpy as np
import soundfile
from scipy.signal import butter, fftconvolve, lfilter, resample_poly, sosfilt
from shards import SAMPLE_RATE

FULL = 32768.0


@functools.cache
def noises() -> list[np.ndarray]:
    """Two minutes of noise of unit power, in ten colours from white to brown: making it costs more than all the rest."""
    white = np.random.default_rng(5).standard_normal(120 * SAMPLE_RATE).astype(np.float32)
    shaped = [lfilter([1.0], [1.0, -pole], white) for pole in (0, 0, 0, 0, 0, 0.3, 0.6, 0.8, 0.9, 0.98)]
    return [(x / x.std()).astype(np.float32) for x in shaped]


def coloured_noise(n: int, rng: random.Random) -> np.ndarray:
    """Noise (n,) of unit power, white to brown."""
    noise = rng.choice(noises())
    begin = rng.randrange(len(noise) - n)
    return noise[begin : begin + n] * np.float32(rng.choice((-1, 1)))


def reverberate(x: np.ndarray, rng: random.Random) -> np.ndarray:
    """Convolve with an exponentially decaying random tail; the direct sound stays in place."""
    seconds = rng.uniform(0.08, 0.5)
    n = int(seconds * SAMPLE_RATE)
    tail = coloured_noise(n, rng) * np.exp(-6.9 * np.arange(n, dtype=np.float32) / n)
    tail[: int(0.003 * SAMPLE_RATE)] = 0
    tail *= rng.uniform(0.1, 0.7) / (np.sqrt((tail**2).sum()) + 1e-9)
    tail[0] = 1.0
    return fftconvolve(x, tail)[: len(x)].astype(np.float32)


def telephone(x: np.ndarray, rng: random.Random) -> np.ndarray:
    """Band of a telephone, now and then with the companding of G.711."""
    low, high = rng.uniform(150, 350), rng.uniform(3000, 3800)
    x = sosfilt(butter(3, [low, high], "band", fs=SAMPLE_RATE, output="sos"), x).astype(np.float32)
    if rng.random() < 0.5:
        peak = np.abs(x).max() + 1e-9
        law = np.sign(x) * np.log1p(255 * np.abs(x / peak)) / np.log(256)
        law = np.round(law * 127) / 127
        x = (np.sign(law) * (256 ** np.abs(law) - 1) / 255 * peak).astype(np.float32)
    return x


def through_codec(x: np.ndarray, rng: random.Random) -> np.ndarray:
    """Encode and decode: a mobile phone's GSM 06.10, ADPCM, MP3 at a low rate, or (seldom, it is slow) Opus.

    Nothing moves in time by more than a sample.
    """
    (kind,) = rng.choices(("gsm", "adpcm", "mp3", "opus"), (4, 4, 4, 1))
    peak = np.abs(x).max() + 1e-9
    narrow = kind == "gsm" or (kind == "adpcm" and rng.random() < 0.5)
    sent, rate = (resample_poly(x, 1, 2), 8_000) if narrow else (x, SAMPLE_RATE)
    options = {
        "opus": {"format": "OGG", "subtype": "OPUS", "compression_level": rng.uniform(0.9, 1.0)},
        "mp3": {"format": "MP3", "subtype": "MPEG_LAYER_III", "compression_level": rng.uniform(0.85, 0.99)},
        "gsm": {"format": "WAV", "subtype": "GSM610"},
        "adpcm": {"format": "WAV", "subtype": "IMA_ADPCM"},
    }[kind]
    buffer = io.BytesIO()
    soundfile.write(buffer, sent / peak * 0.9, rate, **options)
    buffer.seek(0)
    heard = soundfile.read(buffer, dtype="float32")[0] * (peak / 0.9)
    heard = resample_poly(heard, 2, 1) if narrow else heard
    return np.pad(heard[: len(x)], (0, max(0, len(x) - len(heard)))).astype(np.float32)


def stretch(x: np.ndarray, factor: float) -> np.ndarray:
    """Play faster (factor > 1) or slower, pitch and all."""
    positions = np.arange(0, len(x) - 1, factor, dtype=np.float32)
    return np.interp(positions, np.arange(len(x), dtype=np.float32), x).astype(np.float32)


def distort(samples: np.ndarray, rng: random.Random, strength: float) -> tuple[np.ndarray, float, float]:
    """One way the speech might arrive.

    Args:
        samples: (N,) int16.
        strength: 0 for nearly clean to 1 for everything.

    Returns:
        Samples (M,) float32 in [-1, 1]; where the speech begins (s); by how much it plays faster.
    """
    x = samples.astype(np.float32) / FULL
    factor = rng.uniform(0.82, 1.2) if rng.random() < 0.6 * strength else 1.0
    if factor != 1.0:
        x = stretch(x, factor)
    if rng.random() < 0.3 * strength:
        x = reverberate(x, rng)
    if rng.random() < 0.3:
        pole = rng.uniform(-0.5, 0.6)  # a brighter or duller microphone
        x = lfilter([1.0 - abs(pole)], [1.0, -pole], x).astype(np.float32)
    front = int(quiet(rng) * SAMPLE_RATE)
    x = np.pad(x, (front, int(quiet(rng) * SAMPLE_RATE)))
    if rng.random() < 0.5 * strength:
        power = np.sqrt((x**2).mean()) + 1e-6
        x = x + coloured_noise(len(x), rng) * power * 10 ** (-rng.uniform(6, 40) / 20)
    elif rng.random() < 0.7:
        x = x + coloured_noise(len(x), rng) * 10 ** rng.uniform(-5, -3)
    if rng.random() < 0.25 * strength:
        x = telephone(x, rng)
    if rng.random() < 0.1 * strength:
        x = through_codec(x, rng)
    x = x * (10 ** rng.uniform(-1.2, 0.2) / (np.abs(x).max() + 1e-6))
    return np.clip(x, -1, 1).astype(np.float32), front / SAMPLE_RATE, factor


def quiet(rng: random.Random) -> float:
    """Seconds before or after the speech."""
    return rng.choice((0.0, rng.uniform(0, 0.6), rng.uniform(0, 2.0)))


def no_speech(rng: random.Random) -> np.ndarray:
    """Silence, noise, hum, clicks or a little music (N,) float32."""
    n = int(rng.uniform(0.5, 6) * SAMPLE_RATE)
    level = 10 ** rng.uniform(-4, -0.5)
    kind = rng.choice(("silence", "noise", "hum", "music", "clicks"))
    if kind == "silence":
        return coloured_noise(n, rng) * rng.choice((0.0, 1e-5, 1e-4))
    if kind == "noise":
        return np.clip(coloured_noise(n, rng) * level * 0.5, -1, 1)
    time = np.arange(n, dtype=np.float32) / SAMPLE_RATE
    if kind == "hum":
        base = rng.choice((50, 60, 100, rng.uniform(80, 1000)))
        sound = sum(np.sin(2 * np.pi * base * k * time) / k for k in range(1, rng.randint(2, 6)))
        return (sound * level * 0.3 + coloured_noise(n, rng) * level * 0.01).astype(np.float32)
    sound = np.zeros(n, np.float32)
    if kind == "clicks":
        for _ in range(rng.randint(1, 12)):
            at, length = rng.randrange(n), rng.randint(20, 800)
            part = sound[at : at + length]
            part += coloured_noise(len(part), rng) * np.exp(-5 * np.arange(len(part)) / length).astype(np.float32)
        return sound * level * 0.3 + coloured_noise(n, rng) * 1e-4
    begin, beat = 0, int(rng.uniform(0.12, 0.5) * SAMPLE_RATE)
    while begin < n:
        note = time[: min(beat * rng.randint(1, 3), n - begin)]
        for pitch in (rng.choice((0, 2, 4, 5, 7, 9, 11, 12)) for _ in range(rng.randint(1, 3))):
            base = 220 * 2 ** (pitch / 12) * rng.choice((0.5, 1, 2))
            tone = sum(np.sin(2 * np.pi * base * k * note) / k**1.5 for k in range(1, 5))
            sound[begin : begin + len(note)] += tone * np.exp(-note * rng.uniform(1, 6))
        begin += beat
    return (sound / (np.abs(sound).max() + 1e-6) * level + coloured_noise(n, rng) * 1e-4).astype(np.float32)
