"""Numbers, dates and messages from people's single words: python joined.py PEOPLE_DIR OUT_DIR --hours 2

Voice prompts are recorded to be joined: digits, tens, weekdays, months,
"you have", "messages". Joining them gives any number of true human numbers and
dates, with word times that are known. Only words that were recorded for
training take part, so what is built from the others stays unheard.
"""

import argparse
import random
from pathlib import Path

import numpy as np
from num2words import num2words
from numbers_in_words import LANG_INDEX, cardinal
from shards import SAMPLE_RATE, Utterance, read_new, write_shard
from texts import world

Part = tuple[str, str]  # key of the recording (its words, lower case), what is written for it


class Voice:
    """The single words of one speaker."""

    def __init__(self, lang: str, utterances: list[Utterance]) -> None:
        self.lang, self.speaker = lang, utterances[0].speaker
        self.words: dict[str, list[np.ndarray]] = {}
        for u in utterances:
            if u.duration < 1.8 and len(u.text[lang].split()) <= 3:
                self.words.setdefault(u.text[lang].strip(".!?").lower(), []).append(u.samples)

    def has(self, parts: list[Part]) -> bool:
        return all(key in self.words for key, _ in parts)


def number_parts(n: int, lang: str) -> list[Part]:
    """A number below 1000 as recorded pieces; what is written joins to the usual spelling."""
    words = cardinal(n, lang)
    if lang == "fr" and (n % 100 > 70 or n % 100 in (80, 90)) and n % 100 not in (80, 90):
        words = words.replace("quatre-vingt-dix", "quatre-vingt-dix" if n % 10 == 0 else "quatre-vingt dix")
    pieces: list[Part] = []
    for word in words.split():
        if lang == "en" and "-" in word:
            ten, unit = word.split("-")
            pieces += [(ten, ten + "-"), (unit, unit)]
        elif lang == "fr" and "-" in word and word not in ("dix-sept", "dix-huit", "dix-neuf", "quatre-vingt-dix"):
            head, _, tail = word.rpartition("-")
            if head.endswith("-dix"):  # soixante-dix-sept
                head, tail = head[:-4], "dix-" + tail
            if head in ("quatre", "quatre-vingts"):
                pieces.append((word.replace("vingts", "vingt"), word))
            else:
                pieces += [(head, head + "-"), (tail, tail)]
        elif lang == "fr" and word == "quatre-vingts":
            pieces.append(("quatre-vingt", word))
        else:
            pieces.append((word, word))
    return pieces


def digits(rng: random.Random, voice: Voice) -> tuple[list[Part], dict[str, str]]:
    drawn = [rng.randint(0, 9) for _ in range(rng.choice((1, 2, 2, 3, 3, 4, 5, 6, 8)))]
    text = {lang: " ".join(cardinal(n, lang) for n in drawn) for lang in LANG_INDEX}
    return [(cardinal(n, voice.lang),) * 2 for n in drawn], text


def number(rng: random.Random, voice: Voice) -> tuple[list[Part], dict[str, str]]:
    n = rng.choice((rng.randint(0, 30), rng.randint(20, 99), rng.randint(20, 99), rng.randint(100, 999)))
    return number_parts(n, voice.lang), {lang: cardinal(n, lang) for lang in LANG_INDEX}


def numbers(rng: random.Random, voice: Voice) -> tuple[list[Part], dict[str, str]]:
    drawn = [rng.randint(0, 99) for _ in range(rng.randint(2, 4))]
    text = {lang: ", ".join(cardinal(n, lang) for n in drawn) for lang in LANG_INDEX}
    parts: list[Part] = []
    for n in drawn:
        found = number_parts(n, voice.lang)
        parts += [*found[:-1], (found[-1][0], found[-1][1] + ",")]
    parts[-1] = (parts[-1][0], parts[-1][1].rstrip(","))
    return parts, text


def date(rng: random.Random, voice: Voice) -> tuple[list[Part], dict[str, str]]:
    weekday, month, n = (
        rng.choice(world()["words"]["weekday"]),
        rng.choice(world()["words"]["month"]),
        rng.randint(1, 31),
    )
    i, lang = LANG_INDEX[voice.lang], voice.lang
    day, name = weekday[i], month[i]
    if lang == "en":
        ordinal = num2words(n, to="ordinal")
        nth: list[Part] = [
            (p, p + ("-" if p == ordinal.split("-")[0] and "-" in ordinal else "")) for p in ordinal.split("-")
        ]
        parts = [(day.lower(), day + ","), (name.lower(), name), *nth]
    elif lang == "es":
        parts = [(day, day + ","), *number_parts(n, lang), ("de", "de"), (name, name)]
    else:
        parts = [(day, day), *number_parts(n, lang), (name, name)]
    parts = rng.choice((parts, parts, parts[:1], parts[1:]))
    parts[-1] = (parts[-1][0], parts[-1][1].rstrip(","))
    return parts, {}


def names(rng: random.Random, voice: Voice) -> tuple[list[Part], dict[str, str]]:
    """Weekdays, months or letters, one after another."""
    i, kind = LANG_INDEX[voice.lang], rng.choice(("weekday", "month", "letters", "letters"))
    if kind == "letters":
        drawn = [rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(1, 5))]
        return [(c, c.upper()) for c in drawn], {lang: " ".join(drawn).upper() for lang in LANG_INDEX}
    rows = rng.sample(world()["words"][kind], rng.randint(2, 3))
    parts = [(row[i].lower(), row[i] + ",") for row in rows]
    parts[-1] = (parts[-1][0], parts[-1][1].rstrip(","))
    return parts, {lang: ", ".join(row[LANG_INDEX[lang]] for row in rows) for lang in LANG_INDEX}


FRAMES = {
    "en": [("you have", "messages"), ("you have", "minutes"), ("extension", ""), ("press", ""), ("", "dollars"), ("", "minutes"), ("", "seconds"), ("", "hours"), ("number", ""), ("folder 9", "")],
    "es": [("usted tiene", "mensajes"), ("", "minutos"), ("presione", ""), ("marque", ""), ("", "dólares"), ("", "segundos"), ("", "horas"), ("extensión", ""), ("actualmente hay", "minutos")],
    "fr": [("vous avez", "messages"), ("appuyez sur", ""), ("", "minutes"), ("", "secondes"), ("", "heures"), ("poste", ""), ("", "dollars"), ("pour", "")],
}  # fmt: skip


def framed(rng: random.Random, voice: Voice) -> tuple[list[Part], dict[str, str]]:
    before, after = rng.choice(FRAMES[voice.lang])
    n = rng.randint(2, 9) if "press" in before or "marque" in before or "appuyez" in before else rng.randint(2, 99)
    return [
        *([(before, before)] if before else []),
        *number_parts(n, voice.lang),
        *([(after, after)] if after else []),
    ], {}


MAKERS = (digits, digits, number, number, number, numbers, date, date, names, framed, framed)


def join(parts: list[Part], voice: Voice, rng: random.Random) -> tuple[np.ndarray, str, tuple[float, ...]]:
    """Samples, written text and word times; a hyphen binds two pieces to one word."""
    sound, written, starts, at = [], "", [], 0
    fast = rng.random() < 0.5
    for key, text in parts:
        samples = rng.choice(voice.words[key]).astype(np.float32)
        loud = np.flatnonzero(np.abs(samples) > 0.03 * np.abs(samples).max())
        margin = rng.randint(0, 500) if fast else rng.randint(300, 800)
        samples = samples[max(0, loud[0] - margin) : loud[-1] + margin]
        if not written.endswith("-"):
            if written:
                written += " "
            count = len(text.split())
            # A recording of several words: their times spread by length.
            lengths = np.cumsum([0, *[len(w) for w in text.split()]])[:count] / max(1, len(text.replace(" ", "")))
            starts += [(at + margin + share * (len(samples) - 2 * margin)) / SAMPLE_RATE for share in lengths]
        written += text
        gap = 0 if fast else int(rng.uniform(0, 0.2) * SAMPLE_RATE)
        sound += [samples, np.zeros(gap, np.float32)]
        at += len(samples) + gap
        end = (at - gap - margin) / SAMPLE_RATE
    text = written[0].upper() + written[1:] + "."
    return np.concatenate(sound).astype(np.int16), text, (*[round(s, 3) for s in starts], round(end, 3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("people", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng, by_lang = random.Random(args.seed), {}
    for u in read_new([args.people], set()):
        by_lang.setdefault(u.lang, []).append(u)
    for lang, utterances in by_lang.items():
        voice, made, total = Voice(lang, utterances), [], 0.0
        while total < args.hours * 3600 / len(by_lang):
            maker = rng.choice(MAKERS)
            parts, text = maker(rng, voice)
            if not voice.has(parts):
                continue
            samples, written, times = join(parts, voice, rng)
            if not 0.3 < len(samples) / SAMPLE_RATE < 14 or len(times) != len(written.split()) + 1:
                continue
            whole = {k: v[0].upper() + v[1:] + "." for k, v in text.items()} | {lang: written}
            made.append(Utterance(samples, lang, whole, {}, "joined", voice.speaker, maker.__name__, times))
            total += made[-1].duration
        write_shard(args.out, f"joined-{lang}-{args.seed}", made)
        print(lang, len(made), f"{total / 60:.0f} min of {len(voice.words)} words")


if __name__ == "__main__":
    main()
