"""What comes out of files of every kind."""

from __future__ import annotations

import struct

import av
import numpy as np
import pytest
from recordings import RATE, encode, noise, rms, tone, video, wav

from mlx_canary.audio.load import load_audio
from mlx_canary.errors import AudioError
from mlx_canary.types import Audio


def test_16_bits_at_16_khz_are_exact():
    """NeMo's samples are int16 / 32768; anything else moves every number after it."""
    samples = noise(5000)
    audio = load_audio(wav(samples))
    assert audio.sample_rate == RATE
    assert audio.samples.dtype == np.float32
    np.testing.assert_array_equal(audio.samples, samples / np.float32(32768))


def _integers(bits: int) -> np.ndarray:
    return np.random.default_rng(1).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), 999, dtype=np.int64)


def test_8_bits_are_exact():
    samples = np.arange(256, dtype=np.uint8)
    loaded = load_audio(wav(samples, bits=8)).samples
    np.testing.assert_array_equal(loaded, (samples.astype(np.float32) - 128) / 128)


def test_24_bits_are_exact():
    samples = _integers(24)
    three_bytes = samples.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3]
    loaded = load_audio(wav(three_bytes, bits=24)).samples
    np.testing.assert_array_equal(loaded, (samples / 2**23).astype(np.float32))


@pytest.mark.parametrize("bits", [32, 64])
def test_wide_integers_are_the_nearest_float(bits):
    samples = _integers(bits)
    loaded = load_audio(wav(samples.astype(f"<i{bits // 8}"), bits=bits)).samples
    np.testing.assert_allclose(loaded, samples / 2 ** (bits - 1), rtol=2**-24)


@pytest.mark.parametrize("bits", [32, 64])
def test_float_wav_is_exact(bits):
    samples = np.random.default_rng(2).uniform(-1, 1, 999).astype(f"<f{bits // 8}")
    loaded = load_audio(wav(samples, code=3, bits=bits)).samples
    np.testing.assert_array_equal(loaded, samples.astype(np.float32))


def test_float_wav_over_full_scale_is_kept():
    """Mixed-down float recordings overshoot; they are not clipped."""
    samples = np.array([1.5, -2.0, 7.9], np.float32)
    np.testing.assert_array_equal(load_audio(wav(samples, code=3, bits=32)).samples, samples)


def _extensible(samples: np.ndarray, width: int, valid: int, coding: int = 1) -> bytes:
    """A WAV file whose samples take `width` bits, of which `valid` count, with a chunk of odd size in front."""
    fmt = struct.pack("<HHIIHH", 0xFFFE, 1, RATE, RATE * width // 8, width // 8, width)
    fmt += struct.pack("<HHIH", 22, valid, 4, coding) + bytes.fromhex("000000001000800000aa00389b71")
    data = samples.tobytes()
    chunks = b"WAVEJUNK" + struct.pack("<I", 3) + b"abc\0fmt " + struct.pack("<I", len(fmt)) + fmt
    chunks += b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


@pytest.mark.parametrize("valid", [32, 24, 20])
def test_fewer_valid_bits_than_a_sample_takes(valid, caplog):
    """Windows records 24 bits in 32. That was said to hold NaN, and 20 in 32 was read as noise."""
    samples = _integers(valid) * 2 ** (32 - valid)
    loaded = load_audio(_extensible(samples.astype("<i4"), 32, valid)).samples
    np.testing.assert_allclose(loaded, samples / 2**31, rtol=2**-24)
    assert not caplog.messages


def test_floats_of_fewer_valid_bits_than_they_take():
    samples = np.random.default_rng(2).uniform(-1, 1, 999).astype("<f4")
    np.testing.assert_array_equal(load_audio(_extensible(samples, 32, 24, coding=3)).samples, samples)


@pytest.mark.parametrize(("code", "bits"), [(1, 16), (1, 24), (1, 32), (3, 32), (3, 64)])
def test_big_endian_wav_is_the_same_sound(code, bits):
    """It was transcribed as noise."""
    if code == 3:
        samples = np.random.default_rng(2).uniform(-1, 1, 999).astype(f">f{bits // 8}")
        expected, data = samples.astype(np.float32), samples.tobytes()
    else:
        expected = (_integers(bits) / 2 ** (bits - 1)).astype(np.float32)
        data = _integers(bits).astype(">i8").view(np.uint8).reshape(-1, 8)[:, 8 - bits // 8 :].tobytes()
    fmt = struct.pack(">HHIIHH", code, 1, RATE, RATE * bits // 8, bits // 8, bits)
    chunks = b"WAVEfmt " + struct.pack(">I", len(fmt)) + fmt + b"data" + struct.pack(">I", len(data)) + data
    loaded = load_audio(b"RIFX" + struct.pack(">I", len(chunks)) + chunks).samples
    np.testing.assert_allclose(loaded, expected, rtol=2**-24)


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("flac", "flac"),
        ("ogg", "flac"),
        ("ipod", "alac"),
        ("aiff", "pcm_s16be"),
        ("caf", "pcm_s16le"),
        ("au", "pcm_s16be"),
        ("w64", "pcm_s16le"),
        ("matroska", "pcm_s16le"),
    ],
)
def test_lossless_codings_are_exact(container, codec):
    samples = tone(0.5)
    loaded = load_audio(encode(samples, container, codec)).samples
    np.testing.assert_array_equal(loaded, samples / np.float32(32768))


@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [
        ("mp3", "libmp3lame", 44_100),
        ("mp3", "libmp3lame", 16_000),
        ("ogg", "libopus", 48_000),
        ("webm", "libopus", 48_000),
        ("ipod", "aac", 44_100),  # m4a
        ("mp4", "aac", 48_000),
        ("adts", "aac", 16_000),
        ("matroska", "aac", 16_000),
        ("mpegts", "mp2", 48_000),
        ("flv", "aac", 44_100),
        ("avi", "libmp3lame", 44_100),
        ("3gp", "aac", 16_000),
        ("wav", "pcm_mulaw", 8_000),
        ("wav", "adpcm_ms", 8_000),
    ],
)
def test_lossy_codings_give_the_same_sound(container, codec, rate):
    """A tone keeps its length, loudness and pitch, whatever it was packed in."""
    loaded = load_audio(encode(tone(2.0, rate), container, codec, rate)).samples
    assert abs(len(loaded) - 2 * RATE) < 0.15 * RATE
    middle = loaded[RATE // 2 : RATE // 2 + RATE]
    assert rms(middle) == pytest.approx(0.25 / np.sqrt(2), rel=0.06)
    assert np.argmax(np.abs(np.fft.rfft(middle))) == 440


def test_mp3_and_opus_lose_their_encoder_delay():
    """Times in the text are times in the recording: what encoders put in front is cut off again."""
    for container, codec in (("mp3", "libmp3lame"), ("ogg", "libopus")):
        assert len(load_audio(encode(tone(2.0, 48_000), container, codec, 48_000)).samples) == 2 * RATE


def test_video_gives_its_sound():
    assert load_audio(video(tone(1.0))).duration == pytest.approx(1.0, abs=0.1)


def test_of_several_tracks_the_first_is_read_and_that_is_told(caplog):
    """An interview can have a track for each speaker, and one of them was left out without a word."""
    loud, quiet = tone(gain=0.5), tone(gain=0.05)
    assert rms(load_audio(video(loud, quiet)).samples) > 0.3
    assert rms(load_audio(video(quiet, loud)).samples) < 0.05
    assert len(caplog.messages) == 2
    assert "has several sound tracks: 2, numbers 0, 1. Number 0 is heard; --track" in caplog.messages[0]
    load_audio(video(quiet, loud), track=0)
    load_audio(video(loud))
    assert len(caplog.messages) == 2


@pytest.mark.parametrize("unknown", [0, 1])
def test_a_track_in_an_unknown_coding_is_passed_over(unknown, caplog):
    """A telephone's spatial sound beside the usual one; that there is nothing else to hear needs no warning."""
    film = bytearray(video(tone(gain=0.5), tone(gain=0.5)))
    at = [i for i in range(len(film)) if film.startswith(b"mp4a", i)][unknown]
    film[at : at + 4] = b"apac"
    details = film.index(b"esds", at)
    film[details : details + 4] = b"free"
    assert rms(load_audio(bytes(film)).samples) > 0.3
    assert caplog.messages == []
    with pytest.raises(AudioError, match="in a coding that cannot be decoded"):
        load_audio(bytes(film), track=unknown)


def test_another_track_can_be_chosen():
    """A film has its first language, and others."""
    film = video(tone(gain=0.5), tone(gain=0.05))
    assert rms(load_audio(film, track=0).samples) > 0.3
    assert rms(load_audio(film, track=1).samples) < 0.05
    with pytest.raises(AudioError, match=r"has no sound track 2\. It has 2, numbers 0, 1\."):
        load_audio(film, track=2)
    with pytest.raises(AudioError, match=r"has no sound track 1\. It has one, number 0\."):
        load_audio(wav(tone()), track=1)


@pytest.mark.parametrize("track", [-1, True, "1", 1.0])
def test_a_track_that_is_no_number_is_refused(track):
    with pytest.raises(AudioError, match="is not the number of a sound track, from 0"):
        load_audio(wav(tone()), track=track)


def test_an_array_has_no_tracks():
    with pytest.raises(AudioError, match="The array has no tracks: track=0 is for files"):
        load_audio(Audio(tone(), RATE), track=0)


def test_the_content_decides_and_not_the_extension(tmp_path):
    path = tmp_path / "really_flac.mp3"
    path.write_bytes(encode(tone(), "flac", "flac"))
    np.testing.assert_array_equal(load_audio(path).samples, tone() / np.float32(32768))


def test_tags_in_an_old_encoding_do_no_harm():
    """Before PyAV 19 the default was to raise UnicodeDecodeError on a Latin-1 title."""
    title = b"LIST" + struct.pack("<I", 18) + b"INFOINAM" + struct.pack("<I", 6) + b"caf\xe9\xff\0"
    chunks = wav(tone())[8:] + title
    audio = load_audio(b"RIFF" + struct.pack("<I", len(chunks)) + chunks)
    assert audio.duration == 1.0


def test_any_pyav_is_called_with_arguments_that_it_has(monkeypatch):
    """PyAV 19 lost an argument of `open`. A fresh installation on Python 3.13 got it, and could read no file at all."""
    opened = []

    def open_like_19(file, mode, *, container_options, io_open):
        opened.append(mode)
        return real(file, mode=mode, container_options=container_options, io_open=io_open)

    real = av.open
    file = wav(tone())
    monkeypatch.setattr(av, "__version__", "19.0.2")
    monkeypatch.setattr(av, "open", open_like_19)
    assert load_audio(file).duration == 1.0
    assert opened == ["r"]


def test_a_header_that_does_not_know_the_size_yet_is_read_to_the_end():
    """Pipes and crashed recorders leave 0 or the largest number there."""
    file = wav(tone())
    for size in (0, 0x7FFFFFFF, 0xFFFFFFFF):
        field = struct.pack("<I", size)
        assert load_audio(file[:4] + field + file[8:40] + field + file[44:]).duration == 1.0


# Channels


STEREO = np.stack([tone(gain=0.5), tone(hertz=300, gain=0.1)], axis=1)  # (N, 2)


def test_mix_is_the_mean_of_the_channels():
    loaded = load_audio(wav(STEREO, n_channels=2)).samples
    np.testing.assert_array_equal(loaded, STEREO.astype(np.float32).mean(axis=1) / 32768)


@pytest.mark.parametrize("channel", [0, 1, np.int64(1)])
def test_one_channel_can_be_chosen(channel):
    loaded = load_audio(wav(STEREO, n_channels=2), channel=channel).samples
    np.testing.assert_array_equal(loaded, STEREO[:, channel] / np.float32(32768))


def test_a_planar_coding_keeps_its_channels_apart():
    loaded = load_audio(encode(STEREO, "ipod", "alac", layout="stereo"), channel=1).samples
    np.testing.assert_array_equal(loaded, STEREO[:, 1] / np.float32(32768))


def test_eight_planar_channels():
    """PyAV reads past the end of its list of planes here."""
    channels = np.stack([tone(gain=0.05 * (k + 1)) for k in range(8)], axis=1)
    file = encode(channels, "mp4", "aac", layout="7.1")  # FFmpeg 8.1 refuses to put it into adts
    quiet, loud = (rms(load_audio(file, channel=k).samples) for k in (0, 7))
    assert loud / quiet == pytest.approx(8, rel=0.1)


def test_a_channel_that_is_not_there_is_named_with_the_count():
    with pytest.raises(AudioError, match=r"has no channel 2\. It has 2 channels, numbers 0 to 1"):
        load_audio(wav(STEREO, n_channels=2), channel=2)
    with pytest.raises(AudioError, match=r"has no channel 1\. It has 1 channel, number 0"):
        load_audio(wav(tone()), channel=1)


@pytest.mark.parametrize("channel", [-1, "left", True, 1.0, None])
def test_a_channel_that_is_no_number_is_refused(channel):
    with pytest.raises(AudioError, match="is neither 'mix' nor the number of a channel"):
        load_audio(wav(STEREO, n_channels=2), channel=channel)


# Changes in the middle


def test_the_rate_may_change_in_the_middle():
    file = encode(tone(1.0, 48_000), "adts", "aac", 48_000) + encode(tone(1.0), "adts", "aac")
    loaded = load_audio(file).samples
    assert len(loaded) == pytest.approx(2 * RATE, abs=0.15 * RATE)
    for start in (0.3, 1.5):
        part = loaded[int(start * RATE) :][: RATE // 2]
        assert np.argmax(np.abs(np.fft.rfft(part))) == 220  # 440 Hz in half a second


def test_the_channels_may_change_in_the_middle():
    mono, stereo = encode(tone(), "adts", "aac"), encode(STEREO, "adts", "aac", layout="stereo")
    assert load_audio(mono + stereo).duration == pytest.approx(2.0, abs=0.2)
    with pytest.raises(AudioError, match="has no channel 1"):
        load_audio(stereo + mono, channel=1)


def test_chained_ogg_is_read_as_one():
    file = encode(tone(), "ogg", "flac") + encode(tone(), "ogg", "flac")
    assert load_audio(file).duration == pytest.approx(2.0, abs=0.01)
