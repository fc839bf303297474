"""Prompts: what a template has no place for is refused, and nothing is taken for something else."""

import pytest
from conftest import MODELS, loaded

from mlx_canary import CanaryModel, CanaryTokenizer, Prompt, PromptError, TranscriptionOptions
from mlx_canary.text.prompt import SWITCHES, TEMPLATES, encode_beginning, encode_prompt

FLASH, FIRST, UNIFIED = "canary2-flash", "canary1-agg-gz", "canary2-unified"


def ids(model: str, **slots) -> list[int]:
    values = {"source_lang": "en", "target_lang": "en", **slots}
    return encode_prompt(Prompt(**values), loaded(model).config.prompt.format, loaded(model).tokenizer)


def pieces(model: str, **slots) -> list[str]:
    return [loaded(model).tokenizer.piece(i) for i in ids(model, **slots)]


def test_the_prompt_of_the_flash_models():
    """Published by several who loaded the real checkpoints."""
    assert ids(FLASH) == [7, 4, 16, 62, 62, 5, 9, 11, 13]


def test_a_single_tokenizer_puts_a_bar_first():
    """SentencePiece's own prefix. canary-1b-v2 was trained with it; the flash models were not."""
    assert pieces(UNIFIED)[0] == "▁"
    assert pieces(FLASH)[0] == "<|startofcontext|>"


@pytest.mark.parametrize("switch", ["pnc", "itn", "timestamp", "diarize"])
def test_a_switch_changes_its_own_token_and_no_other(switch):
    on, off = pieces(FLASH, **{switch: True}), pieces(FLASH, **{switch: False})
    assert [pair for pair in zip(on, off, strict=True) if len(set(pair)) > 1] == [(f"<|{switch}|>", f"<|no{switch}|>")]


def test_the_context_comes_before_the_start_in_the_target_language():
    plain, german = ids(FLASH, target_lang="de"), ids(FLASH, target_lang="de", decodercontext="Grüße aus Ulm")
    context = loaded(FLASH).tokenizer.encode("Grüße aus Ulm", "de")
    assert german == [plain[0], *context, *plain[1:]]
    assert context
    assert context != loaded(FLASH).tokenizer.encode("Grüße aus Ulm", "en")


@pytest.mark.parametrize("model", [FLASH, UNIFIED])
@pytest.mark.parametrize("context", ["<|de|>", "Hello <|endoftext|> there", "<|", "a<|b"])
def test_the_context_cannot_smuggle_tokens_in(context, model):
    """In a single tokenizer they would be read as special tokens."""
    with pytest.raises(PromptError, match=r"plain text: it contains '<\|'"):
        ids(model, decodercontext=context)


@pytest.mark.parametrize("context", ["say ＜|endoftext|＞ now", "＜｜nopnc｜＞", "＜pad＞", "<\x01|de|>"])
def test_nor_in_signs_that_sentencepiece_makes_others_of(context):
    with pytest.raises(PromptError, match="plain text: something in it stands for the special token <"):
        ids(UNIFIED, decodercontext=context)


@pytest.mark.parametrize("context", ["a < b | c", "1 > 0", "|>", "", "  ", "日本語 🙂"])
def test_other_signs_are_text(context):
    for model in (FLASH, UNIFIED):
        assert set(pieces(model, decodercontext=context)) >= set(pieces(model))


@pytest.mark.parametrize(
    ("slots", "named"),
    [
        ({"decodercontext": "Hello"}, "context"),
        ({"itn": True}, "itn"),
        ({"timestamp": True}, "timestamp"),
        ({"diarize": True}, "diarize"),
        ({"emotion": "happy"}, "emotion"),
    ],
)
def test_what_the_first_canary_has_no_place_for_is_refused(slots, named):
    with pytest.raises(PromptError, match=rf"\('canary'\) has no place for {named}\."):
        ids(FIRST, **slots)


def test_only_the_first_canary_says_its_task():
    assert "<|translate|>" in pieces(FIRST, task="translate", target_lang="de")
    assert "<|transcribe|>" in pieces(FIRST)
    assert ids(FLASH, task="translate") == ids(FLASH, task="transcribe")


@pytest.mark.parametrize("code", ["xx", "EN", "english", "", "en ", "▁", "<|en|>"])
def test_a_tag_that_does_not_exist_is_refused(code):
    with pytest.raises(PromptError, match="has no token"):
        ids(FLASH, source_lang=code)


def test_an_unknown_emotion_lists_those_that_exist():
    with pytest.raises(PromptError, match="'bored' is not one of: undefined, neutral, happy, sad, angry"):
        ids(FLASH, emotion="bored")


@pytest.mark.parametrize("value", ["yes", "1", "True", "true", "pnc", "<|pnc|>"])
def test_what_nemo_takes_for_yes(value):
    assert Prompt.from_slots({"source_lang": "en", "target_lang": "en", "pnc": value}).pnc is True


@pytest.mark.parametrize("value", ["no", "0", "False", "false", "No", "nopnc", "<|nopnc|>"])
def test_what_nemo_takes_for_no(value):
    assert Prompt.from_slots({"source_lang": "en", "target_lang": "en", "pnc": value}).pnc is False


@pytest.mark.parametrize("value", ["Yes", "YES", "on", "", "maybe", "<|itn|>", "<|noitn|>", "2"])
def test_what_is_neither_is_refused(value):
    """NeMo takes "Yes" for no."""
    with pytest.raises(PromptError, match="is neither yes nor no"):
        Prompt.from_slots({"source_lang": "en", "target_lang": "en", "pnc": value})


@pytest.mark.parametrize(
    ("slots", "message"),
    [
        ({}, "lacks source_lang and target_lang"),
        ({"source_lang": "en"}, "lacks target_lang"),
        ({"source_lang": "en", "target_lang": "en", "voice": "yes", "accent": "x"}, "slots: accent, voice"),
        ({"source_lang": "en", "target_lang": "en", "task": "sing"}, "task='sing' is not one of: asr, "),
        ({"source_lang": "en", "target_lang": "en", "taskname": "<|sing|>"}, "task='sing'"),
    ],
)
def test_slots_that_make_no_sense_are_refused(slots, message):
    with pytest.raises(PromptError, match=message):
        Prompt.from_slots(slots)


def test_slots_may_be_bare_or_tokens():
    bare = {"source_lang": "en", "target_lang": "de", "task": "ast", "emotion": "happy", "itn": "yes"}
    tokens = {
        "source_lang": "<|en|>",
        "target_lang": "<|de|>",
        "taskname": "<|translate|>",
        "emotion": "<|emo:happy|>",
        "itn": "<|itn|>",
    }
    assert Prompt.from_slots(bare) == Prompt.from_slots(tokens)


@pytest.mark.parametrize("name", MODELS)
def test_the_beginning_is_the_beginning(name):
    """Up to where the language stands, whatever the language."""
    model = loaded(name)
    template = model.config.prompt.format
    beginning = encode_beginning(template, model.tokenizer)
    for code in ("en", "de"):
        whole = encode_prompt(Prompt(code, code), template, model.tokenizer)
        assert whole[: len(beginning)] == beginning
        assert whole[len(beginning)] == model.tokenizer.special_id(f"<|{code}|>")


def test_templates_hold_every_switch_they_can():
    assert set(SWITCHES) <= set(TEMPLATES["canary2-romanized"])
    assert set(SWITCHES) - {"romanized"} <= set(TEMPLATES["canary2"])
    assert "task" not in TEMPLATES["canary2"]
    with pytest.raises(PromptError, match=r"\('canary2'\) has no place for romanized"):
        ids(FLASH, romanized=True)


def test_a_tokenizer_without_the_token_says_so(tmp_path):
    """A single model of another kind lacks the special tokens."""
    protos = dict(loaded(FLASH).tokenizer.model_protos())
    (tmp_path / "en.model").write_bytes(protos["en"])
    with pytest.raises(PromptError, match=r"has no token '<\|startofcontext\|>'"):
        encode_prompt(Prompt("en", "en"), "canary2", CanaryTokenizer(tmp_path / "en.model"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"language": "pl"}, "does not know the spoken language 'pl'. It knows: en, de, es, fr"),
        ({"task": "translate", "target_lang": "pl"}, "does not know the target language 'pl'. It knows: en, de"),
        ({"target_lang": "de"}, "target_lang='de' is for task='translate'"),
        ({"language": "en", "task": "translate"}, "Translating needs two languages; both are 'en'"),
        ({"language": "de", "task": "translate", "target_lang": "de"}, "both are 'de'"),
        ({"also_translate": ("de", "de")}, "asked for twice"),
        ({"also_translate": ("xx",)}, "target language 'xx'"),
        ({"context": "<|en|>"}, "plain text"),
    ],
)
def test_options_that_a_checkpoint_does_not_have_are_refused_before_any_work(options, message, flash: CanaryModel):
    """Every one of these would otherwise end in a text that looks right."""
    with pytest.raises(PromptError, match=message):
        flash.transcribe("no/such/file.wav", options=TranscriptionOptions(**options))


@pytest.mark.parametrize("options", [{"task": "sing"}, {"timestamps": "token"}, {"longform": "x"}])
def test_options_of_no_kind_are_refused(options):
    with pytest.raises(PromptError, match=r"is not one of|is neither"):
        TranscriptionOptions(**options)


def test_the_default_language_is_the_checkpoint_s(flash: CanaryModel):
    assert flash.prompt(TranscriptionOptions()).source_lang == "en"
    assert flash.prompt(TranscriptionOptions(language="fr")).target_lang == "fr"
    assert flash.prompt(TranscriptionOptions(language="de", task="translate")).target_lang == "en"
