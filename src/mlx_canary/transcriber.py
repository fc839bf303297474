"""Windows of sound with what is asked of them in, segments out.

Joins encoder, search, guards, times and confidence for windows that fit the encoder; where windows come from and where
segments go is for others. Holds no state but what it computed once for given decoding options.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mlx_canary.alignment.attention import attention_words, words_of_tokens
from mlx_canary.alignment.forced import words_from_log_probs
from mlx_canary.alignment.inline import inline_words
from mlx_canary.alignment.spans import FRAME_DURATION
from mlx_canary.alignment.words import sentences
from mlx_canary.audio.features import pad_to_minimum
from mlx_canary.backend import mx
from mlx_canary.decoding.confidence import aggregate
from mlx_canary.decoding.generate import Decoder
from mlx_canary.decoding.limits import token_limit
from mlx_canary.decoding.options import DecodingOptions
from mlx_canary.errors import AlignmentError
from mlx_canary.load_models import LoadedModel
from mlx_canary.longform.activity import active_seconds
from mlx_canary.longform.assembly import Texts
from mlx_canary.longform.guards import NO_SPEECH, Evidence, doubts, is_better
from mlx_canary.longform.windows import Samples, Window, halves
from mlx_canary.text.prompt import Prompt, encode_prompt
from mlx_canary.types import Audio, EncoderOutput, Hypothesis, Segment, Word

Timestamps = Literal["word", "segment"]
# Below this no microphone hears anything (-80 dB), but a model asked about it would still say something.
_SILENCE = 1e-4
# How often a doubtful window is cut in two and decoded again, and how short its parts may get.
_MAX_DEPTH, _SHORTEST_PART = 2, 4.0
_MAX_PAUSE = 2.0  # seconds within a segment


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked about a recording.

    Attributes:
        prompts: Of its texts: the first, then translations beside it.
        timestamps: Times of words, of sentences only, or None for those of windows.
        decoding: How to search.
        guards: Whether doubtful windows are decoded again.
    """

    prompts: tuple[Prompt, ...]
    timestamps: Timestamps | None
    decoding: DecodingOptions
    guards: bool


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A window of a recording."""

    recording: int
    window: Window
    request: Request


def is_silent(samples: Samples) -> bool:
    """Whether there is nothing to hear in (N,) samples."""
    return not abs(samples).max(initial=0) > _SILENCE


def languages_of(request: Request) -> tuple[tuple[str, str], ...]:
    """The spoken and written language of each text."""
    return tuple((prompt.source_lang, prompt.target_lang) for prompt in request.prompts)


@dataclass(frozen=True, slots=True, eq=False)
class _Heard:
    """A batch after the encoder. Samples are padded to the shortest length that a model takes."""

    pieces: list[Piece]
    samples: list[Samples]
    encoded: EncoderOutput
    n_feature_frames: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    """The text of one window, and what speaks for it."""

    segments: tuple[Segment, ...]
    evidence: tuple[Evidence, ...]


class Transcriber:
    """Turns windows into segments with one loaded model."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._decoders: dict[DecodingOptions, Decoder] = {}

    def __call__(self, pieces: Sequence[Piece]) -> list[Texts]:
        """The texts of each window, decoded together where their options allow it; every window must have room."""
        found: dict[int, Texts] = {}
        groups: dict[DecodingOptions, list[int]] = {}
        for i, piece in enumerate(pieces):
            if is_silent(piece.window.samples):
                nothing = Segment("", piece.window.start, piece.window.end)
                found[i] = tuple((nothing,) for _ in piece.request.prompts)
            else:
                groups.setdefault(piece.request.decoding, []).append(i)
        for group in groups.values():
            heard = self._listen([pieces[i] for i in group])
            for i, texts in zip(group, self._texts(heard), strict=True):
                found[i] = texts
        return [found[i] for i in range(len(pieces))]

    def method(self, prompt: Prompt) -> Literal["ctc", "inline", "attention"]:
        """Where the word times of such a text come from."""
        if self._model.aligner is not None:
            return "ctc" if prompt.source_lang == prompt.target_lang else "attention"
        return "inline" if self._model.tokenizer.n_times else "attention"

    def reach(self, timestamps: Timestamps | None) -> float | None:
        """How far into a window the model's own time tokens reach in seconds, where it is asked to write them."""
        if timestamps is None or self._model.aligner is not None:
            return None
        return self._model.tokenizer.n_times * FRAME_DURATION or None

    def ids(self, prompt: Prompt, timestamps: Timestamps | None) -> list[int]:
        """The prompt's token ids; where the model itself writes times, it is asked to."""
        if timestamps is not None and self.method(prompt) == "inline":
            prompt = replace(prompt, timestamp=True)
        return encode_prompt(prompt, self._model.config.prompt.format, self._model.tokenizer)

    def has_room(self, piece: Piece) -> bool:
        """Whether the prompts leave room for a text; the shorter a window, the less of it there is."""
        config, request = self._model.config, piece.request
        samples = pad_to_minimum(piece.window.samples, config.preprocessor.sample_rate)
        n_prompt = max(len(self.ids(prompt, request.timestamps)) for prompt in request.prompts)
        return token_limit(config, len(samples) // config.preprocessor.hop_length, n_prompt) > 0

    def _listen(self, pieces: list[Piece]) -> _Heard:
        rate = self._model.config.preprocessor.sample_rate
        samples = [pad_to_minimum(piece.window.samples, rate) for piece in pieces]
        features = self._model.preprocessor(samples)
        return _Heard(pieces, samples, self._model.network.encode(features), features.lengths)

    def _texts(self, heard: _Heard) -> list[Texts]:
        """Every text of every window, from one pass of the encoder."""
        texts: list[list[tuple[Segment, ...]]] = [[] for _ in heard.pieces]
        for n in range(max(len(piece.request.prompts) for piece in heard.pieces)):
            rows = [i for i, piece in enumerate(heard.pieces) if len(piece.request.prompts) > n]
            for i, found in zip(rows, self._decode(_rows(heard, rows), n, depth=0), strict=True):
                texts[i].append(found.segments)
        return [tuple(each) for each in texts]

    def _decode(self, heard: _Heard, n: int, depth: int) -> list[_Found]:
        """The n-th text of each window."""
        prompts = [piece.request.prompts[n] for piece in heard.pieces]
        ids = [self.ids(p, piece.request.timestamps) for p, piece in zip(prompts, heard.pieces, strict=True)]
        decode = self._decoder(heard.pieces[0].request.decoding)
        languages, pnc = [p.target_lang for p in prompts], [p.pnc for p in prompts]
        hypotheses = decode(heard.encoded, ids, self._limits(heard, ids), languages, pnc)
        return [
            self._again(piece, n, self._found(_rows(heard, [i]), n, best, ids[i]), depth)
            for i, (piece, (best, *_)) in enumerate(zip(heard.pieces, hypotheses, strict=True))
        ]

    def _decoder(self, options: DecodingOptions) -> Decoder:
        if options not in self._decoders:
            self._decoders[options] = Decoder(self._model.network, self._model.tokenizer, options)
        return self._decoders[options]

    def _limits(self, heard: _Heard, ids: list[list[int]]) -> list[int]:
        config, frames = self._model.config, heard.n_feature_frames
        return [token_limit(config, n, len(prompt)) for n, prompt in zip(frames, ids, strict=True)]

    def _again(self, piece: Piece, n: int, found: _Found, depth: int) -> _Found:
        """A doubtful window's two halves, decoded anew, where they are less doubtful."""
        (evidence,) = found.evidence
        window = piece.window
        if not piece.request.guards or not doubts(evidence) or depth >= _MAX_DEPTH:
            return found
        if window.end - window.start < 2 * _SHORTEST_PART:
            return found
        parts = [replace(piece, window=half) for half in halves(window, self._model.config.preprocessor.sample_rate)]
        audible = [part for part in parts if not is_silent(part.window.samples)]
        if not all(map(self.has_room, audible)):
            return found
        new = self._decode(self._listen(audible), n, depth + 1)
        joined = _Found(
            tuple(segment for part in new for segment in part.segments),
            tuple(evidence for part in new for evidence in part.evidence),
        )
        return joined if is_better(joined.evidence, evidence) else found

    def _found(self, heard: _Heard, n: int, hypothesis: Hypothesis, ids: list[int]) -> _Found:
        """The segments of one window (a batch of one)."""
        (piece,), (samples,) = heard.pieces, heard.samples
        window, request = piece.window, piece.request
        plain = [token for token in hypothesis.tokens if token not in self._model.tokenizer.special_ids]
        rate = self._model.config.preprocessor.sample_rate
        active, duration = active_seconds(samples, rate), window.end - window.start
        evidence = Evidence(plain, hypothesis.finished, active, duration)
        flags = doubts(evidence) + ((NO_SPEECH,) if plain and (hypothesis.no_speech_prob or 0) > 0.5 else ())
        text = self._model.tokenizer.decode(hypothesis.tokens, skip_special=True).strip()
        confidences = self._word_confidences(hypothesis)
        timed = request.timestamps is not None and text
        words = self._words(heard, request.prompts[n], hypothesis, ids) if timed else []
        if not words:
            mean = aggregate(confidences, "mean")
            return _Found((Segment(text, window.start, window.end, confidence=mean, flags=flags),), (evidence,))
        if len(words) == len(confidences):
            words = [replace(word, confidence=c) for word, c in zip(words, confidences, strict=True)]
        segments = sentences(_placed(words, len(samples) / rate, window), _MAX_PAUSE)
        kept = request.timestamps == "word"
        return _Found(tuple(_finished(segment, flags, kept) for segment in segments), (evidence,))

    def _word_confidences(self, hypothesis: Hypothesis) -> list[float]:
        if hypothesis.token_confidences is None:
            return []
        words, word_of = words_of_tokens(hypothesis.tokens, self._model.tokenizer)
        values = np.array(hypothesis.token_confidences)
        return [float(values[word_of == w].min(initial=1.0)) for w in range(len(words))]

    def _words(self, heard: _Heard, prompt: Prompt, hypothesis: Hypothesis, ids: list[int]) -> list[Word]:
        """Words with times from the start of the (padded) window."""
        model, (samples,) = self._model, heard.samples
        rate = model.config.preprocessor.sample_rate
        method, duration = self.method(prompt), len(samples) / rate
        if method == "ctc" and model.aligner is not None:
            log_probs, (n_frames,) = model.aligner.network(model.aligner.preprocessor([samples]))
            text = model.tokenizer.decode(hypothesis.tokens, skip_special=True)
            try:
                frames, language = np.array(log_probs[0, :n_frames]), prompt.target_lang
                return list(words_from_log_probs(text, frames, model.tokenizer, duration, language=language))
            except AlignmentError:
                method = "attention"  # more tokens than frames: the aligner has no way through
        if method == "inline":
            text = model.tokenizer.decode(hypothesis.tokens)
            if "<|" in text:
                return list(inline_words(text, duration))
        audio = Audio(samples, rate)
        return list(attention_words(model.network, heard.encoded, ids, hypothesis.tokens, model.tokenizer, audio))


def _rows(heard: _Heard, rows: list[int]) -> _Heard:
    """Some of a batch; frames beyond their longest are cut off."""
    lengths = tuple(heard.encoded.lengths[i] for i in rows)
    states = heard.encoded.states[mx.array(rows), : max(lengths)]
    return _Heard(
        [heard.pieces[i] for i in rows],
        [heard.samples[i] for i in rows],
        EncoderOutput(states, lengths),
        tuple(heard.n_feature_frames[i] for i in rows),
    )


def _placed(words: Sequence[Word], padded_duration: float, window: Window) -> list[Word]:
    """Words on the recording's clock; what was found in the padding is put at the window's edge."""
    shift = window.start - max(0.0, padded_duration - (window.end - window.start)) / 2

    def place(time: float) -> float:
        return min(max(time + shift, window.start), window.end)

    return [replace(word, start=place(word.start), end=place(word.end)) for word in words]


def _finished(segment: Segment, flags: tuple[str, ...], keep_words: bool) -> Segment:
    confidences = [word.confidence for word in segment.words if word.confidence is not None]
    words = segment.words if keep_words else ()
    return replace(segment, words=words, confidence=aggregate(confidences, "mean"), flags=flags)
