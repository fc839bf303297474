"""Training examples: utterances in, sound and token ids out.

Draws the slots of the prompt (language, punctuation, digits, times, context,
partial prompt) and writes the answer that they ask for: two an utterance,
since hearing costs far more than answering. Knows nothing about the network
beyond its tokenizer.
"""

import random
from dataclasses import dataclass

import augment
import numpy as np
import texts
from model import LANGS, N_TIMES
from shards import INEXACT, Utterance

FRAME = 0.08
SPELLED = [row[0] for row in texts.world()["words"]["spelled_name"]]
TWIN = {name: SPELLED[i ^ 1] for i, name in enumerate(SPELLED)}  # names that sound alike, listed in pairs
Pair = tuple[list[int], list[int]]  # prompt and answer ids
Span = tuple[float, float]


@dataclass(frozen=True)
class Example:
    """Distorted speech and what it teaches.

    Args:
        samples: (N,) float32; empty once it has been heard and is kept for a second time.
        utterance: What was said; None for no speech.
        spans: Start and end of each word within samples (s); empty where they are not known.
        ctc: Ids of the spoken text, plain.
        frames: A label for each encoder frame, or None where the times are not known.
    """

    samples: np.ndarray
    utterance: Utterance | None
    spans: list[Span]
    ctc: list[int]
    frames: np.ndarray | None


class Maker:
    """Turns utterances into examples with one tokenizer."""

    def __init__(self, tokenizer, rng: random.Random) -> None:
        self.tokenizer, self.special, self.rng = tokenizer, tokenizer.special_tokens, rng
        self.eos, self.blank = tokenizer.eos_id, tokenizer.vocab_size
        self.cache: dict[tuple[str, str], list[int]] = {}

    def ids(self, text: str, lang: str) -> list[int]:
        if (text, lang) not in self.cache:
            if len(self.cache) > 300_000:
                self.cache.clear()
            self.cache[text, lang] = self.tokenizer.text_to_ids(text, lang)
        return self.cache[text, lang]

    def prompt(self, source: str, target: str, pnc: bool, itn: bool, times: bool, context: str) -> list[int]:
        slots = (
            "<|startoftranscript|>", "<|emo:undefined|>", f"<|{source}|>", f"<|{target}|>",
            "<|pnc|>" if pnc else "<|nopnc|>", "<|itn|>" if itn else "<|noitn|>",
            "<|timestamp|>" if times else "<|notimestamp|>", "<|nodiarize|>",
        )  # fmt: skip
        return [
            self.special["<|startofcontext|>"],
            *(self.ids(context, target) if context else []),
            *[self.special[s] for s in slots],
        ]

    def with_times(self, text: str, lang: str, spans: list[Span]) -> list[int] | None:
        words = text.split()
        if len(words) != len(spans) or spans[-1][1] / FRAME >= N_TIMES - 1:
            return None
        ids: list[int] = []
        for word, (begin, end) in zip(words, spans, strict=True):
            a, b = round(begin / FRAME), round(end / FRAME)
            ids += [self.special[f"<|{a}|>"], *self.ids(word, lang), self.special[f"<|{b}|>"]]
        return ids

    def frame_labels(self, plain: str, lang: str, spans: list[Span], n_samples: int) -> np.ndarray | None:
        """The token said in each 80 ms frame, spread evenly over its word; blank outside."""
        words = plain.split()
        if len(words) != len(spans):
            return None
        labels = np.full(n_samples // 1280 + 2, self.blank)
        centres = (np.arange(len(labels)) + 0.5) * FRAME
        for word, (begin, end) in zip(words, spans, strict=True):
            ids = self.ids(word, lang)
            inside = np.flatnonzero((centres >= begin) & (centres < end))
            for j, k in enumerate(inside):
                labels[k] = ids[j * len(ids) // len(inside)]
        return labels

    def silence(self) -> Example:
        x = augment.no_speech(self.rng)
        return Example(x, None, [], [], np.full(len(x) // 1280 + 2, self.blank))

    def nothing(self) -> Pair:
        rng = self.rng
        source = rng.choice(LANGS)
        target = rng.choice(LANGS) if rng.random() < 0.3 else source
        return self.prompt(source, target, rng.random() < 0.7, rng.random() < 0.1, rng.random() < 0.1, ""), [self.eos]

    def pick_context(self, text: str) -> tuple[str, str]:
        """Context and the text that it asks for: a listed spelling wins over its twin."""
        named = next((name for name in SPELLED if name in text), None)
        if named:
            wanted = self.rng.choice((named, TWIN[named]))
            if self.rng.random() < 0.7:
                return wanted, text.replace(named, wanted)
        elif self.rng.random() < 0.03:
            return self.rng.choice(SPELLED), text
        return "", text

    def transcription(self, utterance: Utterance, spans: list[Span]) -> Pair:
        """What was said, in its own language; now and then timed, in digits, or with the language to be found."""
        rng, lang, text = self.rng, utterance.lang, utterance.text[utterance.lang]
        if rng.random() < 0.08:
            partial = [self.special["<|startofcontext|>"], self.special["<|startoftranscript|>"]]
            return partial, [*self.prompt(lang, lang, True, False, False, "")[2:], *self.ids(text, lang), self.eos]
        itn = rng.random() < (0.12 if utterance.itn else 0.02)
        context, text = self.pick_context(utterance.itn.get(lang, text) if itn else text)
        pnc = rng.random() < 0.8
        text = text if pnc else texts.without_punctuation(text)
        timed = self.with_times(text, lang, spans) if spans and not itn and rng.random() < 0.15 else None
        return self.prompt(lang, lang, pnc, itn, timed is not None, context), [
            *(timed or self.ids(text, lang)),
            self.eos,
        ]

    def further(self, utterance: Utterance, spans: list[Span]) -> Pair:
        """The same sound asked for something else: a translation if there is one, else times or plain text."""
        rng, lang = self.rng, utterance.lang
        exact = utterance.engine != "people" and utterance.kind not in INEXACT
        others = [other for other in utterance.text if other != lang] if exact else []
        if not others or (spans and rng.random() < 0.35):
            text = utterance.text[lang] if rng.random() < 0.8 else texts.without_punctuation(utterance.text[lang])
            timed = self.with_times(text, lang, spans) if spans else None
            return self.prompt(lang, lang, text[:1].isupper(), False, timed is not None, ""), [
                *(timed or self.ids(text, lang)),
                self.eos,
            ]
        target = rng.choice(others)
        itn = rng.random() < (0.15 if utterance.itn else 0.02)
        pnc = rng.random() < 0.85
        text = utterance.itn.get(target, utterance.text[target]) if itn else utterance.text[target]
        text = text if pnc else texts.without_punctuation(text)
        return self.prompt(lang, target, pnc, itn, False, ""), [*self.ids(text, target), self.eos]

    def example(self, utterance: Utterance, strength: float) -> Example:
        lang = utterance.lang
        x, front, factor = augment.distort(utterance.samples, self.rng, strength)
        spans = [(front + begin / factor, front + end / factor) for begin, end in utterance.spans]
        plain = texts.without_punctuation(utterance.text[lang])
        frames = self.frame_labels(plain, lang, spans, len(x)) if spans else None
        return Example(x, utterance, spans, self.ids(plain, lang), frames)

    def pairs(self, example: Example, n: int) -> list[Pair]:
        """n things to ask of a sound, with their answers: others each time, from the third on mostly translations."""
        utterance, spans = example.utterance, example.spans
        if utterance is None:
            return [self.nothing() for _ in range(n)]
        first = [self.transcription(utterance, spans), self.further(utterance, spans)][:n]
        return first + [self.further(utterance, spans if self.rng.random() < 0.4 else []) for _ in range(n - 2)]
