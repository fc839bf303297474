"""Windows become segments: times by every method, confidence, several texts from one listening, guards."""

from __future__ import annotations

import io
import json
import wave
import weakref
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import DATA, clip, loaded, sound

import mlx_canary
from mlx_canary import (
    CANARY_MODELS,
    Audio,
    CanaryModel,
    ConfidenceMethod,
    DecodingOptions,
    PromptError,
    Transcript,
    TranscriptionOptions,
    load_audio,
)
from mlx_canary.alignment.attention import words_of_tokens
from mlx_canary.alignment.scores import word_confidences
from mlx_canary.alignment.word_times import WordTimes
from mlx_canary.backend import mx
from mlx_canary.load_models import LoadedModel, load_nemo
from mlx_canary.longform.assembly import Assembly
from mlx_canary.longform.windows import Window, cut_windows
from mlx_canary.network.canary import CanaryNetwork
from mlx_canary.reading import Reader
from mlx_canary.requests import request_for, window_lengths
from mlx_canary.text.prompt import Prompt
from mlx_canary.transcriber import Piece, Transcriber
from mlx_canary.types import Hypothesis
from mlx_canary.writers import read_json, render

RATE = 16000
CLIPS = Path(mlx_canary.__file__).parent / "demo" / "clips"
CTC, INLINE, ATTENTION = "canary2-unified", "canary2-flash", "canary1-agg-gz"
ENGLISH = TranscriptionOptions(language="en")
GERMAN = TranscriptionOptions(language="en", task="translate", target_lang="de", pnc=False)
WORDS = replace(ENGLISH, timestamps="word")
SURE = DecodingOptions(confidence=ConfidenceMethod("max_prob", alpha=1.0))


def model(name: str) -> CanaryModel:
    return CanaryModel(loaded(name))


def assert_timed(transcript: Transcript) -> None:
    """Times rise from first to last and stay inside the recording; texts are the joined words."""
    times = [time for word in transcript.words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= transcript.duration
    for segment in transcript.segments:
        assert segment.text == " ".join(word.text for word in segment.words)
        assert (segment.start, segment.end) == (segment.words[0].start, segment.words[-1].end)


# Times.


@pytest.mark.parametrize(
    ("name", "prompt", "method"),
    [
        (CTC, Prompt("en", "en"), "ctc"),
        (CTC, Prompt("en", "de"), "attention"),
        (INLINE, Prompt("en", "en"), "inline"),
        (INLINE, Prompt("en", "de"), "inline"),
        (ATTENTION, Prompt("en", "en"), "attention"),
    ],
)
def test_where_times_come_from(name, prompt, method):
    """Translations have no aligner: their words are not the spoken ones."""
    assert WordTimes(loaded(name)).method(prompt, None) == method
    assert WordTimes(loaded(name)).method(prompt, "attention") == "attention"


@pytest.mark.parametrize(
    ("published", "name"),
    [("canary-1b-v2", CTC), ("canary-180m-flash", INLINE), ("canary-1b-flash", INLINE), ("canary-1b", ATTENTION)],
)
def test_the_registry_says_where_times_come_from(published, name):
    """Each published model has its small likeness; of canary-1b it said that there are no word times."""
    said = {"ctc": "CTC aligner", "inline": "time tokens", "attention": "attention"}
    method = WordTimes(loaded(name)).method(Prompt("en", "en"), None)
    assert CANARY_MODELS[published].word_times == said[method]


@pytest.mark.parametrize("name", [CTC, INLINE, ATTENTION])
@pytest.mark.parametrize("sounds", ["speech", "chirp", "short"])
@pytest.mark.parametrize("options", [ENGLISH, GERMAN], ids=["same", "translated"])
def test_word_times(name, sounds, options):
    transcript = model(name).transcribe(sound(sounds), options=replace(options, timestamps="word"))
    if transcript.text:
        assert_timed(transcript)


@pytest.mark.parametrize("name", [CTC, INLINE, ATTENTION])
@pytest.mark.parametrize("options", [ENGLISH, GERMAN], ids=["same", "translated"])
def test_segment_times_are_those_of_words(name, options):
    audio = sound("speech", 0.5, "speech", 3.0, "chirp")
    words = model(name).transcribe(audio, options=replace(options, timestamps="word"))
    segments = model(name).transcribe(audio, options=replace(options, timestamps="segment"))
    assert [replace(segment, words=()) for segment in words.segments] == list(segments.segments)
    assert segments.words == ()


@pytest.mark.parametrize("name", [CTC, INLINE, ATTENTION])
def test_sentences_are_segments(name):
    transcript = model(name).transcribe(sound("speech"), options=WORDS)
    assert [segment.text[:12] for segment in transcript.segments] == ["Good morning", "The quick br"]


@pytest.mark.parametrize("name", [CTC, INLINE, ATTENTION])
def test_without_times_a_window_is_one_segment(name):
    (segment,) = model(name).transcribe(sound("speech"), options=ENGLISH).segments
    assert (segment.start, segment.end) == (0, len(clip("speech")) / RATE)
    assert segment.words == ()


@pytest.mark.parametrize("name", [CTC, ATTENTION])
@pytest.mark.parametrize("options", [ENGLISH, GERMAN], ids=["same", "translated"])
@pytest.mark.parametrize("sounds", ["speech", "chirp", "short"])
def test_asking_for_times_does_not_change_the_text(name, options, sounds):
    """Only inline times are asked of the model itself, and with them it may write something else."""
    with_times = model(name).transcribe(sound(sounds), options=replace(options, timestamps="word"))
    assert with_times.text == model(name).transcribe(sound(sounds), options=options).text


@pytest.mark.parametrize("name", [CTC, INLINE, ATTENTION])
@pytest.mark.parametrize("options", [ENGLISH, GERMAN], ids=["same", "translated"])
def test_times_by_where_the_decoder_looks(name, options):
    """Never change the text, and are no others where the model has nothing else."""
    timed = replace(options, timestamps="word")
    looked = model(name).transcribe(sound("speech"), options=replace(timed, times_from="attention"))
    assert looked.text == model(name).transcribe(sound("speech"), options=options).text
    assert_timed(looked)
    own = model(name).transcribe(sound("speech"), options=timed)
    has_own = name == INLINE or (name == CTC and options == ENGLISH)
    assert (looked.words != own.words) == has_own


def test_windows_are_as_long_as_time_tokens_reach_only_where_they_are_asked_for():
    """Few of them are left here, so that they reach four seconds; seven are heard at once where nobody wants times."""
    parts = load_nemo(DATA / f"models/{INLINE}.nemo")
    parts.tokenizer.n_times = round(4 / parts.config.frame_duration)
    assert WordTimes(parts).reach(None) == 4
    assert WordTimes(parts).reach("attention") is None
    reader = Reader(parts, Transcriber(parts))

    def n_windows(options: TranscriptionOptions) -> int:
        return len(list(reader.pieces(0, sound("speech"), options, Assembly(1), None)))

    assert [n_windows(o) for o in (ENGLISH, WORDS, replace(WORDS, times_from="attention"))] == [1, 2, 1]


@pytest.mark.parametrize("name", [CTC, ATTENTION])
def test_less_than_a_second_is_padded_but_keeps_its_clock(name):
    """0.4 s stand in the middle of the second that the model hears: times are 0.3 s less, and at the edges cut."""
    short = model(name).transcribe(sound("short"), options=WORDS)
    padded = model(name).transcribe(sound(0.3, "short", 0.3), options=WORDS)
    assert (short.text, short.duration) == (padded.text, 0.4)
    for word, same in zip(short.words, padded.words, strict=True):
        expected = [min(max(time - 0.3, 0), 0.4) for time in (same.start, same.end)]
        assert [word.start, word.end] == pytest.approx(expected)


@pytest.mark.parametrize("name", [CTC, INLINE, ATTENTION])
@pytest.mark.parametrize("timestamps", ["word", None])
def test_later_windows_count_from_the_recordings_beginning(name, timestamps):
    options = replace(ENGLISH, timestamps=timestamps, longest_window=9, guards=False)
    audio = sound(*["speech", 1.0] * 3, "chirp")
    whole = model(name).transcribe(audio, options=options)
    windows = list(cut_windows([audio.samples], RATE, 9 * 4 / 7, 9))
    assert len(windows) > 2
    expected = []
    for window in windows:
        alone = model(name).transcribe(Audio(window.samples, RATE), options=options)
        expected += [(s.text, s.start + window.start, s.end + window.start) for s in alone.segments]
    assert [segment.text for segment in whole.segments] == [text for text, _, _ in expected]
    for segment, (_, start, end) in zip(whole.segments, expected, strict=True):
        assert (segment.start, segment.end) == pytest.approx((start, end))
    if timestamps:
        assert_timed(whole)


@pytest.mark.parametrize("name", [CTC, INLINE, ATTENTION])
def test_a_long_recording_with_words(name):
    transcript = model(name).transcribe(sound(*["speech", 0.5, "chirp", 0.5] * 8), options=WORDS)
    assert_timed(transcript)
    assert transcript.words[-1].start > 45


# Confidence.


@pytest.mark.parametrize("name", [CTC, INLINE, ATTENTION])
@pytest.mark.parametrize("method", [SURE, DecodingOptions(confidence=ConfidenceMethod())])
@pytest.mark.parametrize("options", [ENGLISH, GERMAN], ids=["same", "translated"])
def test_every_word_and_segment_has_its_confidence(name, method, options):
    """Words of flash models parted by a time token inside of them once had none, nor had their segments."""
    for sounds in ("speech", "chirp", "short"):
        asked = replace(options, timestamps="word", decoding=method)
        transcript = model(name).transcribe(sound(sounds), options=asked)
        for segment in transcript.segments if transcript.text else ():
            values = [word.confidence for word in segment.words]
            assert all(0 <= value <= 1 for value in values)
            assert segment.confidence == pytest.approx(sum(values) / len(values))


@pytest.mark.parametrize("name", [CTC, INLINE, ATTENTION])
def test_segments_without_words_have_their_confidence(name):
    asked = replace(ENGLISH, decoding=SURE)
    (segment,) = model(name).transcribe(sound("speech"), options=asked).segments
    (noisy,) = (
        model(name)
        .transcribe(
            Audio(
                clip("speech") + np.random.default_rng(0).normal(0, 0.3, len(clip("speech"))).astype(np.float32), RATE
            ),
            options=replace(asked, guards=False),
        )
        .segments
    )
    assert 0 < noisy.confidence < segment.confidence <= 1


@pytest.mark.parametrize("name", [CTC, INLINE, ATTENTION])
def test_how_likely_each_sentence_is(name):
    """The search always knew; it was thrown away. A sentence's average is that of its own tokens."""
    found, sounds = model(name), sound("speech")
    sentences = found.transcribe(sounds, options=WORDS).segments
    assert len(sentences) == 2
    assert [found.tokenizer.decode(each.tokens).strip() for each in sentences] == [each.text for each in sentences]
    (hypothesis,) = found.generate([sounds], [replace(Prompt("en", "en"), timestamp=name == INLINE)])
    both = zip(hypothesis.tokens, hypothesis.token_logprobs, strict=True)
    plain = [(token, logprob) for token, logprob in both if token not in found.tokenizer.special_ids]
    for each in sentences:
        mine, plain = plain[: len(each.tokens)], plain[len(each.tokens) :]
        assert tuple(token for token, _ in mine) == each.tokens
        assert each.avg_logprob == pytest.approx(sum(logprob for _, logprob in mine) / len(mine), abs=1e-6)
        assert 0 < each.no_speech_prob < 0.01
    assert plain == []


def test_a_window_as_one_segment_has_all_tokens():
    (segment,) = model(CTC).transcribe(sound("speech"), options=ENGLISH).segments
    (hypothesis,) = model(CTC).generate([sound("speech")], [Prompt("en", "en")])
    assert segment.tokens == hypothesis.tokens
    assert segment.avg_logprob == pytest.approx(sum(hypothesis.token_logprobs) / len(hypothesis.tokens), abs=1e-6)


def test_where_nothing_is_heard_nothing_is_known():
    (segment,) = model(CTC).transcribe(sound(2.0), options=ENGLISH).segments
    assert (segment.tokens, segment.avg_logprob, segment.no_speech_prob) == ((), None, None)


@pytest.mark.parametrize("name", [CTC, INLINE, ATTENTION])
def test_n_best(name):
    """The best is the segment's text, as it is without the others, which are other tokens and no better."""
    found, three = model(name), DecodingOptions(beam_size=3, n_best=3)
    audio = sound("speech", 0.5, "chirp")
    segments = found.transcribe(audio, options=replace(ENGLISH, decoding=three)).segments
    alone = found.transcribe(audio, options=replace(ENGLISH, decoding=DecodingOptions(beam_size=3))).segments
    assert [replace(segment, n_best=()) for segment in segments] == list(alone)
    for segment in segments:
        assert len(segment.n_best) == 3
        assert segment.n_best[0].text == segment.text
        scores = [one.score for one in segment.n_best]
        assert scores == sorted(scores, reverse=True)
    assert len({one.text for segment in segments for one in segment.n_best}) > len(segments)


def test_n_best_of_sampling_are_as_many_draws():
    options = replace(ENGLISH, decoding=DecodingOptions(temperature=1.5, seed=3, n_best=4))
    (segment,) = model(CTC).transcribe(sound("chirp"), options=options).segments
    assert len(segment.n_best) == 4


def test_n_best_and_times_do_not_go_together():
    with pytest.raises(PromptError, match="n_best=2 texts are those of whole windows, which timestamps='word' would"):
        replace(WORDS, decoding=DecodingOptions(beam_size=2, n_best=2))


def test_confidence_is_not_told_unless_asked_for():
    transcript = model(CTC).transcribe(sound("speech"), options=WORDS)
    assert {word.confidence for word in transcript.words} | {s.confidence for s in transcript.segments} == {None}


@pytest.mark.parametrize("name", [CTC, ATTENTION])
def test_a_words_confidence_is_its_worst_tokens(name):
    parts = loaded(name)
    tokens = parts.tokenizer.encode("Hello, the weather", "en")
    rising = tuple(0.1 + 0.01 * n for n in range(len(tokens)))
    words, word_of = words_of_tokens(tokens, parts.tokenizer)
    found = word_confidences(Hypothesis(tuple(tokens), rising, True, 0.0, rising), parts.tokenizer)
    assert words == ["Hello,", "the", "weather"]
    assert found == pytest.approx([rising[list(word_of).index(word)] for word in range(3)])


def test_few_decoders_are_kept():
    """Each may hold a language model or a tree of phrases."""
    transcriber = Transcriber(loaded(ATTENTION))
    kept = [weakref.ref(transcriber._decoder(DecodingOptions(beam_size=n))) for n in range(1, 9)]
    assert [n for n, decoder in enumerate(kept, 1) if decoder() is not None] == [5, 6, 7, 8]
    assert transcriber._decoder(DecodingOptions(beam_size=6)) is kept[5]()


@pytest.mark.parametrize("name", [INLINE, ATTENTION, CTC])
def test_special_tokens_part_words(name):
    """As reading inline times does; and what stands before the first word belongs to it."""
    tokenizer = loaded(name).tokenizer
    special = tokenizer.special_id("<|en|>")
    cold, wet = tokenizer.encode("cold", "en"), tokenizer.encode("wet", "en")
    words, word_of = words_of_tokens([special, *cold, special, *wet, special], tokenizer)
    assert words == ["cold", "wet"]
    assert list(word_of) == [-1, *[0] * len(cold), -1, *[1] * len(wet), -1]
    assert words_of_tokens([special], tokenizer)[0] == []
    assert words_of_tokens([], tokenizer)[0] == []


# Several texts.


@pytest.fixture
def encoded(monkeypatch) -> list[int]:
    """The batch sizes of all passes of the encoder."""
    passes: list[int] = []
    encode = CanaryNetwork.encode

    def counted(network, features):
        passes.append(len(features.lengths))
        return encode(network, features)

    monkeypatch.setattr(CanaryNetwork, "encode", counted)
    return passes


@pytest.mark.parametrize("name", [CTC, INLINE, ATTENTION])
@pytest.mark.parametrize("timestamps", [None, "word"])
def test_translations_come_from_the_same_listening(name, timestamps, encoded):
    options = replace(ENGLISH, timestamps=timestamps, also_translate=("de", "es"), guards=False)
    transcript = model(name).transcribe(sound("speech"), options=options)
    assert encoded == [1]
    assert [(t.source_lang, t.target_lang) for t in transcript.translations] == [("en", "de"), ("en", "es")]
    assert replace(transcript, translations=()) == model(name).transcribe(
        sound("speech"), options=replace(options, also_translate=())
    )
    for translation in transcript.translations:
        alone = replace(options, also_translate=(), task="translate", target_lang=translation.target_lang)
        assert translation == model(name).transcribe(sound("speech"), options=alone)


def test_translations_of_a_translation(encoded):
    options = replace(GERMAN, also_translate=("es",))
    transcript = model(ATTENTION).transcribe(sound("chirp"), options=options)
    assert encoded == [1]
    assert (transcript.target_lang, transcript.translations[0].target_lang) == ("de", "es")


def test_a_batch_of_different_wishes(encoded):
    """Searches that differ are done one after the other, texts and times in one batch; all as if alone."""
    beams = replace(ENGLISH, decoding=DecodingOptions(beam_size=3))
    wishes = [ENGLISH, WORDS, GERMAN, replace(WORDS, also_translate=("de", "fr"), guards=False), beams, ENGLISH]
    sounds = [sound("speech"), sound("chirp"), sound("speech"), sound("chirp"), sound("chirp"), sound(1.0)]
    together = model(ATTENTION).transcribe_batch(sounds, wishes, batch_size=6)
    assert sorted(encoded) == [1, 4]  # the silent one is not listened to
    for audio, options, transcript in zip(sounds, wishes, together, strict=True):
        alone = model(ATTENTION).transcribe(audio, options=options)
        assert [t.text for t in (transcript, *transcript.translations)] == [
            t.text for t in (alone, *alone.translations)
        ]
        assert [w.start for w in transcript.words] == pytest.approx([w.start for w in alone.words], abs=0.081)


# Guards.


def limited(name: str, max_sequence_length: int) -> CanaryModel:
    """A model whose position table ends early, so that its texts do."""
    parts = loaded(name)
    decoder = parts.config.decoder.model_copy(update={"max_sequence_length": max_sequence_length})
    return CanaryModel(replace(parts, config=parts.config.model_copy(update={"decoder": decoder})))


def inclined(name: str, token: str, bias: float) -> CanaryModel:
    """A model that likes one token more than it was trained to."""
    parts: LoadedModel = load_nemo(DATA / f"models/{name}.nemo")
    ids = parts.tokenizer.encode(token, "en")
    index = parts.tokenizer.special_id(token) if token.startswith("<|") else ids[0]
    values = np.array(parts.network.head_bias.astype(mx.float32))
    values[index] += bias
    parts.network.head_bias = mx.array(values)
    return CanaryModel(parts)


def test_a_window_that_was_cut_short_is_decoded_in_parts(encoded):
    """Its second half comes to its end, so half the words are saved; what remains doubtful stays marked."""
    audio = sound("speech", 2.0, "chirp")
    short = limited(ATTENTION, 30)
    (whole,) = short.transcribe(audio, options=replace(ENGLISH, guards=False)).segments
    assert whole.flags == ("unfinished",)
    assert encoded == [1]
    first, second = short.transcribe(audio, options=ENGLISH).segments
    assert (first.text, first.flags) == (whole.text, ("unfinished",))
    assert (second.text, second.flags) == ("Thank you!", ())
    assert (first.start, first.end, second.end) == (0, second.start, audio.duration)
    assert len(encoded) > 2


def test_parts_with_word_times():
    audio = sound("speech", 2.0, "chirp")
    transcript = limited(ATTENTION, 30).transcribe(audio, options=WORDS)
    assert_timed(transcript)
    assert [segment.flags for segment in transcript.segments] == [("unfinished",)] * 2 + [()]


def test_short_windows_are_not_decoded_again(encoded):
    """Parts of less than four seconds tell a model little."""
    (segment,) = limited(ATTENTION, 30).transcribe(sound("speech"), options=ENGLISH).segments
    assert (segment.flags, encoded) == (("unfinished",), [1])


def test_a_model_that_loops_is_marked(encoded):
    """All its parts loop too, so the window's own text is kept, with every doubt."""
    (segment,) = inclined(ATTENTION, "cold", 1000.0).transcribe(sound("speech", 2.0), options=ENGLISH).segments
    assert {"unfinished", "loop"} <= set(segment.flags)
    assert encoded[0] == 1
    assert sum(encoded) > 1


def test_a_model_that_says_that_nobody_speaks_is_marked():
    """And that writes something all the same."""
    undecided = inclined(CTC, "<|nospeech|>", 12.0)
    flags = {name: undecided.transcribe(sound(name), options=ENGLISH).segments[0].flags for name in ("chirp", "speech")}
    assert flags == {"chirp": ("unsure", "no_speech"), "speech": ()}


def test_what_is_invented_for_music_is_marked(encoded):
    """Three swelling tones gave "Extension six six six ..." with no doubt at all. Speech is not marked.

    Nor is the window decoded again: for half of it the model may invent something that it finds likely.
    """
    demo = CanaryModel.from_pretrained("demo")
    time = np.arange(12 * RATE) / RATE
    chord = sum(np.sin(2 * np.pi * tone * time) for tone in (262, 330, 392)) * (1 + np.sin(8 * np.pi * time)) * 0.08
    (segment,) = demo.transcribe(Audio(chord.astype(np.float32), RATE), options=ENGLISH).segments
    assert segment.text
    assert segment.avg_logprob < -1
    assert (segment.flags, encoded) == (("unsure",), [1])
    (spoken,) = demo.transcribe(CLIPS / "en_kokoro_1.flac", options=ENGLISH).segments
    assert spoken.flags == ()


def test_parts_too_short_for_their_prompt_are_left_alone(encoded):
    """A context may leave room in the window but none in its halves; then there once was no transcript at all."""
    parts = loaded(INLINE)
    decoding = parts.config.decoding.model_copy(update={"max_generation_delta": 0})
    tight = CanaryModel(replace(parts, config=parts.config.model_copy(update={"decoding": decoding})))
    options = replace(ENGLISH, context="the weather was cold " * 8)
    (segment,) = tight.transcribe(sound("speech", 1.5), options=options).segments
    assert segment.flags == ("unfinished",)
    assert encoded == [1]


def test_a_recording_too_short_for_its_prompt_stops_no_other():
    """It once ended the whole run."""
    options = replace(ENGLISH, context="the weather was cold " * 10)
    outcomes = list(model(INLINE).transcribe_each([(sound("speech"), options), (sound("short"), options)]))
    assert outcomes[0].transcript.text
    with pytest.raises(PromptError, match="leaves no room for the text of a recording this short"):
        raise outcomes[1].error


def test_doubts_are_written_down():
    transcript = limited(ATTENTION, 30).transcribe(sound("speech", 2.0, "chirp"), options=WORDS)
    text = render(transcript, "json")
    assert [segment["flags"] for segment in json.loads(text)["segments"]] == [["unfinished"], ["unfinished"], []]
    assert read_json(text) == transcript


def test_transcribers_windows_are_whole_texts():
    """The order of windows in a batch is the order of their texts."""
    request = request_for(ENGLISH, loaded(INLINE).config, loaded(INLINE).tokenizer)
    silence = np.zeros(RATE, np.float32)
    sounds = [silence, clip("speech"), silence, clip("chirp"), clip("short")]
    pieces = [Piece(0, Window(samples, 5.0, 5.0 + len(samples) / RATE), request) for samples in sounds]
    texts = [segments[0].text for (segments,) in Transcriber(loaded(INLINE))(pieces)]
    assert [text[:5] for text in texts] == ["", "Good ", "", "Hello", "Thank"]


# As they are known.


class Counted(io.BytesIO):
    """A file that knows how much of it was read."""

    n_read = 0

    def read(self, size: int | None = -1) -> bytes:
        block = super().read(size)
        self.n_read = max(self.n_read, self.tell())
        return block


def test_first_results_come_before_the_last_sound_is_read():
    content = io.BytesIO()
    n_samples = 20 * 60 * RATE
    with wave.open(content, "wb") as file:
        file.setparams((1, 2, RATE, n_samples, "NONE", ""))
        file.writeframes((np.resize(sound("speech", 0.5).samples, n_samples) * 32767).astype("<i2").tobytes())
    recording = Counted(content.getvalue())
    segments = model(ATTENTION).transcribe_segments(recording, ENGLISH, batch_size=1)
    first = next(segments)
    assert first.text
    assert recording.n_read < 0.1 * len(content.getvalue())
    second = next(segments)
    assert second.start == first.end
    assert recording.n_read < 0.2 * len(content.getvalue())
    segments.close()


@pytest.mark.parametrize("batch_size", [1, 3])
def test_segments_are_told_in_the_order_of_the_recording(batch_size):
    """Windows are decoded sorted by length."""
    told = []
    audio = sound(*["speech", 0.5, "chirp", 0.5] * 6)
    options = replace(WORDS, longest_window=12)
    (outcome,) = model(ATTENTION).transcribe_each([(audio, options)], batch_size=batch_size, on_segment=told.append)
    assert tuple(told) == outcome.transcript.segments
    assert all(before.end <= after.start for before, after in pairwise(told))
    assert list(model(ATTENTION).transcribe_segments(audio, options, batch_size=batch_size)) == told


@pytest.mark.parametrize("name", [CTC, INLINE, ATTENTION])
def test_windows_may_take_the_places_of_finished_ones(name):
    """As they do on a GPU: translations beside texts, silence and windows of all lengths."""
    audio = sound(*["speech", 0.5, "chirp", 2.0, "short", 7.0] * 4)
    blocks = list(cut_windows([audio.samples], RATE, 2, 6))
    request = request_for(replace(WORDS, also_translate=("de",)), loaded(name).config, loaded(name).tokenizer)
    pieces = [Piece(0, window, request) for window in blocks]
    batches = [pieces[start : start + 4] for start in range(0, len(pieces), 4)]
    alone, joined = (dict(Transcriber(loaded(name), refill).each(batches, 4)) for refill in (False, True))
    assert len(joined) == len(pieces)
    for piece in pieces:
        for some, others in zip(joined[piece], alone[piece], strict=True):
            assert [(s.text, s.start, s.end) for s in some] == [(s.text, s.start, s.end) for s in others]


@pytest.mark.parametrize("batch_size", [2, 8])
def test_the_demo_models_windows_may_too(batch_size, demo):
    """Of speech that it understands, so that texts end by themselves."""
    blocks = [load_audio(path).samples for path in sorted(CLIPS.glob("en_*"))]
    options = TranscriptionOptions(language="en")
    request = request_for(options, demo.config, demo.tokenizer)
    lengths = window_lengths(options, demo.config)
    pieces = [Piece(0, window, request) for samples in blocks for window in cut_windows([samples], RATE, *lengths)]
    batches = [pieces[start : start + batch_size] for start in range(0, len(pieces), batch_size)]
    alone, joined = (dict(Transcriber(demo._loaded, refill).each(batches, batch_size)) for refill in (False, True))
    assert {piece: joined[piece][0] for piece in pieces} == {piece: alone[piece][0] for piece in pieces}
