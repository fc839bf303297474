"""Files that are broken, cut off, something else, or made to do harm."""

from __future__ import annotations

import http.server
import logging
import struct
import subprocess
import sys
import threading

import numpy as np
import pytest
from recordings import RATE, encode, noise, rms, tone, video, wav

from mlx_canary.audio.load import load_audio
from mlx_canary.errors import AudioError

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360000000500010d0a2db40000000049454e44ae426082"[:-1]
)


@pytest.fixture
def warnings(caplog):
    caplog.set_level(logging.WARNING, logger="mlx_canary")
    return caplog


# Not a recording


@pytest.mark.parametrize(
    "content",
    [
        b"Good morning everyone.\n" * 100,
        b'{"text": "hello"}',
        b"1\n00:00:01,000 --> 00:00:02,000\nhi\n\n" * 9,
        b"%PDF-1.7\n" + bytes(500),
        b"PK\x03\x04" + bytes(500),
        PNG,
        bytes(100_000),
        noise(50_000).tobytes(),
        b"x",
        wav(tone())[:30],
    ],
    ids=["text", "json", "subtitles", "pdf", "zip", "picture", "zeros", "noise", "one-byte", "half-a-header"],
)
def test_not_a_recording(content, tmp_path):
    path = tmp_path / "speech.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=r"speech\.wav is not a sound or video file that can be read"):
        load_audio(path)


def test_a_web_page():
    with pytest.raises(AudioError, match="is a web page, not a recording"):
        load_audio(b"\n<!DOCTYPE html><html><body>Sign in</body></html>")


def test_a_video_without_sound():
    with pytest.raises(AudioError, match="has no sound"):
        load_audio(video())


# Cut off and damaged


def test_a_sound_file_without_samples_is_empty_audio(warnings):
    """A recorder that was started and stopped: an empty text, not an error."""
    audio = load_audio(wav(tone()[:0]))
    assert audio.samples.shape == (0,)
    assert audio.samples.dtype == np.float32
    assert not warnings.messages


def test_one_sample():
    assert load_audio(wav(tone()[:1])).samples.shape == (1,)


@pytest.mark.parametrize(
    ("container", "codec"),
    [("wav", "pcm_s16le"), ("aiff", "pcm_s16be"), ("flac", "flac"), ("matroska", "aac"), ("webm", "libopus")],
)
def test_a_file_that_is_cut_off_gives_what_is_there(container, codec, warnings):
    """The text of half an interview is worth having, and worth knowing that it is half."""
    file = encode(tone(20.0, 48_000), container, codec, 48_000)
    audio = load_audio(file[: len(file) // 2], name="interview")
    assert audio.duration == pytest.approx(10, abs=2.5)
    (message,) = warnings.messages
    assert message.startswith("interview is cut off or damaged: ")
    assert "of its 20.0 s could be read" in message


@pytest.mark.parametrize(("container", "codec"), [("mp3", "libmp3lame"), ("adts", "aac"), ("ogg", "libopus")])
def test_streams_that_are_cut_off_have_no_length_to_miss(container, codec, warnings):
    file = encode(tone(20.0, 48_000), container, codec, 48_000)
    assert load_audio(file[: len(file) // 2]).duration == pytest.approx(10, abs=1)
    assert not warnings.messages


def test_an_mp4_file_that_was_not_finished():
    """Its index comes last; without it the sound cannot be found."""
    file = encode(tone(), "ipod", "aac")
    with pytest.raises(AudioError, match="an MP4 file without a usable index: the recording was not finished"):
        load_audio(file[: len(file) // 2])


def test_a_header_alone_is_damage():
    with pytest.raises(AudioError, match=r"none of its sound can be decoded \(it ends after its header\)"):
        load_audio(wav(tone())[:44])


def test_damage_in_the_middle_leaves_the_rest(warnings):
    file = bytearray(encode(tone(20.0), "mp3", "libmp3lame"))
    start, end = len(file) // 4, len(file) // 2
    file[start:end] = bytes(end - start)
    assert load_audio(bytes(file)).duration == pytest.approx(15, abs=1)


def test_packets_that_cannot_be_decoded_are_reported(warnings):
    file = bytearray(encode(tone(20.0), "ipod", "aac"))
    start, end = len(file) // 4, len(file) // 2
    file[start:end] = noise(end).tobytes()[: end - start]
    samples = load_audio(bytes(file), name="interview").samples
    assert any("interview is damaged: about" in message for message in warnings.messages)
    # What comes after the damage keeps its time.
    assert len(samples) == pytest.approx(20 * RATE, abs=0.15 * RATE)
    quiet = [rms(samples[n * RATE : (n + 1) * RATE]) < 0.01 for n in range(20)]
    assert 3 < sum(quiet) < 8
    assert not any(quiet[:3] + quiet[-3:])


def test_ogg_pages_that_are_missing_are_reported(warnings):
    file = bytearray(encode(tone(20.0), "ogg", "flac"))
    start, end = len(file) // 4, len(file) // 2
    file[start:end] = bytes(end - start)
    assert load_audio(bytes(file)).duration < 19
    assert any("is cut off or damaged" in message for message in warnings.messages)


def test_two_recordings_joined_are_no_damage(warnings):
    """Programmes with advertisements cut in are MP3 files one after the other."""
    file = encode(tone(2.0), "mp3", "libmp3lame")
    assert load_audio(file + file).duration == pytest.approx(4, abs=0.2)
    assert not warnings.messages


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_float_wav_must_hold_numbers(value):
    samples = np.zeros(RATE, np.float32)
    samples[4000:] = value
    with pytest.raises(AudioError, match=r"not numbers \(NaN or infinite\), the first at 0\.250 s"):
        load_audio(wav(samples, code=3, bits=32))


def test_float_wav_of_unscaled_integers():
    with pytest.raises(AudioError, match=r"samples up to 8\d\d\d, expected \[-1, 1\]"):
        load_audio(wav(tone().astype(np.float32), code=3, bits=32))


# Headers that lie


def _with(file: bytes, offset: int, code: str, value: int) -> bytes:
    field = struct.pack(code, value)
    return file[:offset] + field + file[offset + len(field) :]


@pytest.mark.parametrize("rate", [0, 1, 999, 10_000_001, 2**31, 2**32 - 1])
def test_impossible_rates(rate):
    with pytest.raises(AudioError, match=r"has a sample rate of|is not a sound or video file"):
        load_audio(_with(wav(tone()), 24, "<I", rate))


def test_more_channels_of_64_bits_than_can_be_read():
    """PyAV's own error came out."""
    file = wav(np.zeros(65 * 100, np.float32), n_channels=65)
    with pytest.raises(AudioError, match="65 channels of s64, more than can be read"):
        load_audio(_with(_with(file, 32, "<H", 65 * 8), 34, "<H", 64))


@pytest.mark.parametrize("n_channels", [0, 1000, 65535])
def test_impossible_channels(n_channels):
    with pytest.raises(AudioError, match="is damaged: none of its sound can be decoded"):
        load_audio(_with(wav(tone()), 22, "<H", n_channels))


def test_a_recording_may_not_be_longer_than_the_limit():
    assert load_audio(wav(tone(2.0)), max_duration=2.0).duration == 2.0
    with pytest.raises(AudioError, match=r"is longer than the limit of 1\.9 s"):
        load_audio(wav(tone(2.0)), max_duration=1.9)


def test_a_small_file_of_long_silence_stops_at_the_limit():
    """FLAC packs an hour of silence into less than a megabyte; nothing is set aside for it beforehand."""
    file = encode(np.zeros(RATE * 600, np.int16), "flac", "flac")
    assert len(file) < 120_000
    with pytest.raises(AudioError, match="is longer than the limit of 60 s"):
        load_audio(file, max_duration=60)


def test_sizes_in_headers_take_no_memory():
    """Each file claims to hold gigabytes."""
    code = """
import resource, struct, sys
sys.path.insert(0, sys.argv[1])
from recordings import encode, tone, wav
from mlx_canary.audio.load import load_audio
from mlx_canary.errors import AudioError

big = struct.pack(">I", 0x7FFFFFF0)
sound = wav(tone(0.1))
m4a = encode(tone(0.1), "ipod", "aac")
entries = m4a.index(b"stsz") + 12
flac = encode(tone(0.1), "flac", "flac")
files = [
    sound[:36] + b"LIST" + big[::-1] + sound[36:],
    sound[:16] + big[::-1] + sound[20:],
    m4a[:entries] + big + m4a[entries + 4 :],
    m4a[: m4a.index(b"moov") - 4] + big + m4a[m4a.index(b"moov") :],
    b"fLaC\\x04\\xff\\xff\\xff" + flac[4:],
    b"ID3\\x04\\0\\0\\x7f\\x7f\\x7f\\x7f" + sound,
    b"\\x1aE\\xdf\\xa3\\x08\\0\\0\\0\\x7f\\xff\\xff\\xff" + bytes(100),
]
load_audio(sound)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for file in files:
    try:
        load_audio(file)
    except AudioError:
        pass
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((after - before) // (1024 if sys.platform == "linux" else 2**20))
"""
    here = __file__.rpartition("/")[0]
    done = subprocess.run([sys.executable, "-c", code, here], check=True, capture_output=True)
    assert int(done.stdout) < 64  # MiB


# Files that point elsewhere


@pytest.fixture
def hits():
    """What was asked of a server on loopback, and its address as the first element."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(encode(tone(), "mpegts", "mp2"))

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


LISTS = {
    "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{0}\n#EXT-X-ENDLIST\n",
    "m3u8-master": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{0}\n",
    "m3u8-key": '#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXT-X-KEY:METHOD=AES-128,URI="{0}"\n#EXTINF:9,\n{0}\n',
    "ffconcat": "ffconcat version 1.0\nfile '{0}'\n",
    "asx": '<asx version="3.0"><entry><ref href="{0}"/></entry></asx>',
    "pls": "[playlist]\nNumberOfEntries=1\nFile1={0}\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT9S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period>'
    '<AdaptationSet mimeType="audio/mp4"><Representation id="1" bandwidth="1"><BaseURL>{0}</BaseURL>'
    '<SegmentBase indexRange="0-99"><Initialization range="0-99"/></SegmentBase></Representation>'
    "</AdaptationSet></Period></MPD>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\na={0}\n",
    "rtsp": "RTSPtext\n{0}\n",
}


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_opens_no_address(kind, hits):
    address, asked = hits
    with pytest.raises(AudioError, match=r"is a list of other files|is not a sound or video file"):
        load_audio(LISTS[kind].format(f"{address}/part.ts").encode())
    assert asked == []


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("prefix", ["", "file://", "crypto:", "subfile,,start,0,end,0,,:", "concat:", "async:"])
def test_a_list_opens_no_file(kind, prefix, tmp_path):
    """The file is there and is sound: it would be read if it were opened."""
    part = tmp_path / "part.ts"
    part.write_bytes(encode(tone(), "mpegts", "mp2"))
    path = tmp_path / "list.wav"
    path.write_text(LISTS[kind].format(f"{prefix}{part}"))
    with pytest.raises(AudioError, match=r"is a list of other files|is not a sound or video file"):
        load_audio(path)


def test_a_list_opens_no_file_beside_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "part.ts").write_bytes(encode(tone(), "mpegts", "mp2"))
    (tmp_path / "list.wav").write_text(LISTS["ffconcat"].format("part.ts"))
    with pytest.raises(AudioError, match="is a list of other files"):
        load_audio("list.wav")


# Silence on stderr


def test_ffmpeg_says_nothing_on_stderr(tmp_path):
    file = bytearray(encode(tone(5.0), "mp3", "libmp3lame"))
    file[10_000:12_000] = bytes(2000)
    path = tmp_path / "damaged.mp3"
    path.write_bytes(file)
    code = "import sys; from mlx_canary.audio.load import load_audio; load_audio(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, path], check=True, capture_output=True)
    assert (done.stdout, done.stderr) == (b"", b"")
