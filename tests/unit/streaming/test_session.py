"""What users of a session see: updates, segments, errors."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
from conftest import DATA, clip

from mlx_canary import Audio, AudioError, CanaryModel, PromptError, StreamingOptions, load_audio
from mlx_canary.network.canary import CanaryNetwork
from mlx_canary.streaming.decoder import StreamDecoder

RATE = 16_000
SPEECH_TEXT = (
    "Good morning everyone. The quick brown fox jumps over the lazy dog, while forty two sailors count the stars."
)


def silence(seconds):
    return np.zeros(int(seconds * RATE), np.float32)


def streamed(session, samples, block=1600):
    """All updates, and the transcript."""
    updates = [session.add_audio(samples[start : start + block]) for start in range(0, len(samples), block)]
    return updates, session.finish()


@pytest.mark.parametrize("policy", ["windowed", "alignatt", "waitk"])
def test_committed_text_stays(flash, policy):
    """Every update begins with what was committed before, and the transcript with all of it."""
    updates, transcript = streamed(flash.stream(language="en", policy=policy), np.tile(clip("speech"), 2))
    for before, after in pairwise(updates):
        assert after.committed.startswith(before.committed)
    assert transcript.text.startswith(updates[-1].committed)
    assert transcript.text.endswith("count the stars.")


def test_a_draft_follows_what_is_committed(flash):
    updates, _ = streamed(flash.stream(language="en"), clip("speech"))
    assert any(update.draft for update in updates)
    assert not any(update.draft.startswith(" ") or update.committed.endswith(" ") for update in updates)


def test_what_may_change_is_not_fixed():
    """A draft that ended in a full stop twice was the end of the text, whatever was said after it."""
    samples = load_audio(DATA / "demo/en_kokoro_1.flac").samples
    model = CanaryModel.from_pretrained("demo")
    updates, transcript = streamed(model.stream(language="en"), samples)
    assert any(update.draft.endswith("leaves.") for update in updates)
    assert transcript.text == model.transcribe(Audio(samples, RATE), language="en").text
    assert "leaves from platform" in transcript.text


def test_only_whole_words_are_committed(flash):
    options = StreamingOptions(policy="alignatt", pause=60)
    updates, transcript = streamed(flash.stream(language="en", options=options), clip("speech"))
    words = transcript.text.split()
    for update in updates:
        assert update.committed.split() == words[: len(update.committed.split())]


def test_pauses_part_segments(flash):
    """A second of quiet ends a segment, and the times are those of the recording."""
    sound = np.concatenate([clip("speech"), silence(3), clip("speech")])
    _, transcript = streamed(flash.stream(language="en", options=StreamingOptions(pause=1.0)), sound)
    first, second = transcript.segments
    assert first.text == second.text == SPEECH_TEXT
    assert first.start == 0.0
    assert 7.0 < first.end < 8.5
    assert 9.5 < second.start < 10.1
    assert second.end == transcript.duration == pytest.approx(17.02)


def test_segments_end_without_pauses_too(flash):
    """Somebody who never stops is cut off at the quietest place at hand."""
    voice = np.tile(clip("speech")[4000:100_000], 6)
    options = StreamingOptions(pause=60, longest_segment=8.0)
    _, transcript = streamed(flash.stream(language="en", options=options), voice)
    assert len(transcript.segments) >= 4
    assert all(segment.end - segment.start <= 8.1 for segment in transcript.segments)
    for one, two in pairwise(transcript.segments):
        assert one.end == two.start


def test_in_a_long_segment_a_shorter_pause_will_do(flash):
    """Long after its beginning a breath ends a segment, so that it is not cut off in a word later."""
    sound = np.concatenate([clip("speech"), silence(0.5), clip("speech")[: 2 * RATE]])
    n_segments = []
    for longest in (11.0, 30.0):
        options = StreamingOptions(pause=1.0, longest_segment=longest)
        n_segments.append(len(streamed(flash.stream(language="en", options=options), sound)[1].segments))
    assert n_segments == [2, 1]


class Repeating(StreamDecoder):
    """A decoder that has lost the recording."""

    def __init__(self, model, prompt):
        super().__init__(model, prompt)
        self.words = model.tokenizer.encode("fox dog", "en")

    def follow(self, guess):
        return [self.words[(len(self.ids) + n) % len(self.words)] for n in range(len(guess) + 1)]


def test_a_segment_that_repeats_itself_says_so(flash, monkeypatch):
    _, transcript = streamed(flash.stream(language="en"), clip("speech"))
    assert {segment.flags for segment in transcript.segments} == {()}
    monkeypatch.setattr("mlx_canary.streaming.agreement.StreamDecoder", Repeating)
    _, transcript = streamed(flash.stream(language="en"), clip("speech"))
    assert {segment.flags for segment in transcript.segments} == {("loop",)}


@pytest.mark.parametrize("policy", ["windowed", "alignatt", "waitk"])
def test_silence_has_no_text(flash, policy):
    updates, transcript = streamed(flash.stream(language="en", policy=policy), silence(20))
    assert transcript.segments == ()
    assert transcript.duration == 20
    assert {(update.committed, update.draft) for update in updates} == {("", "")}


def test_nothing_is_decoded_after_a_segment_has_ended(flash, monkeypatch):
    """A pause costs nothing, however long."""
    heard = []
    encode = CanaryNetwork.encode
    monkeypatch.setattr(CanaryNetwork, "encode", lambda self, features: heard.append(1) or encode(self, features))
    stream = flash.stream(language="en")
    streamed_until = [stream.add_audio(clip("speech")), stream.add_audio(silence(1.0))]
    n_decoded = len(heard)
    update = stream.add_audio(silence(60))
    assert streamed_until[-1].committed == update.committed == SPEECH_TEXT
    assert update.draft == ""
    assert len(heard) == n_decoded


@pytest.mark.parametrize("policy", ["windowed", "alignatt", "waitk"])
@pytest.mark.parametrize("block", [RATE // 10, 15 * RATE])
def test_sound_is_heard_once_whatever_interrupts(flash, monkeypatch, policy, block):
    """After Ctrl-C in the middle of a block its beginning was heard again by `finish`."""
    samples = np.concatenate([clip("speech"), silence(2), clip("speech")])
    expected = len(samples) / RATE
    encode, n_calls = CanaryNetwork.encode, 0

    def interrupted(*arguments):
        nonlocal n_calls
        n_calls += 1
        if n_calls % 3 == 0:
            raise KeyboardInterrupt
        return encode(*arguments)

    session = flash.stream(language="en", policy=policy)
    monkeypatch.setattr(CanaryNetwork, "encode", interrupted)
    for start in range(0, len(samples), block):
        with suppress(KeyboardInterrupt):
            session.add_audio(samples[start : start + block])
    monkeypatch.setattr(CanaryNetwork, "encode", encode)
    transcript = session.finish()
    assert transcript.duration == pytest.approx(expected, abs=1 / RATE)
    assert transcript.text.count("Good morning") == 2
    if policy == "windowed":
        assert transcript.text == f"{SPEECH_TEXT} {SPEECH_TEXT}"
    assert all(before.end <= after.start for before, after in pairwise(transcript.segments))


def test_no_sound_at_all(flash):
    transcript = flash.stream(language="en").finish()
    assert (transcript.text, transcript.duration, transcript.source_lang) == ("", 0.0, "en")


def test_translation(flash):
    """The small checkpoint knows its translation of the whole clip only, so it is heard in one piece."""
    options = StreamingOptions(chunk=60, pause=60)
    with flash.stream(language="en", target_lang="de", pnc=False, options=options) as stream:
        stream.add_audio(clip("speech"))
    transcript = stream.finish()
    assert (transcript.source_lang, transcript.target_lang) == ("en", "de")
    offline = flash.transcribe(
        Audio(clip("speech"), RATE), language="en", task="translate", target_lang="de", pnc=False
    )
    assert transcript.text == offline.text


def test_another_rate_is_resampled_as_a_whole_recording_is(flash, wav):
    """Blocks of any size through one resampler, not each by itself."""
    loud = np.repeat(clip("speech"), 3)  # 48 kHz
    found = []
    for block in (480, 7001, len(loud)):
        stream = flash.stream(language="en")
        for start in range(0, len(loud), block):
            stream.add_audio(Audio(loud[start : start + block], 48_000))
        found.append(stream.finish())
    assert len({transcript.text for transcript in found}) == 1
    resampled = load_audio(Audio(loud, 48_000))
    assert found[0].duration == pytest.approx(resampled.duration, abs=1e-3)
    _, at_rate = streamed(flash.stream(language="en"), resampled.samples)
    assert at_rate.text == found[0].text


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (np.full(100, np.nan, np.float32), "not numbers"),
        (np.full(100, 3e4, np.float32), "expected \\[-1, 1\\]"),
        (np.zeros((100, 2), np.float32), "one channel"),
    ],
)
def test_samples_that_make_no_sense(flash, block, message):
    with pytest.raises(AudioError, match=message):
        flash.stream(language="en").add_audio(block)


@pytest.mark.parametrize("policy", ["windowed", "alignatt"])
def test_a_prompt_that_leaves_no_room(flash, policy):
    with pytest.raises(PromptError, match="Give less context"):
        flash.stream(language="en", policy=policy, context="many words " * 100)


def test_the_rate_may_not_change(flash):
    stream = flash.stream(language="en")
    stream.add_audio(Audio(silence(0.1), 48_000))
    with pytest.raises(AudioError, match="began with 48000 Hz, this block has 16000"):
        stream.add_audio(silence(0.1))


def test_nothing_after_the_end(flash):
    stream = flash.stream(language="en")
    assert stream.finish() is stream.finish()
    with pytest.raises(AudioError, match="finished"):
        stream.add_audio(silence(0.1))


def test_an_error_inside_the_with_is_not_hidden(flash):
    """Nothing is decoded on the way out."""

    def interrupted():
        with flash.stream(language="en") as stream:
            stream.add_audio(clip("speech")[:8000])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()


@pytest.mark.parametrize("asked", [{"language": "ja"}, {"language": "en", "target_lang": "ja"}, {"language": "auto"}])
def test_languages_that_the_checkpoint_lacks(flash, asked):
    with pytest.raises(PromptError, match=r"ja|auto"):
        flash.stream(**asked)
