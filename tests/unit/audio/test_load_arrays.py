"""Sound that is in memory already."""

from __future__ import annotations

import numpy as np
import pytest

from mlx_canary.audio.load import load_audio
from mlx_canary.backend import mx
from mlx_canary.errors import AudioError
from mlx_canary.types import Audio

SINE = np.sin(np.arange(1600) / 10).astype(np.float32) / 2


def test_floats_stay_as_they_are():
    np.testing.assert_array_equal(load_audio(Audio(SINE, 16_000)).samples, SINE)


def test_the_result_is_a_copy():
    samples = SINE.copy()
    audio = load_audio(Audio(samples, 16_000))
    samples[:] = 0
    np.testing.assert_array_equal(audio.samples, SINE)


@pytest.mark.parametrize(
    ("dtype", "full_scale", "offset"),
    [(np.int16, 2**15, 0), (">i2", 2**15, 0), (np.int32, 2**31, 0), (np.uint8, 2**7, 128)],
)
def test_integers_are_scaled(dtype, full_scale, offset):
    info = np.iinfo(dtype)
    samples = np.array([info.min, offset, info.max], dtype)
    expected = ((samples.astype(np.float64) - offset) / full_scale).astype(np.float32)
    np.testing.assert_array_equal(load_audio(Audio(samples, 16_000)).samples, expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats_are_converted(dtype):
    loaded = load_audio(Audio(SINE.astype(dtype), 16_000)).samples
    assert loaded.dtype == np.float32
    np.testing.assert_allclose(loaded, SINE, atol=1e-3)


@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16])
def test_mlx_arrays_are_taken(dtype):
    loaded = load_audio(Audio(mx.array(SINE).astype(dtype), 16_000)).samples
    assert isinstance(loaded, np.ndarray)
    np.testing.assert_allclose(loaded, SINE, atol=4e-3)


def test_an_array_is_resampled():
    assert len(load_audio(Audio(SINE, 8_000)).samples) == 2 * len(SINE)


def test_an_array_without_its_rate_is_refused_with_the_way_to_say_it():
    for source in (SINE, mx.array(SINE), list(SINE), (SINE, 16_000)):
        with pytest.raises(AudioError, match=r"does not say its sample rate.*Audio\(samples, sample_rate=16_000\)"):
            load_audio(source)


@pytest.mark.parametrize("shape", [(), (2, 800), (800, 2), (1, 1600), (1600, 1)])
def test_only_one_channel_is_taken(shape):
    """(C, N) and (N, C) cannot be told apart, so neither is guessed."""
    samples = np.zeros(shape, np.float32)
    with pytest.raises(AudioError, match=r"has shape \(.*expected one channel \(N,\)"):
        load_audio(Audio(samples, 16_000))


@pytest.mark.parametrize("dtype", [np.int64, np.bool_, np.complex64, np.uint16, object])
def test_other_types_are_refused(dtype):
    with pytest.raises(AudioError, match="expected float32, float64, int16, int32 or uint8"):
        load_audio(Audio(np.zeros(10, dtype), 16_000))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_must_be_numbers(value):
    samples = SINE.copy()
    samples[800:] = value
    with pytest.raises(AudioError, match=r"not numbers \(NaN or infinite\), the first at 0\.050 s"):
        load_audio(Audio(samples, 16_000))


def test_unscaled_integers_in_floats_are_noticed():
    with pytest.raises(AudioError, match=r"samples up to 163\d\d, expected \[-1, 1\].*32768"):
        load_audio(Audio(SINE * 32768, 16_000))


def test_a_double_beyond_float32_is_refused_without_a_warning():
    with pytest.raises(AudioError, match="not numbers"):
        load_audio(Audio(np.array([1e300]), 16_000))


@pytest.mark.parametrize("rate", [0, -16_000, 999, 10_000_001, 16_000.5, True, None, "16000"])
def test_a_rate_must_make_sense(rate):
    with pytest.raises(AudioError, match=r"has a sample rate of .*, expected a whole number of Hz"):
        load_audio(Audio(SINE, rate))
    with pytest.raises(AudioError, match=r"has a sample rate of .*, expected a whole number of Hz"):
        load_audio(Audio(SINE, 16_000), sample_rate=rate)


def test_an_array_has_one_channel():
    np.testing.assert_array_equal(load_audio(Audio(SINE, 16_000), channel=0).samples, SINE)
    with pytest.raises(AudioError, match="The array has no channel 1"):
        load_audio(Audio(SINE, 16_000), channel=1)


def test_silence_and_nothing_are_sound():
    assert not load_audio(Audio(np.zeros(16_000, np.float32), 16_000)).samples.any()
    assert load_audio(Audio(np.zeros(0, np.float32), 44_100)).duration == 0
    assert len(load_audio(Audio(np.zeros(1, np.float32), 16_000)).samples) == 1
