"""Training examples: utterances in, sound and token ids out.

Draws the slots of the prompt (language, punctuation, digits, times, context,
partial prompt) and writes the answer that they ask for. Knows nothing about
the network beyond its tokenizer.
"""

import random
from dataclasses import dataclass

import augment
import numpy as np
import texts
from model import LANGS, N_TIMES
from shards import Utterance

FRAME = 0.08
SPELLED = [row[0] for row in texts.world()["words"]["spelled_name"]]
TWIN = {name: SPELLED[i ^ 1] for i, name in enumerate(SPELLED)}  # names that sound alike, listed in pairs
EXACT = ("recorded",)  # kinds whose texts in other languages are no exact translations


@dataclass(frozen=True)
class Example:
    """samples (N,) float32; prompt and answer ids; CTC ids (spoken text, plain); a label per encoder frame or none."""

    samples: np.ndarray
    prompt: list[int]
    answer: list[int]
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

    def with_times(self, text: str, lang: str, starts: list[float]) -> list[int] | None:
        words = text.split()
        if len(words) != len(starts) - 1 or starts[-1] / FRAME >= N_TIMES - 1:
            return None
        ids: list[int] = []
        for word, begin, end in zip(words, starts, starts[1:], strict=False):
            a, b = round(begin / FRAME), round(end / FRAME)
            ids += [self.special[f"<|{a}|>"], *self.ids(word, lang), self.special[f"<|{b}|>"]]
        return ids

    def frame_labels(self, plain: str, lang: str, starts: list[float], n_samples: int) -> np.ndarray | None:
        """The token said in each 80 ms frame, spread evenly over its word; blank outside."""
        words = plain.split()
        if len(words) != len(starts) - 1:
            return None
        labels = np.full(n_samples // 1280 + 2, self.blank)
        centres = (np.arange(len(labels)) + 0.5) * FRAME
        for word, begin, end in zip(words, starts, starts[1:], strict=False):
            ids = self.ids(word, lang)
            inside = np.flatnonzero((centres >= begin) & (centres < end))
            for j, k in enumerate(inside):
                labels[k] = ids[j * len(ids) // len(inside)]
        return labels

    def silence(self) -> Example:
        x = augment.no_speech(self.rng)
        source, target = self.rng.choice(LANGS), self.rng.choice(LANGS)
        target = target if self.rng.random() < 0.3 else source
        prompt = self.prompt(source, target, self.rng.random() < 0.7, self.rng.random() < 0.1, self.rng.random() < 0.1, "")
        return Example(x, prompt, [self.eos], [], np.full(len(x) // 1280 + 2, self.blank))

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

    def example(self, utterance: Utterance, strength: float) -> Example:
        rng, source = self.rng, utterance.lang
        x, front, factor = augment.distort(utterance.samples, rng, strength)
        starts = [front + t / factor for t in utterance.words]
        plain = texts.without_punctuation(utterance.text[source])
        ctc = self.ids(plain, source)
        frames = self.frame_labels(plain, source, starts, len(x)) if starts else None
        others = [lang for lang in utterance.text if lang != source] if utterance.engine != "people" and utterance.kind not in EXACT else []
        target = rng.choice(others) if others and rng.random() < 0.3 else source
        itn = bool(utterance.itn) and rng.random() < 0.15 or rng.random() < 0.03
        text = utterance.itn.get(target, utterance.text[target]) if itn else utterance.text[target]
        if target == source and not itn and rng.random() < 0.02:
            partial = [self.special["<|startofcontext|>"], self.special["<|startoftranscript|>"]]
            rest = self.prompt(source, source, True, False, False, "")[2:]
            return Example(x, partial, [*rest, *self.ids(text, source), self.eos], ctc, frames)
        context, text = self.pick_context(text)
        pnc = rng.random() < 0.75
        if not pnc:
            text = texts.without_punctuation(text)
        timed = None
        if target == source and starts and not itn and rng.random() < 0.15:
            timed = self.with_times(text, target, starts)
        prompt = self.prompt(source, target, pnc, itn, timed is not None, context)
        return Example(x, prompt, [*(timed or self.ids(text, target)), self.eos], ctc, frames)
