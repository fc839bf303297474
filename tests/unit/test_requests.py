"""What callers may ask of a checkpoint, what is refused and in which words, and languages that are to be found out."""

from __future__ import annotations

import io
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from conftest import DATA, clip, loaded

from mlx_canary import (
    Audio,
    CanaryModel,
    ConversionConfig,
    DecodingOptions,
    Prompt,
    PromptError,
    TranscriptionOptions,
    convert,
    load_audio,
)
from mlx_canary.config import LanguageConfig
from mlx_canary.decoding.language import LanguageGuess
from mlx_canary.longform.journal import Journal
from mlx_canary.nemo_longform import transcribe_like_nemo
from mlx_canary.requests import default_language, own_decoding, prompts_for, request_for, window_lengths

RATE = 16000
FLASH, UNIFIED = "canary2-flash", "canary2-unified"
SPEECH, CHIRP = Audio(clip("speech"), RATE), Audio(clip("chirp"), RATE)
SILENCE = Audio(np.zeros(3 * RATE, np.float32), RATE)


def spoken_in(language: str) -> Audio:
    """A sentence that the demo model understands."""
    name = {"en": "en_joined_1", "de": "de_espeak_1", "es": "es_joined_1", "fr": "fr_joined_1"}[language]
    return load_audio(DATA / f"demo/{name}.flac")


def model(name: str) -> CanaryModel:
    return CanaryModel(loaded(name))


def changed(name: str, **values) -> CanaryModel:
    """A checkpoint whose config says something else."""
    parts = loaded(name)
    return CanaryModel(replace(parts, config=parts.config.model_copy(update=values)))


# What no checkpoint could do.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "sing"}, "task='sing' is neither 'transcribe' nor 'translate'."),
        ({"timestamps": "char"}, "timestamps='char' is not one of: 'word', 'segment', None."),
        ({"times_from": "ear"}, "times_from='ear' is not one of: 'model', 'attention', None."),
        (
            {"longform": "nemo", "times_from": "attention"},
            "longform='nemo' does what NeMo does: times_from cannot be chosen with it.",
        ),
        ({"longform": "fast"}, "longform='fast' is not one of: 'quiet', 'nemo'."),
        ({"longest_window": 0.5}, "The longest window is 0.5 s; expected 1 to 60 s."),
        ({"longest_window": 0}, "The longest window is 0 s"),  # once meant the default
        ({"longest_window": 61}, "The longest window is 61 s"),
        (
            {"shortest_window": 20, "longest_window": 10},
            "The shortest window is 20 s; expected 1 to 10 s, the longest.",
        ),
        ({"shortest_window": -3}, "The shortest window is -3 s; expected 1 to 60 s"),
        ({"longest_window": float("nan")}, "The longest window is nan s"),
        ({"longform": "nemo", "decoding": DecodingOptions()}, "decoding cannot be chosen with it"),
        ({"longform": "nemo", "also_translate": ("de",)}, "also_translate cannot be chosen with it"),
        ({"longform": "nemo", "longest_window": 30}, "longest_window cannot be chosen with it"),
        ({"longform": "nemo", "language": "auto"}, "longform='nemo' does what NeMo does: the language must be said."),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(PromptError, match=re.escape(message)):
        TranscriptionOptions(**options)


# What this checkpoint cannot do.


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (FLASH, {"language": "it"}, "does not know the spoken language 'it'. It knows: en, de, es, fr."),
        (FLASH, {"task": "translate", "target_lang": "it"}, "does not know the target language 'it'."),
        (FLASH, {"also_translate": ("it",)}, "does not know the target language 'it'."),
        (FLASH, {"target_lang": "de"}, "target_lang='de' is for task='translate'."),
        (FLASH, {"task": "translate"}, "Translating needs two languages; both are 'en'. Say another for the text."),
        (FLASH, {"also_translate": ("de", "de")}, "The same text is asked for twice: en, de, de."),
        (FLASH, {"also_translate": ("en",)}, "The same text is asked for twice: en, en."),
        (FLASH, {"context": "<|de|>"}, "The context must be plain text"),
        (UNIFIED, {"language": "tlh"}, "no token '<|tlh|>'"),
        ("canary1-agg-gz", {"context": "names"}, "('canary') has no place for context."),
        ("canary1-agg-gz", {"itn": True}, "has no place for itn."),
    ],
)
def test_what_the_checkpoint_cannot_do(name, options, message):
    """Said before any sound is read."""
    with pytest.raises(PromptError, match=re.escape(message)):
        model(name).transcribe("no such file.wav", options=TranscriptionOptions(**options))
    with pytest.raises(PromptError, match=re.escape(message)):
        model(name).prompt(TranscriptionOptions(**options))


def test_a_target_that_is_the_spoken_language_is_none():
    """As callers write it who always give both."""
    asked = TranscriptionOptions(language="de", target_lang="de")
    assert model(FLASH).prompt(asked) == model(FLASH).prompt(TranscriptionOptions(language="de"))


def test_prompts_are_the_text_and_its_translations():
    config, tokenizer = loaded(FLASH).config, loaded(FLASH).tokenizer
    options = TranscriptionOptions(language="de", also_translate=("en", "fr"), pnc=False, context="Namen")
    common = {"pnc": False, "decodercontext": "Namen"}
    assert prompts_for(options, config, tokenizer) == (
        Prompt("de", "de", "transcribe", **common),
        Prompt("de", "en", "translate", **common),
        Prompt("de", "fr", "translate", **common),
    )


# The checkpoint's own ways.


def spoken(*codes: str) -> LanguageConfig:
    return LanguageConfig(spoken=codes, translation="none", translated=(), pnc_switch=True)


@pytest.mark.parametrize(
    ("languages", "expected"), [(None, "en"), (spoken("de", "en"), "en"), (spoken("pl"), "pl")], ids=str
)
def test_the_language_where_none_is_said(languages, expected):
    assert default_language(changed(FLASH, languages=languages).config) == expected


def test_the_language_must_be_said_where_it_is_not_clear():
    config = changed(FLASH, languages=spoken("pl", "cs")).config
    with pytest.raises(PromptError, match="Say which language is spoken; canary2-flash knows: pl, cs"):
        default_language(config)


@pytest.mark.parametrize(
    ("shortest", "longest", "trained", "reach", "expected"),
    [
        (None, None, None, None, (20, 35)),
        (None, None, 40.0, None, (20, 35)),
        (None, None, 14.0, None, (8, 14)),
        (None, 7.0, None, None, (4, 7)),
        (None, 60.0, 30.0, None, (240 / 7, 60)),
        (5.0, None, None, None, (5, 35)),
        (50.0, None, None, None, (50, 50)),
        (10.0, 12.0, 5.0, None, (10, 12)),
        (1.0, 1.0, None, None, (1, 1)),
        (None, None, None, 72.0, (20, 35)),
        (None, None, 30.0, 14.0, (8, 14)),
        (None, 20.0, None, 14.0, (80 / 7, 20)),
    ],
)
def test_window_lengths(shortest, longest, trained, reach, expected):
    options = TranscriptionOptions(shortest_window=shortest, longest_window=longest)
    config = changed(FLASH, longest_training_item=trained).config
    assert window_lengths(options, config, reach) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({}, DecodingOptions()),
        ({"beam_size": 4}, DecodingOptions(beam_size=4)),
        ({"beam_size": 4, "length_penalty": 0.5}, DecodingOptions(beam_size=4, length_penalty=0.5)),
        ({"length_penalty": 0.5}, DecodingOptions()),
        ({"strategy": "greedy", "beam_size": 4}, DecodingOptions()),
        ({"strategy": "greedy_batch", "beam_size": 4}, DecodingOptions()),
    ],
    ids=str,
)
def test_decoding_as_the_checkpoint_says(section, expected):
    parts = loaded(FLASH)
    decoding = parts.config.decoding.model_copy(update=section)
    config = changed(FLASH, decoding=decoding).config
    assert own_decoding(config) == expected
    assert request_for(TranscriptionOptions(), config, parts.tokenizer).decoding == expected
    greedy = TranscriptionOptions(decoding=DecodingOptions())
    assert request_for(greedy, config, parts.tokenizer).decoding == DecodingOptions()


def test_a_converted_checkpoint_with_beams_uses_them(tmp_path):
    """Fine-tunes may say so; beams of four find a text of no smaller probability."""
    convert(ConversionConfig(nemo_file=DATA / f"models/{FLASH}.nemo", output_dir=tmp_path / "model"))
    config = json.loads((tmp_path / "model/config.json").read_text(encoding="utf-8"))
    config["decoding"] |= {"strategy": "beam", "beam_size": 4}
    shutil.copytree(tmp_path / "model", tmp_path / "beams")
    (tmp_path / "beams/config.json").write_text(json.dumps(config), encoding="utf-8")
    beams, plain = (CanaryModel.from_pretrained(tmp_path / folder) for folder in ("beams", "model"))
    german = TranscriptionOptions(language="de")
    asked = replace(german, decoding=DecodingOptions(beam_size=4))
    assert beams.transcribe(CHIRP, options=german) == plain.transcribe(CHIRP, options=asked)
    greedy = replace(german, decoding=DecodingOptions())
    assert beams.transcribe(CHIRP, options=greedy) == plain.transcribe(CHIRP, options=german)


# Finding the language out.


@pytest.mark.parametrize("language", ["en", "de", "es", "fr"])
def test_a_language_that_both_ways_find_is_used(demo, language):
    speech = spoken_in(language)
    guess = demo.detect_language(speech)
    assert guess.language == language
    assert set(guess.by_tag) == set(guess.by_text) == {"en", "de", "es", "fr"}
    for shares in (guess.by_tag, guess.by_text):
        assert sum(shares.values()) == pytest.approx(1)
        assert all(0 <= share <= 1 for share in shares.values())
    found = demo.transcribe(speech, language="auto")
    assert found == demo.transcribe(speech, language=language)
    assert found.source_lang == language


def test_an_unclear_tag_is_no_answer():
    """A tag with a small share was wrong about every third time, whatever the texts said."""
    assert LanguageGuess({"en": 0.79, "de": 0.21}, {"en": 0.99, "de": 0.01}).language is None
    assert LanguageGuess({"en": 0.81, "de": 0.19}, {"en": 0.51, "de": 0.49}).language == "en"


def test_a_disagreement_is_no_answer():
    assert LanguageGuess({"en": 0.9, "de": 0.1}, {"en": 0.4, "de": 0.6}).language is None
    guess = model(FLASH).detect_language(CHIRP)
    assert guess.language is None
    message = (
        r"cannot be told for certain \(by its tag: en \d+%, de \d+%.*; by a short text: en \d+%.*\)\. Say language"
    )
    with pytest.raises(PromptError, match=message):
        model(FLASH).transcribe(CHIRP, language="auto")


def test_one_unclear_recording_stops_no_other(demo):
    auto = TranscriptionOptions(language="auto", also_translate=("fr",))
    noise = Audio(np.random.default_rng(0).normal(0, 0.1, 3 * RATE).astype(np.float32), RATE)
    outcomes = list(demo.transcribe_each([(noise, auto), (spoken_in("en"), auto), (SILENCE, auto)]))
    assert [outcome.error is None for outcome in outcomes] == [False, True, False]
    assert outcomes[1].transcript.translations[0].target_lang == "fr"


def test_the_languages_to_choose_from_can_be_named(demo):
    """What else the recording sounds like is not asked then, and shares are those of the named ones."""
    german = demo.transcribe(spoken_in("de"), language="de")
    assert demo.transcribe(spoken_in("de"), language="auto:fr, de") == german
    noise = Audio(np.random.default_rng(0).normal(0, 0.1, 3 * RATE).astype(np.float32), RATE)
    with pytest.raises(PromptError, match=r"by its tag: fr \d+%, es \d+%; by a short text: fr \d+%, es \d+%\)\. Say"):
        demo.transcribe(noise, language="auto:fr,es")


@pytest.mark.parametrize("language", ["auto:", "auto:en", "auto:en,en", "auto:en,", "auto:,"])
def test_languages_that_leave_no_choice(language):
    message = f"language={language!r} leaves no choice; name two languages or more, such as 'auto:en,de'."
    with pytest.raises(PromptError, match=re.escape(message)):
        TranscriptionOptions(language=language)


def test_a_language_to_choose_from_that_the_checkpoint_lacks():
    """Said before any sound is read. A checkpoint that names no languages may have those that are named here."""
    with pytest.raises(PromptError, match="canary2-flash does not know the spoken language 'ja'"):
        model(FLASH).transcribe("no such file.wav", language="auto:en,ja")
    model(UNIFIED).check(TranscriptionOptions(language="auto:en,de"))
    with pytest.raises(PromptError, match=re.escape("This checkpoint's tokenizer has no token '<|xx|>'.")):
        model(UNIFIED).check(TranscriptionOptions(language="auto:en,xx"))


def test_only_recordings_have_their_language_found_out(flash):
    message = "a stream, or a text to align, needs its language named, such as 'en'"
    for language in ("auto", "auto:en,de"):
        with pytest.raises(PromptError, match=f"language='{language}' is for recordings that .*; {message}"):
            flash.stream(language=language)
        with pytest.raises(PromptError, match=message):
            flash.align(SPEECH, "Good morning.", language=language)


@pytest.mark.parametrize("seconds", [0, 1, 80])
def test_silence_has_no_language(seconds):
    silence = Audio(np.zeros(seconds * RATE, np.float32), RATE)
    with pytest.raises(PromptError, match="Nothing is heard in the recording, so its language cannot be found out"):
        model(FLASH).transcribe(silence, language="auto")
    with pytest.raises(PromptError, match="Nothing is heard in the recording"):
        model(FLASH).detect_language(silence)


def test_silence_before_the_first_words_is_kept(demo):
    """The first window in which something is heard decides; those before it are still part of the recording."""
    pause = np.zeros(RATE // 2, np.float32)
    samples = np.concatenate([np.zeros(15 * RATE, np.float32), *[spoken_in("en").samples, pause] * 3])
    found = demo.transcribe(Audio(samples, RATE), language="auto")
    assert found == demo.transcribe(Audio(samples, RATE), language="en")
    assert found.segments[0].text == ""
    assert found.segments[0].start == 0
    assert found.text


def test_a_checkpoint_that_names_no_languages_cannot_choose():
    """Said before any sound is read."""
    with pytest.raises(PromptError, match="canary2-unified does not say which languages it knows"):
        model(UNIFIED).transcribe("no such file.wav", language="auto")
    with pytest.raises(PromptError, match="canary2-unified does not say which languages it knows"):
        model(UNIFIED).detect_language(SPEECH)


def test_a_translation_into_the_language_that_is_found(demo):
    """Nobody who has a language found out can know that there is nothing to translate; it is what was said then."""
    speech = spoken_in("en")
    for target in (None, "en"):
        into_english = TranscriptionOptions(language="auto", task="translate", target_lang=target)
        assert demo.transcribe(speech, options=into_english) == demo.transcribe(speech, language="en")
    german = TranscriptionOptions(language="auto", task="translate")
    assert demo.transcribe(spoken_in("de"), options=german) == demo.translate(spoken_in("de"), source_lang="de")


# Languages that nobody named.


@pytest.mark.parametrize(("language", "name"), [("de", "German"), ("es", "Spanish"), ("fr", "French")])
def test_another_language_than_the_default_is_warned_of(demo, caplog, language, name):
    """The text is a translation, in well-formed sentences: nobody would notice what is wrong."""
    found = demo.transcribe(spoken_in(language))
    (warning,) = found.warnings
    assert warning == (
        f"This sounds like {name} ({language}), but was taken for English (en), the model's default. "
        "Say the language, or 'auto'."
    )
    assert caplog.messages == [f"The array: {warning}"]
    assert replace(found, warnings=()) == demo.transcribe(spoken_in(language), language="en")


def test_a_language_that_was_named_is_not_doubted(demo):
    assert not demo.transcribe(spoken_in("de"), language="en").warnings
    assert not demo.transcribe(spoken_in("de"), language="auto").warnings
    assert not demo.transcribe(spoken_in("en")).warnings
    assert not demo.transcribe(SILENCE).warnings


def test_a_recording_is_warned_of_once(demo):
    """However many windows it has, and whatever is beside it; silence at its beginning tells nothing."""
    sentence = np.concatenate([spoken_in("de").samples, np.zeros(RATE // 2, np.float32)])
    long = Audio(np.concatenate([np.zeros(40 * RATE, np.float32), *[sentence] * 20]), RATE)
    asked = TranscriptionOptions(also_translate=("de",))
    german, english = demo.transcribe_batch([long, spoken_in("en")], asked)
    assert len([segment for segment in german.segments if segment.text]) > 1
    assert len(german.warnings) == 1
    assert german.translations[0].warnings == german.warnings
    assert english.warnings == ()
    queue, outcomes = demo.queue(), []
    queue.add(long, asked)
    while not outcomes:
        outcomes = queue.step()
    assert outcomes[0].transcript == german


def test_a_checkpoint_that_cannot_tell_does_not_warn():
    """It was never asked for a language's tag: German has three quarters of what all tags have together, some 1e-6."""
    assert max(model(FLASH).detect_language(CHIRP).by_tag.values()) > 0.7
    assert not model(FLASH).transcribe(CHIRP).warnings
    assert not model("var-layernorm").transcribe(SPEECH).warnings


# As NeMo does it.


@pytest.mark.parametrize(
    ("name", "timestamps"),
    [
        *((name, timestamps) for name in (FLASH, UNIFIED) for timestamps in (None, "segment", "word")),
        ("canary1-agg-gz", None),
    ],
)
def test_nemos_way_by_the_public_door(name, timestamps):
    """The texts and times of `transcribe_like_nemo`, which is compared with NeMo's own recordings."""
    pause = np.zeros(RATE // 2, np.float32)
    samples = np.concatenate([clip("speech"), pause, clip("chirp"), pause] * 4)[: 41 * RATE]
    options = TranscriptionOptions(language="en", longform="nemo", timestamps=timestamps)
    transcript = model(name).transcribe(Audio(samples, RATE), options=options)
    expected = transcribe_like_nemo(loaded(name), samples, Prompt("en", "en"), timestamps is not None)
    assert transcript.text.split() == expected.text.split()
    if not expected.words:
        assert len(transcript.segments) == 1
        return
    assert [s.text.split() for s in transcript.segments] == [s.text.split() for s in expected.segments]
    times = [time for segment in transcript.segments for time in (segment.start, segment.end)]
    assert times == sorted(times)
    assert 0 <= times[0] <= times[-1] <= transcript.duration
    words = [(word.text, word.start, word.end) for word in transcript.words]
    if timestamps == "word":
        rising = [time for word in expected.words for time in (word.start, word.end)]
        assert [text for text, _, _ in words] == [word.text for word in expected.words]
        if rising == sorted(rising) and min(rising) >= 0:
            assert [(start, end) for _, start, end in words] == [
                pytest.approx((word.start, min(word.end, transcript.duration))) for word in expected.words
            ]
    else:
        assert words == []


def test_nemo_has_no_times_for_the_oldest_checkpoint():
    options = TranscriptionOptions(language="en", longform="nemo", timestamps="word")
    with pytest.raises(PromptError, match=r"\('canary'\) has no place for timestamp"):
        model("canary1-agg-gz").transcribe(SPEECH, options=options)


def test_nemos_way_with_silence_and_with_failures():
    options = TranscriptionOptions(language="en", longform="nemo")
    crowded = replace(options, context="the weather was cold " * 200)
    requests = [(SILENCE, options), ("no such file.wav", options), (CHIRP, crowded), (CHIRP, options)]
    silent, missing, full, heard = model(FLASH).transcribe_each(requests)
    assert silent.transcript.segments == ()
    assert "no such file" in str(missing.error)
    assert "leaves no room" in str(full.error)
    assert heard.transcript.text == "Hello, the weather is cold."


def test_nemos_way_tells_each_recording_as_soon_as_it_is_done():
    """Nothing came out before all were done, and an interruption lost all of them."""

    class Unwanted(io.BytesIO):
        def read(self, *_):
            raise AssertionError("nobody asked for this one yet")

    options = TranscriptionOptions(language="en", longform="nemo")
    outcomes = model(FLASH).transcribe_each([(CHIRP, options), (Unwanted(), options)])
    assert next(outcomes).transcript.text == "Hello, the weather is cold."


def test_both_ways_in_one_call():
    quiet, nemo = TranscriptionOptions(language="en"), TranscriptionOptions(language="en", longform="nemo")
    requests = [(CHIRP, nemo), (SPEECH, quiet), (CHIRP, quiet), (SPEECH, nemo), (CHIRP, quiet)]
    outcomes = list(model(FLASH).transcribe_each(requests))
    assert [outcome.index for outcome in outcomes] == list(range(5))
    assert [outcome.transcript for outcome in outcomes] == [
        model(FLASH).transcribe(audio, options=options) for audio, options in requests
    ]


def test_nemos_way_keeps_no_journal(tmp_path):
    """One was taken and never written."""
    options = TranscriptionOptions(language="en", longform="nemo")
    journal = Journal(tmp_path / "journal", {}, resume=False)
    with pytest.raises(PromptError, match="no windows for a journal"):
        next(model(FLASH).transcribe_each([(CHIRP, options)], journals=[journal]))
    with pytest.raises(PromptError, match="no windows for a journal"):
        model(FLASH).queue().add(CHIRP, options, journal=journal)
