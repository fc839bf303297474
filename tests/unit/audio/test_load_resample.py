"""Resampling, and reading in blocks."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import RATE, noise, rms, tone, wav

from mlx_canary.audio.load import iter_audio, load_audio
from mlx_canary.audio.resample import resample
from mlx_canary.errors import AudioError
from mlx_canary.types import Audio

DATA = Path(__file__).parents[2] / "data" / "audio"


@pytest.mark.parametrize("channel", [0, 1])
def test_resampling_is_what_nemo_gets_from_librosa(channel):
    """The recorded arrays are librosa's soxr_hq. Measured difference 0; the tolerance allows another soxr build."""
    expected = np.load(DATA / "stereo_44k1.soxr.npz")[f"channel_{channel}"]
    loaded = load_audio(DATA / "stereo_44k1.wav", channel=channel).samples
    np.testing.assert_allclose(loaded, expected, atol=1e-6)


def test_mixing_before_resampling_is_mixing_after():
    mixed = load_audio(DATA / "stereo_44k1.wav").samples
    channels = [load_audio(DATA / "stereo_44k1.wav", channel=k).samples for k in (0, 1)]
    np.testing.assert_allclose(mixed, np.mean(channels, axis=0), atol=1e-6)


@settings(deadline=None, max_examples=60)
@given(
    n_samples=st.integers(0, 20_000),
    rates=st.tuples(
        st.sampled_from([1000, 8000, 11025, 16_000, 22_050, 44_100, 48_000, 96_000]),
        st.sampled_from([8000, 16_000, 24_000, 44_100]),
    ),
)
def test_the_length_is_rounded(n_samples, rates):
    rate, wanted = rates
    exact = Fraction(n_samples * wanted, rate)
    loaded = load_audio(Audio(np.zeros(n_samples, np.float32), rate), sample_rate=wanted)
    assert abs(len(loaded.samples) - exact) <= Fraction(1, 2)


@settings(deadline=None, max_examples=40)
@given(cuts=st.lists(st.integers(0, 30_000), max_size=6), rate=st.sampled_from([8000, 16_000, 44_100]))
def test_the_size_of_the_pieces_does_not_matter(cuts, rate):
    samples = noise(30_000).astype(np.float32) / 32768
    pieces = np.split(samples, sorted(cuts))
    whole = np.concatenate(list(resample([(samples, rate)], RATE)))
    pieced = np.concatenate(list(resample(((piece, rate) for piece in pieces), RATE)))
    np.testing.assert_array_equal(pieced, whole)


@settings(deadline=None, max_examples=40)
@given(block_seconds=st.floats(0.01, 3.0), rate=st.sampled_from([16_000, 44_100]))
def test_the_size_of_the_blocks_does_not_matter(block_seconds, rate):
    file = wav(noise(30_000), rate)
    blocks = list(iter_audio(file, block_seconds=block_seconds))
    assert {len(block) for block in blocks[:-1]} <= {round(block_seconds * RATE)}
    assert 0 < len(blocks[-1]) <= round(block_seconds * RATE)
    np.testing.assert_array_equal(np.concatenate(blocks), load_audio(file).samples)


def test_blocks_do_not_share_memory():
    first, second = iter_audio(wav(tone(2.0)), block_seconds=1.0)
    second[:] = 0
    np.testing.assert_array_equal(first, tone(1.0) / np.float32(32768))


def test_no_sound_no_blocks():
    assert list(iter_audio(wav(tone(0)))) == []


def test_what_comes_before_the_damage_can_be_read():
    """A stream does not wait for its end."""
    samples = np.zeros(RATE * 3, np.float32)
    samples[-1] = np.nan
    blocks = iter_audio(wav(samples, code=3, bits=32), block_seconds=1.0)
    assert len(next(blocks)) == RATE
    with pytest.raises(AudioError, match="not numbers"):
        list(blocks)


def test_high_tones_do_not_fold_down():
    """Ten kilohertz cannot be had at 16 kHz: silence is right, a ghost at 6 kHz would be wrong."""
    loaded = load_audio(wav(tone(1.0, 48_000, hertz=10_000), 48_000)).samples
    assert rms(loaded[1000:-1000]) < 1e-4


def test_another_rate_can_be_asked_for():
    audio = load_audio(wav(tone()), sample_rate=8000)
    assert (audio.sample_rate, len(audio.samples)) == (8000, 8000)


@pytest.mark.parametrize(("how", "copies"), [("sum(map(len, iter_audio(file)))", 0), ("load_audio(file)", 1)])
def test_a_long_recording_is_in_memory_at_most_once(how, copies):
    """Decoded and resampled piece by piece; half an hour at 16 kHz in float32 is 110 MiB."""
    code = f"""
import resource, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import numpy as np
from recordings import encode, tone
from mlx_canary.audio.load import iter_audio, load_audio

file = encode(np.zeros(8000 * 1800, np.int16), "flac", "flac", 8000)
load_audio(encode(tone(60.0, 8000), "flac", "flac", 8000))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
{how}
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((after - before) // (1024 if sys.platform == "linux" else 2**20))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert int(done.stdout) <= copies * 110 + 25  # MiB
