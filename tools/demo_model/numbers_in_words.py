"""Numbers, times, dates and prices in four languages, as words and as digits.

Each maker draws a value and returns a Rendered, which writes it for a
language as ‹digits¦words›; texts.py keeps one side. Knows nothing about sentences.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from num2words import num2words

Words = dict[str, list[list[str]]]
LANG_INDEX = {"en": 0, "de": 1, "es": 2, "fr": 3}
LETTERS = "abcdefghijklmnopqrstuvwxyz"
MINUTES = (
    0,
    0,
    5,
    10,
    15,
    20,
    25,
    30,
    35,
    40,
    45,
    50,
    55,
    2,
    7,
    8,
    12,
    17,
    24,
    28,
    33,
    38,
    42,
    47,
    53,
    58,
    21,
    16,
    39,
    44,
)


def cardinal(n: int, lang: str) -> str:
    """American English: no commas, no "and"."""
    words = num2words(n, lang=lang)
    return words.replace(",", "").replace(" and ", " ") if lang == "en" else words


def counting(n: int, lang: str) -> str:
    """A number before a masculine noun or "Uhr"."""
    words = cardinal(n, lang)
    if lang == "de":
        return re.sub("eins$", "ein", words)
    if lang == "es":
        return re.sub("uno$", "un", re.sub("veintiuno$", "veintiún", words))
    return words


def pair(digits: str, words: str) -> str:
    return f"‹{digits}¦{words}›"


@dataclass(frozen=True)
class Rendered:
    """A drawn value: its writer, called with the language and the slot's name."""

    render: Callable[[str, str], str]


def number(rng: random.Random, bounds: str | None, words: Words) -> Rendered:
    low, high = map(int, (bounds or "0-99").split("-"))
    n = rng.randint(low, high)
    return Rendered(lambda lang, slot: pair(str(n), counting(n, lang) if slot == "count" else cardinal(n, lang)))


def digits(rng: random.Random, bounds: str | None, words: Words) -> Rendered:
    low, high = map(int, (bounds or "3-8").split("-"))
    drawn = [rng.randint(0, 9) for _ in range(rng.randint(low, high))]
    return Rendered(lambda lang, slot: pair("".join(map(str, drawn)), " ".join(cardinal(n, lang) for n in drawn)))


def letters(rng: random.Random, bounds: str | None, words: Words) -> Rendered:
    low, high = map(int, (bounds or "2-5").split("-"))
    drawn = " ".join(rng.choice(LETTERS) for _ in range(rng.randint(low, high)))
    return Rendered(lambda lang, slot: drawn.upper())


def nth(rng: random.Random, bounds: str | None, words: Words) -> Rendered:
    low, high = map(int, (bounds or "1-31").split("-"))
    n = rng.randint(low, high)

    def render(lang: str, slot: str) -> str:
        spelled = num2words(n, lang=lang, to="ordinal")
        mark = {
            "en": num2words(n, lang="en", to="ordinal_num"),
            "de": f"{n}.",
            "es": f"{n}.º",
            "fr": "1er" if n == 1 else f"{n}e",
        }[lang]
        return pair(mark, spelled)

    return Rendered(render)


def clock(rng: random.Random, bounds: str | None, words: Words) -> Rendered:
    hour, minute = rng.randint(1, 12), rng.choice(MINUTES)

    def render(lang: str, slot: str) -> str:
        if lang == "en":
            spoken = cardinal(hour, lang) + (
                " o'clock" if minute == 0 else (" oh " if minute < 10 else " ") + cardinal(minute, lang)
            )
            return pair(f"{hour}:{minute:02}", spoken)
        if lang == "de":
            spoken = counting(hour, lang) + " Uhr" + (f" {cardinal(minute, lang)}" if minute else "")
            return pair(f"{hour}:{minute:02} Uhr" if minute else f"{hour} Uhr", spoken)
        if lang == "es":
            if slot == "es_is":
                return "Es" if hour == 1 else "Son"
            spoken = ("una" if hour == 1 else cardinal(hour, lang)) + (
                f" y {cardinal(minute, lang)}" if minute else " en punto"
            )
            return ("la " if hour == 1 else "las ") + pair(f"{hour}:{minute:02}", spoken)
        spoken = ("une heure" if hour == 1 else re.sub("un$", "une", cardinal(hour, lang)) + " heures") + (
            f" {cardinal(minute, lang)}" if minute else ""
        )
        return pair(f"{hour} h {minute:02}" if minute else f"{hour} h", spoken)

    return Rendered(render)


def price(rng: random.Random, bounds: str | None, words: Words) -> Rendered:
    euros = rng.choice((rng.randint(2, 20), rng.randint(2, 99), rng.randint(2, 99), rng.randint(100, 999)))
    cents = rng.choice((0, 0, 50, 20, 75, 95, 10, 30, 99, rng.randint(11, 99)))

    def render(lang: str, slot: str) -> str:
        unit = "Euro" if lang == "de" else "euros"
        joiner = " con " if lang == "es" else " "
        spoken = f"{counting(euros, lang)} {unit}" + (f"{joiner}{cardinal(cents, lang)}" if cents else "")
        point = "." if lang == "en" else ","
        return pair(f"{euros}{point}{cents:02} {unit}" if cents else f"{euros} {unit}", spoken)

    return Rendered(render)


def year(rng: random.Random, bounds: str | None, words: Words) -> Rendered:
    return _year(rng.randint(1900, 2030))


def _year(value: int) -> Rendered:
    def render(lang: str, slot: str) -> str:
        return pair(
            str(value),
            num2words(value, lang=lang, to="year").replace(" and ", " ")
            if lang in ("en", "de")
            else cardinal(value, lang),
        )

    return Rendered(render)


def day(rng: random.Random, bounds: str | None, words: Words) -> Rendered:
    n, month = rng.randint(1, 31), rng.choice(words["month"])

    def render(lang: str, slot: str) -> str:
        name = month[LANG_INDEX[lang]]
        if lang == "en":
            return f"the {pair(num2words(n, to='ordinal_num'), num2words(n, to='ordinal'))} of {name}"
        if lang == "de":
            return f"der {pair(f'{n}.', num2words(n, lang='de', to='ordinal'))} {name}"
        if lang == "es":
            return f"el {pair(str(n), cardinal(n, lang))} de {name}"
        return f"le {pair('1er' if n == 1 else str(n), 'premier' if n == 1 else cardinal(n, lang))} {name}"

    return Rendered(render)


def date(rng: random.Random, bounds: str | None, words: Words) -> Rendered:
    weekday, of_year = rng.choice(words["weekday"]), day(rng, bounds, words)
    drawn = _year(rng.randint(1900, 2030)) if rng.random() < 0.4 else None

    def render(lang: str, slot: str) -> str:
        middle = of_year.render(lang, slot)
        comma = ", "
        if lang in ("es", "fr"):
            middle = middle.partition(" ")[2]
            comma = ", " if lang == "es" else " "
        tail = ((" de " if lang == "es" else " ") + drawn.render(lang, slot)) if drawn else ""
        return weekday[LANG_INDEX[lang]] + comma + middle + tail

    return Rendered(render)


Maker = Callable[[random.Random, str | None, Words], Rendered]
BUILT_IN: dict[str, Maker] = {
    "number": number, "count": number, "digits": digits, "letters": letters, "nth": nth, "clock": clock,
    "es_is": clock, "price": price, "year": year, "day": day, "date": date,
}  # fmt: skip
