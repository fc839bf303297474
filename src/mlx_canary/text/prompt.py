"""The decoder's prompt: what is asked of the model, and its token ids.

Mirrors NeMo's prompt formatters `canary` (canary-1b) and `canary2` (the flash models and canary-1b-v2), with their slot
names, and the `canary2` of AI4Bharat's NeMo, which has a slot more. Which values a checkpoint was trained on is not
known here; see `languages`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

from mlx_canary.errors import PromptError
from mlx_canary.text.tokenizer import CanaryTokenizer

Task = Literal["transcribe", "translate"]

_CANARY2 = (
    "<|startofcontext|>",
    "decodercontext",
    "<|startoftranscript|>",
    "emotion",
    "source_lang",
    "target_lang",
    "pnc",
    "itn",
)
TEMPLATES: dict[str, tuple[str, ...]] = {
    "canary": ("<|startoftranscript|>", "source_lang", "task", "target_lang", "pnc"),
    "canary2": (*_CANARY2, "timestamp", "diarize"),
    "canary2-romanized": (*_CANARY2, "romanized", "timestamp", "diarize"),
}
SWITCHES = ("pnc", "itn", "romanized", "timestamp", "diarize")
EMOTIONS = ("undefined", "neutral", "happy", "sad", "angry")
# What NeMo takes for a task; `taskname` is its other name for the slot.
_TASKS: dict[str, Task] = {
    "asr": "transcribe",
    "transcribe": "transcribe",
    "ast": "translate",
    "translate": "translate",
    "s2t_translation": "translate",
}
_TRUE = ("yes", "1", "True", "true")
_FALSE = ("no", "0", "False", "false", "No")


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked of the model, by NeMo's slot names.

    Attributes:
        source_lang: The language spoken, two letters.
        target_lang: The language of the text.
        task: Only the `canary` template says it; in `canary2` another target language makes a translation.
        pnc: Punctuation and capitals.
        itn: Numbers as digits.
        timestamp: Time tokens around every word.
        diarize: Speaker tokens.
        emotion: One of EMOTIONS.
        decodercontext: Text that came before, or that contains names to expect.
        romanized: Latin letters instead of the language's own; only fine-tunes of AI4Bharat's kind have it.
    """

    source_lang: str
    target_lang: str
    task: Task = "transcribe"
    pnc: bool = True
    itn: bool = False
    timestamp: bool = False
    diarize: bool = False
    emotion: str = "undefined"
    decodercontext: str = ""
    romanized: bool = False

    @classmethod
    def from_slots(cls, slots: Mapping[str, str]) -> Prompt:
        """From NeMo's slot values, such as "en" or "<|en|>", "yes" or "<|nopnc|>".

        Raises:
            PromptError: An unknown slot or value, or a language is missing.
        """
        slots = {"task" if slot == "taskname" else slot: value for slot, value in slots.items()}
        unknown = set(slots) - {field.name for field in fields(cls)}
        if unknown:
            raise PromptError(f"Unknown prompt slots: {', '.join(sorted(unknown))}.")
        if missing := {"source_lang", "target_lang"} - set(slots):
            raise PromptError(f"The prompt lacks {' and '.join(sorted(missing))}.")
        switches = {slot: _switch(slot, slots[slot]) for slot in SWITCHES if slot in slots}
        return cls(
            source_lang=_bare(slots["source_lang"]),
            target_lang=_bare(slots["target_lang"]),
            task=_task(_bare(slots.get("task", "transcribe"))),
            emotion=_bare(slots.get("emotion", "undefined")).removeprefix("emo:"),
            decodercontext=slots.get("decodercontext", ""),
            **switches,
        )


def encode_prompt(prompt: Prompt, template: str, tokenizer: CanaryTokenizer) -> list[int]:
    """The prompt's token ids.

    An aggregate tokenizer looks every special token up and encodes the context in the target language. A single model
    encodes the whole prompt as one text, which puts a piece for the leading space first.

    Raises:
        PromptError: The template has no place for something that is asked, or the checkpoint lacks a token.
    """
    _check(prompt, template)
    parts = [_render(prompt, slot) for slot in TEMPLATES[template]]
    tokens = [part for slot, part in zip(TEMPLATES[template], parts, strict=True) if slot != "decodercontext"]
    ids = {token: tokenizer.special_id(token) for token in tokens}
    if not tokenizer.aggregate:
        return _as_one_text("".join(parts), [ids[token] for token in tokens], tokenizer)
    encoded = []
    for part in parts:
        encoded += [ids[part]] if part in ids else tokenizer.encode(part, prompt.target_lang) if part else []
    return encoded


def encode_beginning(template: str, tokenizer: CanaryTokenizer) -> list[int]:
    """The ids of a prompt up to where the spoken language stands, without context and emotion."""
    slots = TEMPLATES[template]
    before = slots[: slots.index("source_lang")]
    tokens = ["<|emo:undefined|>" if slot == "emotion" else slot for slot in before if slot != "decodercontext"]
    ids = [tokenizer.special_id(token) for token in tokens]
    return ids if tokenizer.aggregate else tokenizer.encode("".join(tokens))


def _as_one_text(text: str, special: list[int], tokenizer: CanaryTokenizer) -> list[int]:
    """Ids of a whole prompt whose special tokens must be these, so that none can come from the context.

    SentencePiece makes plain characters of full-width ones and drops others before it looks for special tokens, so the
    context's own characters do not tell.
    """
    ids = tokenizer.encode(text)
    found = [i for i in ids if i in tokenizer.special_ids - tokenizer.unknown_ids]
    if missing := [i for i in special if i not in found]:
        raise PromptError(
            f"This checkpoint's tokenizer does not find its special token {tokenizer.piece(missing[0])} in a text."
        )
    if found != special:
        more = next((i for i in found if found.count(i) != special.count(i)), found[0])
        raise PromptError(
            f"The context must be plain text: something in it stands for the special token {tokenizer.piece(more)}."
        )
    return ids


def _check(prompt: Prompt, template: str) -> None:
    # In a single SentencePiece model these would become the tokens themselves.
    for mark in ("<|", "<pad>", "<unk>"):
        if mark in prompt.decodercontext:
            raise PromptError(f"The context must be plain text: it contains {mark!r}, which belongs to special tokens.")
    if prompt.emotion not in EMOTIONS:
        raise PromptError(f"emotion={prompt.emotion!r} is not one of: {', '.join(EMOTIONS)}.")
    asked = [slot for slot in SWITCHES if slot != "pnc" and getattr(prompt, slot)]
    asked += ["emotion"] if prompt.emotion != "undefined" else []
    asked += ["decodercontext"] if prompt.decodercontext else []
    for slot in asked:
        if slot not in TEMPLATES[template]:
            raise PromptError(
                f"This checkpoint's prompt ({template!r}) has no place for {_OPTION_NAMES.get(slot, slot)}."
            )


_OPTION_NAMES = {"decodercontext": "context"}


def _render(prompt: Prompt, slot: str) -> str:
    """A template's entry as text: a slot's value, or the entry itself."""
    if slot.startswith("<|"):
        return slot
    value = getattr(prompt, slot)
    if slot == "decodercontext":
        return str(value)
    if slot in SWITCHES:
        return f"<|{slot}|>" if value else f"<|no{slot}|>"
    return f"<|emo:{value}|>" if slot == "emotion" else f"<|{value}|>"


def _bare(value: str) -> str:
    return value[2:-2] if value.startswith("<|") and value.endswith("|>") else value


def _task(value: str) -> Task:
    if value not in _TASKS:
        raise PromptError(f"task={value!r} is not one of: {', '.join(_TASKS)}.")
    return _TASKS[value]


def _switch(slot: str, value: str) -> bool:
    if _bare(value) in (*_TRUE, slot):
        return True
    if _bare(value) in (*_FALSE, f"no{slot}"):
        return False
    # NeMo takes "Yes" for no. Nobody means that.
    raise PromptError(f"{slot}={value!r} is neither yes nor no.")
