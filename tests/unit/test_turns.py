"""TranscriptionQueue: the same texts as `transcribe`, and a fair order."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from conftest import DATA, clip

from mlx_canary import (
    Audio,
    AudioError,
    DecodingOptions,
    LanguageModel,
    PromptError,
    TranscriptionOptions,
    load_audio,
)
from mlx_canary.network.canary import CanaryNetwork

RATE = 16_000
ENGLISH = TranscriptionOptions(language="en", shortest_window=1, longest_window=2)


def recording(seconds: float) -> Audio:
    return Audio(np.resize(clip("speech"), round(seconds * RATE)), RATE)


def drained(queue) -> dict:
    return {outcome.index: outcome for step in iter(lambda: queue.step() if queue else None, None) for outcome in step}


@pytest.mark.parametrize("batch_size", [1, 3])
def test_each_gets_what_it_would_get_alone(flash, batch_size):
    """Whatever it is decoded with: other lengths, other languages, others that fail."""
    german = TranscriptionOptions(language="en", task="translate", target_lang="de", timestamps="word")
    asked = [(recording(7), ENGLISH), (recording(3), german), ("missing.wav", ENGLISH), (recording(0), ENGLISH)]
    queue = flash.queue(batch_size=batch_size)
    tickets = [queue.add(audio, options) for audio, options in asked]
    found = drained(queue)
    for ticket, outcome in zip(tickets, flash.transcribe_each(asked), strict=True):
        assert found[ticket].transcript == outcome.transcript
        assert str(found[ticket].error) == str(outcome.error)
    assert isinstance(found[tickets[2]].error, AudioError)


def test_a_short_one_does_not_wait_for_a_long_one(flash):
    queue = flash.queue(batch_size=1)
    queue.add(recording(20), ENGLISH)
    queue.step()
    short = queue.add(recording(1.5), ENGLISH)
    n_steps = 0
    while short not in [outcome.index for outcome in queue.step()]:
        n_steps += 1
    assert n_steps <= 1
    assert len(queue) == 1


def test_a_long_one_goes_on_whatever_comes(flash):
    """With a new recording before every step, the old one still has every second turn."""
    queue, told = flash.queue(batch_size=1), []
    queue.add(recording(6), ENGLISH, on_segment=lambda segment: told.append(segment.start))
    queue.step()
    for _ in range(6):
        queue.add(recording(1.5), ENGLISH)
        queue.step()
    assert len(told) == 4
    assert told == sorted(told)


def test_long_ones_take_turns(flash):
    """One after the other, once both had a first turn."""
    queue, told = flash.queue(batch_size=1), []
    for name in "ab":
        queue.add(recording(6), ENGLISH, on_segment=lambda segment, name=name: told.append(name))
    for _ in range(6):
        queue.step()
    assert re.fullmatch("a{1,2}b(ab)+a?", "".join(told))


def test_windows_of_one_batch_are_alike(flash):
    """All are padded to the longest: a short one beside a long one would cost as much as a long one."""
    queue = flash.queue(batch_size=4)
    queue.add(recording(7), TranscriptionOptions(language="en"))
    queue.add(recording(1), TranscriptionOptions(language="en"))
    queue.add(recording(5), TranscriptionOptions(language="en"))
    assert [outcome.index for outcome in queue.step()] == [0, 2]
    assert [outcome.index for outcome in queue.step()] == [1]


def test_one_that_nobody_wants_any_more(flash):
    queue = flash.queue(batch_size=2)
    tickets = [queue.add(recording(6), ENGLISH) for _ in range(3)]
    queue.step()
    assert queue.cancel(tickets[0])
    assert not queue.cancel(tickets[0])
    assert queue.cancel(tickets[2])
    assert set(drained(queue)) == {tickets[1]}
    assert not queue.cancel(tickets[1])


def test_what_the_checkpoint_cannot_do_is_refused_at_once(flash):
    queue = flash.queue()
    with pytest.raises(PromptError, match="does not know the spoken language 'ja'"):
        queue.add(recording(1), TranscriptionOptions(language="ja"))
    assert not queue
    assert queue.step() == []
    with pytest.raises(PromptError, match="at least 1"):
        flash.queue(batch_size=0)


def test_a_listener_that_fails_ends_its_own_recording_alone(flash):
    def fail(segment):
        raise ZeroDivisionError

    queue = flash.queue(batch_size=4)
    failing, other = queue.add(recording(6), ENGLISH, on_segment=fail), queue.add(recording(6), ENGLISH)
    with pytest.raises(ZeroDivisionError):
        queue.step()
    assert not queue.cancel(failing)
    (outcome,) = drained(queue).values()
    assert outcome.index == other
    assert outcome.transcript == flash.transcribe(recording(6), options=ENGLISH)


def test_a_fault_ends_the_recordings_that_it_met(flash, monkeypatch):
    queue = flash.queue(batch_size=1)
    failing, other = queue.add(recording(6), ENGLISH), queue.add(recording(1.5), ENGLISH)
    with monkeypatch.context() as patched:
        patched.setattr(CanaryNetwork, "encode", lambda network, features: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            queue.step()
    assert failing not in queue
    assert other in queue
    assert list(drained(queue)) == [other]
    assert other not in queue


def test_who_cancels_while_being_told_is_told_no_more_windows(flash):
    queue, told = flash.queue(batch_size=4), []

    def stop(segment):
        told.append(segment.start)
        queue.cancel(ticket)

    ticket = queue.add(recording(8), ENGLISH, on_segment=stop)
    assert queue.step() == []
    assert told == [0.0]
    assert len(queue) == 0


def test_a_recording_that_cannot_be_read_takes_no_other_with_it(flash):
    class Broken(io.BytesIO):
        def read(self, *_):
            raise ZeroDivisionError

    queue = flash.queue(batch_size=4)
    good = [queue.add(recording(3), ENGLISH)]
    queue.add(Broken(), ENGLISH)
    good.append(queue.add(recording(3), ENGLISH))
    found, problems = {}, []
    while queue:
        try:
            found |= {outcome.index: outcome for outcome in queue.step()}
        except ZeroDivisionError as error:
            problems.append(error)
    assert sorted(found) == good
    assert len(problems) == 1


def test_who_cancels_while_a_silent_beginning_is_told_harms_nobody(demo):
    """Silent windows wait for the language that is found after them; with them a recording is told while it is read."""
    speech = load_audio(DATA / "demo" / "de_kokoro_1.flac").samples
    late = Audio(np.concatenate([np.zeros(40 * RATE, np.float32), speech]), RATE)
    automatic = TranscriptionOptions(language="auto")
    queue = demo.queue()
    other = queue.add(late, automatic)
    told = []

    def cancel(segment):
        told.append(segment)
        queue.cancel(ticket)

    ticket = queue.add(late, automatic, on_segment=cancel)
    found = drained(queue)
    assert len(told) == 1
    assert list(found) == [other]
    assert found[other].transcript.text


def test_a_search_that_is_not_possible_is_refused_before_others_are_decoded(flash):
    """All that were decoded with it were lost."""
    queue = flash.queue()
    good = queue.add(recording(2), ENGLISH)
    missing = DecodingOptions(language_model=LanguageModel("missing.arpa"))
    bad = TranscriptionOptions(language="en", decoding=missing)
    with pytest.raises(PromptError, match=r"missing\.arpa"):
        queue.add(recording(2), bad)
    assert list(drained(queue)) == [good]
    with pytest.raises(PromptError, match=r"missing\.arpa"):
        next(iter(flash.transcribe_each([(recording(2), ENGLISH), (recording(2), bad)])))
