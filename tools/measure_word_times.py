"""How far word times are off: a checkpoint and speech with known times in, a table of errors out.

    python tools/spoken_words.py tools/word_time_sentences.txt speech.npz
    python tools/measure_word_times.py MODEL speech.npz [--langs en,de] [--pauses]

Methods: `spread` (by characters over the recording: what any method must beat), `attention` and `ctc` (of the known
text), `inline` (of the words that the model itself writes with times; those it gets right are compared). With --pauses
one to three sentences are joined with silences of 0.1 to 1.5 s and white noise 20 to 35 dB below the speech.
"""

from __future__ import annotations

import argparse
import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mlx_canary.alignment.attention import attention_words
from mlx_canary.alignment.inline import inline_words
from mlx_canary.alignment.words import settle_times
from mlx_canary.backend import mx
from mlx_canary.decoding.greedy import decode_greedy
from mlx_canary.errors import AlignmentError
from mlx_canary.forced_alignment import align_recording
from mlx_canary.load_models import LoadedModel, load_model
from mlx_canary.text.prompt import Prompt, encode_prompt
from mlx_canary.types import Audio, Word

RATE = 16_000


@dataclass
class Recording:
    audio: Audio
    lang: str
    words: list[Word]

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)


@dataclass
class Errors:
    starts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    n_words: int = 0

    def add(self, found: tuple[Word, ...], wanted: list[Word]) -> None:
        self.n_words += len(wanted)
        plain = [[word.text.lower().strip(".,?!¿¡:;") for word in words] for words in (found, wanted)]
        for a, b, n in difflib.SequenceMatcher(None, *plain, autojunk=False).get_matching_blocks():
            for one, other in zip(found[a : a + n], wanted[b : b + n], strict=True):
                self.starts.append(abs(one.start - other.start))
                self.ends.append(abs(one.end - other.end))

    def __str__(self) -> str:
        cells = [f"{np.quantile(errors, q) * 1000:5.0f}" for errors in (self.starts, self.ends) for q in (0.5, 0.9)]
        return f"{' | '.join(cells)} | {len(self.starts)} of {self.n_words}"


def read(path: Path) -> Iterator[Recording]:
    data = np.load(path)
    sounds = np.split(data["audio"], np.cumsum(data["lengths"])[:-1])
    for row, sound in zip(json.loads(str(data["rows"])), sounds, strict=True):
        words = [Word(*word) for word in zip(row["text"].split(), row["starts"], row["ends"], strict=True)]
        yield Recording(Audio(sound.astype(np.float32) / 32768, RATE), row["lang"], words)


def with_pauses(recordings: list[Recording]) -> Iterator[Recording]:
    rng = np.random.default_rng(2)
    rest = list(recordings)
    while rest:
        lang = rest[0].lang
        n = int(rng.integers(1, 4))
        group = [recording for recording in rest[:n] if recording.lang == lang]
        while len(group) > 1 and sum(recording.audio.duration for recording in group) > 12:
            group.pop()
        rest = rest[len(group) :]
        sound, words = [np.zeros(int(RATE * rng.uniform(0.1, 0.8)))], []
        for recording in group:
            shift = sum(map(len, sound)) / RATE
            words += [Word(word.text, word.start + shift, word.end + shift) for word in recording.words]
            sound += [recording.audio.samples, np.zeros(int(RATE * rng.uniform(0.1, 1.5)))]
        samples = np.concatenate(sound)
        noise = rng.normal(size=len(samples)) * samples.std() * 10 ** (-rng.uniform(20, 35) / 20)
        yield Recording(Audio((samples + noise).astype(np.float32), RATE), lang, words)


def by_attention(model: LoadedModel, recording: Recording) -> tuple[Word, ...]:
    prompt = _prompt(model, recording.lang, timestamp=False)
    tokens = model.tokenizer.encode(recording.text, recording.lang)
    encoded = model.network.encode(model.preprocessor([recording.audio.samples]))
    frame = model.config.frame_duration
    return attention_words(model.network, encoded, prompt, tokens, model.tokenizer, recording.audio, frame)


def by_inline_tokens(model: LoadedModel, recording: Recording) -> tuple[Word, ...]:
    prompt = _prompt(model, recording.lang, timestamp=True)
    encoded = model.network.encode(model.preprocessor([recording.audio.samples]))
    limit = model.config.decoder.max_sequence_length - len(prompt)
    (hypothesis,) = decode_greedy(
        model.network, encoded, [prompt], [limit], model.tokenizer.eos_id, model.tokenizer.size
    )
    text = model.tokenizer.decode(hypothesis.tokens)
    return inline_words(text, recording.audio.duration, model.config.frame_duration)


def by_ctc(model: LoadedModel, recording: Recording) -> tuple[Word, ...]:
    assert model.aligner is not None
    prompt = Prompt(source_lang=recording.lang, target_lang=recording.lang)
    try:
        return align_recording(model, [recording.audio.samples], recording.text, prompt).words
    except AlignmentError:  # spoken so fast that there are more tokens than frames; its words count as not compared
        return ()


def by_characters(_: LoadedModel, recording: Recording) -> tuple[Word, ...]:
    unknown = [None] * len(recording.words)
    return settle_times(recording.text.split(), unknown, unknown, recording.audio.duration)


def _prompt(model: LoadedModel, lang: str, timestamp: bool) -> list[int]:
    prompt = Prompt(source_lang=lang, target_lang=lang, timestamp=timestamp)
    return encode_prompt(prompt, model.config.prompt.format, model.tokenizer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("speech", type=Path)
    parser.add_argument("--langs", default="en,de,es,fr")
    parser.add_argument("--pauses", action="store_true")
    args = parser.parse_args()
    model = load_model(args.model)
    recordings = [recording for recording in read(args.speech) if recording.lang in args.langs.split(",")]
    recordings = list(with_pauses(recordings)) if args.pauses else recordings
    methods = {"spread": by_characters, "attention": by_attention, "inline": by_inline_tokens}
    if model.aligner is not None:
        methods["ctc"] = by_ctc
    print(f"{len(recordings)} recordings, {sum(r.audio.duration for r in recordings) / 60:.1f} minutes; ms")
    print("method | start median | start 90% | end median | end 90% | words compared")
    for name, method in methods.items():
        errors = Errors()
        for recording in recordings:
            errors.add(method(model, recording), recording.words)
            mx.clear_cache()
        print(f"{name} | {errors}", flush=True)


if __name__ == "__main__":
    main()
