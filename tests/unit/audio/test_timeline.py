"""Times in the text are times in the recording, also where its sound begins late or has gaps."""

from __future__ import annotations

import io
import logging
import re
import struct

import numpy as np
import pytest
from recordings import RATE, encode, moved, tone

from mlx_canary.audio.decode import decode
from mlx_canary.audio.load import iter_audio, load_audio
from mlx_canary.errors import AudioError

HOUR = 3600.0


@pytest.fixture
def warnings(caplog):
    caplog.set_level(logging.WARNING, logger="mlx_canary")
    return caplog


def heard(samples: np.ndarray) -> list[tuple[float, float]]:
    """From when to when there is sound, in seconds."""
    loud = np.flatnonzero(np.abs(samples) > 0.02)
    starts = np.flatnonzero(np.diff(loud, prepend=-RATE) > 0.05 * RATE)
    ends = [*(starts[1:] - 1), len(loud) - 1]
    return [(loud[start] / RATE, loud[end] / RATE) for start, end in zip(starts, ends, strict=True)]


def parts(*expected: tuple[float, float]) -> list[tuple[object, object]]:
    return [(pytest.approx(start, abs=0.15), pytest.approx(end, abs=0.15)) for start, end in expected]


def without(start: float, end: float, later: float = 0.0):
    """Leaves the packets between two times out, and moves what comes after."""
    return lambda time: time if time < start else time + later if time >= end else None


KINDS = [
    ("mp4", "aac", RATE),
    ("mp4", "aac", 44_100),
    ("mov", "alac", 48_000),
    ("matroska", "aac", RATE),
    ("matroska", "flac", RATE),
    ("webm", "libopus", 48_000),
    ("flv", "libmp3lame", 44_100),
    ("mpegts", "mp2", 48_000),
]


@pytest.mark.parametrize(("container", "codec", "rate"), KINDS)
def test_a_sound_track_that_begins_after_the_pictures(container, codec, rate, warnings):
    """Subtitles came three seconds early: the sound was read as if it began with the video."""
    sound = encode(tone(2.0, rate), "matroska", codec, rate)
    file = moved(sound, container, lambda time: time + 3, pictures=(0, 6))
    assert heard(load_audio(file).samples) == parts((3, 5))
    assert not warnings.messages


@pytest.mark.parametrize(("container", "codec", "rate"), KINDS)
@pytest.mark.parametrize("pictures", [None, (0, 9)], ids=["sound-alone", "with-pictures"])
def test_gaps_are_silent(container, codec, rate, pictures, warnings):
    """Such a file was said to be cut off, and every subtitle after the gap came early."""
    sound = encode(tone(8.0, rate), "matroska", codec, rate)
    loaded = load_audio(moved(sound, container, without(2, 5), pictures), name="call").samples
    assert heard(loaded) == parts((0, 2), (5, 8))
    (message,) = warnings.messages
    assert re.fullmatch(r"call has gaps in its sound, (2\.9|3\.[01]) s in all; they are read as silence\.", message)


def test_many_short_gaps_do_not_add_up():
    """Telephony leaves silent packets out."""
    sound = encode(tone(8.0, 48_000), "webm", "libopus", 48_000)
    file = moved(sound, "webm", lambda time: None if 1 < time < 7 and time * 50 % 4 >= 1 else time)
    loaded = load_audio(file).samples
    assert len(loaded) == pytest.approx(8 * RATE, abs=0.1 * RATE)
    assert heard(loaded)[-1] == (pytest.approx(7, abs=0.15), pytest.approx(8, abs=0.15))


@pytest.mark.parametrize(("container", "codec", "rate"), KINDS)
def test_what_is_heard_before_the_first_picture_stays(container, codec, rate):
    sound = encode(tone(2.0, rate), "matroska", codec, rate)
    alone = load_audio(moved(sound, container, lambda time: time)).samples
    with_pictures = load_audio(moved(sound, container, lambda time: time, pictures=(1, 3))).samples
    np.testing.assert_allclose(with_pictures, alone, atol=1e-4)  # FFmpeg may take another decoder of MPEG sound


@pytest.mark.parametrize(("container", "codec", "rate"), KINDS)
def test_a_recording_begins_where_its_first_track_does(container, codec, rate):
    """Times need not begin at zero: a live stream is joined in the middle."""
    sound = encode(tone(2.0, rate), "matroska", codec, rate)
    assert heard(load_audio(moved(sound, container, lambda time: time + 40)).samples) == parts((0, 2))
    file = moved(sound, container, lambda time: time + 43, pictures=(40, 46))
    if container not in ("mp4", "mov"):  # these begin at zero
        assert heard(load_audio(file).samples) == parts((3, 5))


def test_blocks_are_the_same():
    sound = encode(np.stack([tone(8.0), tone(8.0, gain=0.1)], axis=1), "matroska", "flac", layout="stereo")
    file = moved(sound, "matroska", without(2, 5), pictures=(0, 8))
    for channel in ("mix", 1):
        blocks = list(iter_audio(file, sample_rate=8_000, channel=channel, block_seconds=0.7))
        np.testing.assert_array_equal(
            np.concatenate(blocks), load_audio(file, sample_rate=8_000, channel=channel).samples
        )


def test_eight_planar_channels_begin_late():
    """They take another way through PyAV."""
    sound = encode(np.stack([tone(2.0)] * 8, axis=1), "matroska", "aac", layout="7.1")
    file = moved(sound, "matroska", lambda time: time + 3, pictures=(0, 5))
    assert heard(load_audio(file, channel=0).samples) == parts((3, 5))


# Times that make no sense


def test_joined_streams_whose_times_go_back():
    sound = encode(tone(2.0, 48_000), "matroska", "mp2", 48_000)
    first, second = (moved(sound, "mpegts", lambda time, late=late: time + late) for late in (20, 0))
    assert heard(load_audio(first + second).samples) == parts((0, 4))


@pytest.mark.parametrize("hours", [1, 20])
def test_joined_streams_whose_times_jump(hours):
    """FFmpeg takes the end of an MPEG stream from its last packet, so that the jump lies within the recording."""
    sound = encode(tone(2.0, 48_000), "matroska", "mp2", 48_000)
    first, second = (moved(sound, "mpegts", lambda time, late=late: time + late) for late in (0, hours * HOUR))
    assert heard(load_audio(first + second).samples) == parts((0, 4))


def test_a_jump_in_a_file_that_does_not_tell_its_end():
    """Browsers record WebM without a duration. A laptop that slept is no hour of silence; a pause is one."""
    sound = encode(tone(8.0, 48_000), "webm", "libopus", 48_000)
    file = moved(sound, "webm", without(2, 5, later=HOUR), live="1")
    assert heard(load_audio(file).samples) == parts((0, 5))
    file = moved(sound, "webm", without(2, 5), live="1")
    assert heard(load_audio(file).samples) == parts((0, 2), (5, 8))


def test_times_beyond_the_end_of_the_file():
    sound = encode(tone(8.0), "matroska", "flac")
    file = bytearray(moved(sound, "matroska", without(2, 5, later=HOUR)))
    duration = file.index(b"\x44\x89\x88") + 3
    assert struct.unpack_from(">d", file, duration)[0] == pytest.approx((HOUR + 8) * 1000, abs=100)
    struct.pack_into(">d", file, duration, 8000.0)
    assert heard(load_audio(bytes(file)).samples) == parts((0, 5))


def test_long_silence_takes_no_memory_and_stops_at_the_limit():
    sound = encode(tone(8.0), "matroska", "flac")
    file = moved(sound, "matroska", without(2, 5, later=5 * HOUR))
    with pytest.raises(AudioError, match="is longer than the limit of 3600 s"):
        list(iter_audio(file, max_duration=HOUR))
    sizes = [samples.size for samples, _ in decode(io.BytesIO(file), "call")]
    assert sum(sizes) == pytest.approx((5 * HOUR + 8) * RATE, rel=1e-3)
    assert max(sizes) <= 2**16


def test_a_late_track_that_is_cut_off_is_reported(warnings):
    """The time before the track does not make up for what is missing at its end."""
    sound = encode(tone(8.0), "matroska", "flac")
    file = moved(sound, "mp4", lambda time: time + 5, pictures=(0, 6), movflags="faststart")
    load_audio(file[: len(file) * 2 // 3], name="film")
    assert "film is cut off or damaged: " in warnings.messages[0]
    assert "of its 13.0 s could be read" in warnings.messages[0]
