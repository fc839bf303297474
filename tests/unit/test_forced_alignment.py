"""When the words of a text that is already known are spoken: one window or many, with an aligner and without."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from conftest import clip, loaded
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_canary import AlignmentError, Audio, CanaryModel, PromptError, Transcript
from mlx_canary.alignment import viterbi
from mlx_canary.alignment.forced import words_of_plan
from mlx_canary.alignment.states import plan_text
from mlx_canary.forced_alignment import align_recording
from mlx_canary.longform.windows import cut_windows
from mlx_canary.text.prompt import Prompt

RATE, FRAME = 16000, 1280
SPEECH = "Good morning everyone. The quick brown fox jumps over the lazy dog, while forty two sailors count the stars."
CHIRP = "Hello, the weather is cold."
CTC, ATTENTION = "canary2-unified", "canary2-flash"


def model(name: str) -> CanaryModel:
    return CanaryModel(loaded(name))


def joined(*names: str, pause: float = 0.5) -> Audio:
    silence = np.zeros(round(pause * RATE), np.float32)
    return Audio(np.concatenate([part for name in names for part in (clip(name), silence)]), RATE)


def assert_aligned(transcript: Transcript, text: str, duration: float) -> None:
    """Every word once and unchanged; times rise and stay inside the recording."""
    assert [word.text for word in transcript.words] == text.split()
    times = [time for word in transcript.words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert not times or (times[0] >= 0 and times[-1] <= duration)
    assert transcript.duration == pytest.approx(duration)
    for segment in transcript.segments:
        assert segment.text == " ".join(word.text for word in segment.words)
        assert (segment.start, segment.end) == (segment.words[0].start, segment.words[-1].end)


@pytest.mark.parametrize("name", [CTC, ATTENTION, "canary1-agg-gz"])
@pytest.mark.parametrize(("sound", "text"), [("chirp", CHIRP), ("speech", SPEECH), ("short", "Hi.")])
def test_one_window(name, sound, text):
    audio = Audio(clip(sound), RATE)
    assert_aligned(model(name).align(audio, text, language="en"), text, audio.duration)


def test_sentences_are_segments():
    transcript = model(CTC).align(Audio(clip("speech"), RATE), SPEECH)
    assert [segment.text for segment in transcript.segments] == [SPEECH[:22], SPEECH[23:]]


@pytest.mark.parametrize("name", [CTC, ATTENTION])
@pytest.mark.parametrize(
    "text",
    [
        "Hello €5 😀 cold",
        "it's “quoted” x² here",
        "two  spaces,\ttab\nand line",
        "Straße <|en|> cold",
        "<unk>",
        "a \u200b b",
        "\ufeffHello",
    ],
)
def test_words_keep_their_letters(name, text):
    """By attention, characters that the tokenizer lacks once came back as <unk>, and x² as x2."""
    assert_aligned(model(name).align(Audio(clip("chirp"), RATE), text, language="en"), text, 2.3)


@settings(max_examples=25)
@given(text=st.text(max_size=12))
@pytest.mark.parametrize("name", [CTC, ATTENTION])
def test_any_text_is_aligned_or_refused(name, text):
    try:
        transcript = model(name).align(Audio(clip("chirp"), RATE), text, language="en")
    except AlignmentError:
        assert name == CTC  # more tokens than frames
    else:
        assert_aligned(transcript, text, 2.3)


@pytest.mark.parametrize("n_times", [6, 10])
def test_several_windows(n_times):
    """Beyond 35 s the recording is cut, and one path goes through all windows."""
    audio = joined(*["speech"] * n_times)
    text = " ".join([SPEECH] * n_times)
    transcript = model(CTC).align(audio, text, language="en")
    assert_aligned(transcript, text, audio.duration)
    assert len(transcript.segments) == 2 * n_times


def test_windows_are_cut_between_frames():
    """One path through all windows counts frames, so a window must be whole frames long, or times would drift."""
    samples = joined(*["speech", "chirp"] * 12).samples
    blocks = (samples[i : i + 7001] for i in range(0, len(samples), 7001))
    windows = list(cut_windows(blocks, RATE, grid=FRAME))
    assert len(windows) > 3
    assert all(len(window.samples) % FRAME == 0 for window in windows[:-1])
    for before, after in pairwise(windows):
        assert before.end == pytest.approx(after.start)


def test_the_frames_of_all_windows_follow_each_other():
    """Its words lie where one path through the windows' log-probabilities puts them."""
    parts, aligner = loaded(CTC), loaded(CTC).aligner
    audio = joined(*["speech"] * 6)
    frames = []
    for window in cut_windows([audio.samples], RATE, grid=FRAME):
        log_probs, (n_frames,) = aligner.network(aligner.preprocessor([window.samples]))
        assert n_frames == -(-(len(window.samples) // 160) // 8)
        frames.append(np.array(log_probs[0, :n_frames]))
    text = " ".join([SPEECH] * 6)
    plan = plan_text(text, parts.tokenizer, parts.tokenizer.size)
    expected = words_of_plan(plan, np.concatenate(frames), parts.tokenizer, audio.duration, 0.08)
    assert model(CTC).align(audio, text).words == expected


def test_too_long_a_recording_is_refused_before_all_of_it_is_read(monkeypatch):
    monkeypatch.setattr(viterbi, "MAX_CELLS", 20_000)
    n_read = 0

    def blocks():
        nonlocal n_read
        for _ in range(40):
            n_read += 1
            yield clip("speech")

    with pytest.raises(AlignmentError, match="frames or more are too many to align in one piece"):
        align_recording(loaded(CTC), blocks(), SPEECH, Prompt("en", "en"))
    assert n_read < 30


def test_blocks_may_be_of_any_length():
    samples = joined(*["speech"] * 6).samples
    text, prompt = " ".join([SPEECH] * 6), Prompt("en", "en")
    whole = align_recording(loaded(CTC), [samples], text, prompt)
    for size in (999, 50_000):
        blocks = (samples[i : i + size] for i in range(0, len(samples), size))
        assert align_recording(loaded(CTC), blocks, text, prompt) == whole


@pytest.mark.parametrize(
    ("name", "sound", "text", "message"),
    [
        (CTC, "chirp", SPEECH * 3, r"needs at least .* the recording has 2.30 s. Is it the text of this recording"),
        (CTC, "short", "Good morning", "the recording has 0.40 s"),
        (ATTENTION, "chirp", "a " * 100, "has 100 words, the recording of 2.30 s only 29 frames"),
        (ATTENTION, "speech", "antidisestablishmentarianism " * 80, "the decoder has room for"),
    ],
)
def test_a_text_that_does_not_fit_is_refused(name, sound, text, message):
    with pytest.raises(AlignmentError, match=message):
        model(name).align(Audio(clip(sound), RATE), text, language="en")


@pytest.mark.parametrize("name", [CTC, ATTENTION])
def test_nothing_is_in_an_empty_recording(name):
    """It once came back without the text, as if all were well."""
    nothing = Audio(np.zeros(0, np.float32), RATE)
    with pytest.raises(AlignmentError, match="recording is empty"):
        model(name).align(nothing, CHIRP, language="en")
    assert model(name).align(nothing, " \n", language="en").segments == ()


@pytest.mark.parametrize("name", [CTC, ATTENTION])
@pytest.mark.parametrize("text", ["", " \n\t "])
def test_no_text_has_no_words(name, text):
    transcript = model(name).align(Audio(clip("chirp"), RATE), text, language="en")
    assert transcript.segments == ()
    assert transcript.duration == pytest.approx(2.3)


def test_without_an_aligner_up_to_forty_seconds():
    short, long = np.tile(clip("speech"), 6)[: 40 * RATE], np.tile(clip("speech"), 6)[: 40 * RATE + 1]
    assert_aligned(model(ATTENTION).align(Audio(short, RATE), SPEECH, language="en"), SPEECH, 40.0)
    with pytest.raises(AlignmentError, match=r"up to 40 s can be aligned.*canary-1b-v2"):
        model(ATTENTION).align(Audio(long, RATE), SPEECH, language="en")


def test_a_recording_that_is_too_long_is_not_read_to_its_end():
    def blocks():
        for _ in range(5):
            yield np.zeros(10 * RATE, np.float32)
        raise AssertionError("read on")

    with pytest.raises(AlignmentError, match="up to 40 s"):
        align_recording(loaded(ATTENTION), blocks(), CHIRP, Prompt("en", "en"))


def test_the_language_is_checked():
    with pytest.raises(PromptError, match="spoken language 'it'"):
        model(ATTENTION).align(Audio(clip("chirp"), RATE), CHIRP, language="it")


@pytest.mark.parametrize("name", [CTC, ATTENTION])
def test_padding_to_a_second_moves_no_times(name):
    """What is shorter is padded with silence, on either side or behind; times count from the recording's beginning."""
    samples = clip("chirp")[: RATE - 2]
    shorter = model(name).align(Audio(samples, RATE), "Hello", language="en")
    whole = model(name).align(Audio(clip("chirp")[:RATE], RATE), "Hello", language="en")
    (a,), (b,) = shorter.words, whole.words
    assert (a.start, a.end) == pytest.approx((b.start, b.end), abs=0.081)
