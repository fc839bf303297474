"""Languages by name, and what a checkpoint can be asked in them."""

from __future__ import annotations

from mlx_canary.config import LanguageConfig
from mlx_canary.errors import PromptError
from mlx_canary.text.prompt import Prompt

LANGUAGE_NAMES = {
    "bg": "Bulgarian",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "et": "Estonian",
    "fi": "Finnish",
    "fr": "French",
    "hr": "Croatian",
    "hu": "Hungarian",
    "it": "Italian",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "mt": "Maltese",
    "nl": "Dutch",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sk": "Slovak",
    "sl": "Slovenian",
    "sv": "Swedish",
    "uk": "Ukrainian",
}


def check_languages(prompt: Prompt, name: str, languages: LanguageConfig | None) -> None:
    """Refuse what the checkpoint was not trained to do.

    A tokenizer often has tags for languages that the model never heard; the answer would be nonsense, not an error.
    Where nothing is known about a checkpoint (a fine-tune with a tokenizer for all languages) nothing is refused.

    Raises:
        PromptError: Says what the checkpoint can do instead.
    """
    if languages is None:
        return
    for role, code in (("spoken language", prompt.source_lang), ("target language", prompt.target_lang)):
        if code not in languages.spoken:
            raise PromptError(f"{name} does not know the {role} {code!r}. It knows: {', '.join(languages.spoken)}.")
    if prompt.source_lang != prompt.target_lang and (prompt.source_lang, prompt.target_lang) not in pairs(languages):
        raise PromptError(
            f"{name} does not translate from {prompt.source_lang!r} to {prompt.target_lang!r}. "
            f"It translates {describe_translation(languages)}."
        )
    if not prompt.pnc and not languages.pnc_switch:
        raise PromptError(f"{name} always writes punctuation and capitals; it was not trained to leave them out.")


def another_language(heard: str, taken: str) -> str:
    """The warning for a recording whose language nobody named, so that it was taken for the checkpoint's default."""
    return (
        f"This sounds like {_named(heard)}, but was taken for {_named(taken)}, the model's default. "
        "Say the language, or 'auto'."
    )


def _named(code: str) -> str:
    return f"{LANGUAGE_NAMES[code]} ({code})" if code in LANGUAGE_NAMES else repr(code)


def pairs(languages: LanguageConfig) -> list[tuple[str, str]]:
    """All directions of translation, (spoken, text)."""
    if languages.translation == "none":
        return []
    directions = [(a, b) for a in languages.translated for b in languages.translated if a != b]
    return [d for d in directions if languages.translation == "any" or "en" in d]


def describe_translation(languages: LanguageConfig) -> str:
    """The directions of translation in words."""
    among = ", ".join(languages.translated)
    if languages.translation == "none":
        return "nothing: it only transcribes"
    if languages.translation == "english":
        return f"between en and each of: {', '.join(code for code in languages.translated if code != 'en')}"
    return f"between any two of: {among}"


def describe_languages(name: str, languages: LanguageConfig | None) -> str:
    """What a model understands and translates, for people: a line for each language, and how it translates."""
    if languages is None:
        return f"{name} does not say which languages it was trained on. Ask whoever trained it."
    lines = [f"{code}  {LANGUAGE_NAMES.get(code, '')}" for code in languages.spoken]
    lines.append(f"Translates {describe_translation(languages)}.")
    if not languages.pnc_switch:
        lines.append("Always writes punctuation and capitals.")
    return "\n".join(lines)
