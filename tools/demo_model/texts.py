"""Sentences of the world: a random generator in, parallel sentences out.

Reads world.toml (what can be said) and prompts.jsonl beside the speech (texts
of the recordings, if there are any). Each sentence exists in every language
and, where numbers occur, a second time with digits. Knows nothing about sound.
"""

import json
import os
import random
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import tomllib
from numbers_in_words import BUILT_IN, Rendered

LANGS = ("en", "de", "es", "fr")
SLOT = re.compile(r"\{(\w+)(\.\d)?(?::([\d-]*))?(?:/(\w+))?(?:~(\w+))?\}")
CONTRACTIONS = {
    "es": ((" a el ", " al "), (" de el ", " del ")),
    "fr": ((" à le ", " au "), (" de le ", " du "), (" à les ", " aux "), (" de les ", " des ")),
}
ALPHABET = (
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyzäöüßÄÖÜéèêëàâîïôûùçœÉÈÊÀÂÇáíóúñÁÍÓÚÑüº0123456789.,?!¿¡:'-"
)
PROMPT_SHARE = 0.12  # sentences that repeat a recording's text in other voices
MIXED_SHARE = 0.1  # sentences that nobody would say


@dataclass(frozen=True)
class Sentence:
    """One thing to say: language to text, the same with digits where it differs, its kind."""

    text: dict[str, str]
    itn: dict[str, str]
    kind: str


@cache
def world() -> dict:
    return tomllib.loads((Path(__file__).parent / "world.toml").read_text(encoding="utf-8"))


@cache
def prompts() -> tuple[dict[str, str], ...]:
    """Texts of recordings of people: CANARY_PROMPTS names a .jsonl with one {lang: text} a line."""
    path = os.environ.get("CANARY_PROMPTS")
    return tuple(json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()) if path else ()


def feminine(noun: str, lang: str) -> bool:
    return noun.startswith({"es": ("la ",), "fr": ("la ", "f ")}.get(lang, ()))


def inflect(entry: str, lang: str, form: str | None, partner: str | None) -> str:
    """The form of a word that a slot asks for."""
    first, _, second = entry.partition("|")
    if partner is not None:
        return second if second and feminine(partner, lang) else first
    if lang == "de" and form:
        article, _, noun = first.partition(" ")
        if form.endswith("acc") and article == "der":
            article, noun = "den", second.partition(" ")[2] or noun
        if form.startswith("a"):
            article = {"der": "ein", "das": "ein", "die": "eine", "den": "einen"}[article] if form != "acc" else article
        return f"{article} {noun}"
    if form in ("a", "a_acc"):
        if lang == "en":
            return f"{'an' if first[0] in 'aeiou' else 'a'} {first}"
        if lang == "es":
            return first.replace("el ", "un ", 1) if first.startswith("el ") else first.replace("la ", "una ", 1)
        bare = re.sub(r"^(?:le |la |[mf] l')", "", first)
        return f"{'une' if feminine(first, lang) else 'un'} {bare}"
    return re.sub(r"^[mf] (?=l')", "", first)


class Filler:
    """Fills the slots of one template with the same choices in every language."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.words: dict[str, list[str]] = {}
        self.numbers: dict[str, Rendered] = {}

    def word(self, table: str, index: str) -> list[str]:
        if table + index not in self.words:
            free = [row for row in world()["words"][table] if row not in self.words.values()]
            self.words[table + index] = self.rng.choice(free)
        return self.words[table + index]

    def fill(self, template: str, lang: str) -> str:
        def replace(match: re.Match[str]) -> str:
            table, index, bounds, form, partner = match.group(1), match.group(2) or "", *match.groups()[2:]
            if table in BUILT_IN:
                source = {"es_is": "clock", "count": "number"}.get(table, table)
                if source + index not in self.numbers:
                    self.numbers[source + index] = BUILT_IN[source](self.rng, bounds, world()["words"])
                return self.numbers[source + index].render(lang, table)
            row = self.word(table, index)
            other = self.word(partner, "")[LANGS.index(lang)] if partner else None
            return self.fill(inflect(row[LANGS.index(lang) % len(row)], lang, form, other), lang)

        return SLOT.sub(replace, template)


def finish(marked: str, lang: str, digits: bool) -> str:
    """Marked text to a sentence: numbers as words or digits, contractions, capital first letter."""
    text = re.sub(r"‹(.*?)¦(.*?)›", r"\1" if digits else r"\2", marked).replace("..", ".")  # "der 29." ends so
    for old, new in CONTRACTIONS.get(lang, ()):
        text = text.replace(old, new)
    text = text.replace("The the ", "The ")
    start = re.search(r"\w", text)
    return text[: start.start()] + text[start.start()].upper() + text[start.end() :] if start else text


def halves(first: str, second: str, rng: random.Random) -> str:
    """The beginning of one sentence and the end of another."""
    a, b = first.split(), second.split()
    begin, end = a[: rng.randint(1, len(a))], b[rng.randint(min(1, len(b) - 1), len(b) - 1) :]
    return " ".join([*[word.strip(".?!") for word in begin], *end])


def mixed(rng: random.Random) -> Sentence:
    """A sentence in each language that its first half does not foretell: its words must be heard."""
    text = {}
    for lang in LANGS:
        said = [p[lang] for p in prompts() if lang in p] if rng.random() < 0.5 else []
        one, other = (rng.choice(said) if said else templated(rng).text[lang] for _ in range(2))
        text[lang] = halves(one, other, rng)
    return Sentence(text, {}, "mixed")


def sample(rng: random.Random, held_out: bool = False) -> Sentence:
    """One sentence; with held_out only templates that can make sentences nobody listed."""
    if prompts() and not held_out and rng.random() < PROMPT_SHARE:
        return Sentence(rng.choice(prompts()), {}, "recorded")
    if not held_out and rng.random() < MIXED_SHARE:
        return mixed(rng)
    return templated(rng, held_out)


def templated(rng: random.Random, held_out: bool = False) -> Sentence:
    """A template of the world with its slots filled."""
    groups = world()["templates"]
    group = rng.choices(groups, [g["weight"] for g in groups])[0]
    template = rng.choice([t for t in group["lines"] if not held_out or "{" in t[0]] or group["lines"])
    filler = Filler(rng)
    marked = {lang: filler.fill(line, lang) for lang, line in zip(LANGS, template, strict=True)}
    text = {lang: finish(line, lang, digits=False) for lang, line in marked.items()}
    itn = {lang: finish(line, lang, digits=True) for lang, line in marked.items()}
    return Sentence(text, itn if itn != text else {}, group["kind"])


def without_punctuation(text: str) -> str:
    """The pnc-off form: lower case, no marks."""
    return re.sub(r"\s+", " ", re.sub(r"[.,?!¿¡:;]", "", text)).strip().lower()
