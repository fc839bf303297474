"""What must not change the words of a stream: its blocks, its neighbours, its length."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import DATA, clip, loaded

from mlx_canary import Audio, CanaryModel, StreamingOptions, TranscriptionOptions, load_audio

RATE = 16_000
POLICIES = ["windowed", "alignatt", "waitk"]


def speech_with_pauses():
    rng = np.random.default_rng(0)
    parts = [clip("speech"), rng.normal(0, 3e-4, 14_000), clip("short"), rng.normal(0, 3e-4, 20_123), clip("speech")]
    return np.concatenate(parts).astype(np.float32)


def stream_of(model, samples, block, **asked):
    with model.stream(language="en", **asked) as stream:
        for start in range(0, len(samples), block):
            stream.add_audio(samples[start : start + block])
    return stream.finish()


@pytest.mark.parametrize("policy", POLICIES)
def test_block_sizes_do_not_matter(flash, policy):
    """Microphones deliver what they like; words and times must not change."""
    sound = speech_with_pauses()
    found = {stream_of(flash, sound, block, policy=policy) for block in (160, 4001, 16_000, len(sound))}
    assert len(found) == 1


@pytest.mark.parametrize("policy", POLICIES)
def test_two_sessions_do_not_disturb_each_other(flash, policy):
    """Two people on one model, block by block in turns."""
    one, two = speech_with_pauses(), np.concatenate([clip("chirp"), clip("speech")])
    alone = [stream_of(flash, samples, 1600, policy=policy) for samples in (one, two)]
    streams = [flash.stream(language="en", policy=policy) for _ in range(2)]
    for start in range(0, len(one), 1600):
        for stream, samples in zip(streams, (one, two), strict=True):
            stream.add_audio(samples[start : start + 1600])
    assert [stream.finish() for stream in streams] == alone


@pytest.mark.parametrize("name", ["en_kokoro_7", "en_pico_8", "en_espeak_8"])
def test_in_one_piece_as_offline(name):
    """Without steps between, a segment has the text that the same window has offline."""
    model = CanaryModel.from_pretrained("demo")
    samples = load_audio(DATA / f"demo/{name}.flac").samples
    sound = np.concatenate([samples, np.zeros(RATE, np.float32), samples[::-1], np.zeros(RATE, np.float32), samples])
    transcript = stream_of(model, sound, len(sound), options=StreamingOptions(chunk=60))
    assert len(transcript.segments) >= 3
    plain = TranscriptionOptions(language="en", guards=False)
    for segment in transcript.segments:
        window = sound[round(segment.start * RATE) : round(segment.end * RATE)]
        assert model.transcribe(Audio(window, RATE), options=plain).text == segment.text


@pytest.mark.parametrize("policy", POLICIES)
def test_an_hour_takes_no_more_memory_than_a_minute(policy):
    """What a session holds of the sound stays below its segment's length; times do not drift."""
    model = CanaryModel(loaded("canary2-flash"))
    part = np.concatenate([clip("chirp"), np.zeros(300 * RATE - len(clip("chirp")), np.float32)])
    options = StreamingOptions(policy=policy, chunk=4.0)
    stream = model.stream(language="en", options=options)
    held = []
    for _ in range(12):
        stream.add_audio(part)
        held.append(held_samples(stream))
    transcript = stream.finish()
    assert transcript.duration == 3600.0
    assert max(held) <= held[0] + RATE
    assert max(held) < 45 * RATE
    starts = [segment.start for segment in transcript.segments]
    assert len(starts) == 12
    assert all(300 * n - 0.5 < start <= 300 * n + 0.1 for n, start in enumerate(starts))


def held_samples(value, seen=None):
    """Samples in all arrays that an object of ours holds, wherever they are."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return 0
    seen.add(id(value))
    if isinstance(value, np.ndarray):
        # A view keeps the whole array that it was taken from.
        return (value if value.base is None else value.base).size
    if isinstance(value, list | tuple | dict):
        return sum(held_samples(item, seen) for item in (value.values() if isinstance(value, dict) else value))
    if type(value).__module__.startswith("mlx_canary.streaming"):
        return held_samples(vars(value) if hasattr(value, "__dict__") else (), seen)
    return 0
