"""What a checkpoint was trained to do decides what may be asked of it."""

import pytest
from conftest import loaded

from mlx_canary import CANARY_MODELS, PromptError
from mlx_canary.config import LanguageConfig
from mlx_canary.text.languages import LANGUAGE_NAMES, another_language, check_languages, describe_translation, pairs
from mlx_canary.text.prompt import Prompt

V2 = CANARY_MODELS["canary-1b-v2"].languages


def check(prompt: Prompt, languages: LanguageConfig | None) -> None:
    check_languages(prompt, "the-model", languages)


def test_an_unknown_language_lists_what_exists():
    for prompt in (Prompt("ja", "ja"), Prompt("en", "ja"), Prompt("ja", "en")):
        with pytest.raises(
            PromptError, match=r"the-model does not know the .* language 'ja'. It knows: bg, cs, .*, uk"
        ):
            check(prompt, V2)


def test_a_tag_in_the_tokenizer_is_not_enough():
    """The flash tokenizer has tags for 183 languages; the models heard four."""
    loaded("canary2-flash").tokenizer.special_id("<|ja|>")
    with pytest.raises(PromptError, match="does not know the spoken language 'ja'"):
        check(Prompt("ja", "ja"), loaded("canary2-flash").config.languages)


def test_translation_goes_around_english():
    for spoken, text in (("de", "en"), ("en", "de"), ("mt", "en"), ("en", "uk")):
        check(Prompt(spoken, text), V2)
    with pytest.raises(
        PromptError, match=r"does not translate from 'de' to 'fr'. It translates between en and each of: "
    ):
        check(Prompt("de", "fr"), V2)


def test_latvian_is_transcribed_but_not_translated():
    """By canary-1b-v2's data notes."""
    check(Prompt("lv", "lv"), V2)
    for prompt in (Prompt("lv", "en"), Prompt("en", "lv")):
        with pytest.raises(PromptError, match="does not translate"):
            check(prompt, V2)


def test_canary_1b_v2_cannot_leave_punctuation_out():
    with pytest.raises(PromptError, match="the-model always writes punctuation and capitals"):
        check(Prompt("en", "en", pnc=False), V2)
    check(Prompt("en", "en", pnc=False), CANARY_MODELS["canary-1b-flash"].languages)


def test_a_language_without_a_name_is_told_by_its_code():
    """Fine-tunes have others than the published models."""
    warning = another_language("hi", "en")
    assert warning.startswith("This sounds like 'hi', but was taken for English (en), the model's default.")


def test_where_nothing_is_known_nothing_is_refused():
    check(Prompt("ja", "zu", pnc=False), None)


@pytest.mark.parametrize(
    ("translation", "number", "words"),
    [
        ("none", 0, "nothing: it only transcribes"),
        ("english", 4, "between en and each of: de, fr"),
        ("any", 6, "between any two of: en, de, fr"),
    ],
)
def test_directions(translation, number, words):
    three = ("en", "de", "fr")
    languages = LanguageConfig(spoken=three, translation=translation, translated=three, pnc_switch=True)
    assert len(pairs(languages)) == len(set(pairs(languages))) == number
    assert describe_translation(languages) == words


@pytest.mark.parametrize("name", CANARY_MODELS)
def test_published_models_know_only_languages_with_a_name(name):
    languages = CANARY_MODELS[name].languages
    assert set(languages.translated) <= set(languages.spoken) <= set(LANGUAGE_NAMES)
    assert len(languages.spoken) == (25 if name == "canary-1b-v2" else 4)
    assert len(pairs(languages)) == (46 if name == "canary-1b-v2" else 6)
