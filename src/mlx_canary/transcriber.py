"""Windows of sound with what is asked of them in, segments out.

Joins encoder, search, guards, times and confidence for windows that fit the encoder; where windows come from and where
segments go is for others. Holds no state but what it computed once for given decoding options.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from operator import itemgetter
from typing import Literal

from mlx_canary.alignment.scores import avg_logprob, mean, text_places, with_scores, word_confidences
from mlx_canary.alignment.word_times import WordTimes
from mlx_canary.alignment.words import sentences
from mlx_canary.audio.features import pad_to_minimum
from mlx_canary.audio.samples import Samples
from mlx_canary.backend import mx
from mlx_canary.decoding.batch import Entry
from mlx_canary.decoding.generate import Decoder
from mlx_canary.decoding.language import languages_heard
from mlx_canary.decoding.limits import token_limit
from mlx_canary.decoding.options import DecodingOptions
from mlx_canary.load_models import LoadedModel, TimesFrom
from mlx_canary.longform.activity import active_seconds, is_silent
from mlx_canary.longform.assembly import Texts
from mlx_canary.longform.guards import Evidence, doubts, is_better, own_doubts
from mlx_canary.longform.windows import Window, halves
from mlx_canary.text.prompt import Prompt, encode_prompt
from mlx_canary.types import Alternative, EncoderOutput, Hypothesis, Segment, Word

Timestamps = Literal["word", "segment"]
# How often a doubtful window is cut in two and decoded again, and how short its parts may get.
_MAX_DEPTH, _SHORTEST_PART = 2, 4.0
_DECODERS = 4  # kept
_MAX_PAUSE = 2.0  # seconds within a segment


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked about a recording.

    Attributes:
        prompts: Of its texts: the first, then translations beside it.
        timestamps: Times of words, of sentences only, or None for those of windows.
        times_from: What tells them; None for what is best for the model.
        decoding: How to search.
        guards: Whether doubtful windows are decoded again.
    """

    prompts: tuple[Prompt, ...]
    timestamps: Timestamps | None
    times_from: TimesFrom | None
    decoding: DecodingOptions
    guards: bool


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A window of a recording.

    Attributes:
        recording: Its number.
        window: The sound.
        request: What is asked about it.
        on_language: Told which language the model hears in it, if it is sure; None where that does not matter.
    """

    recording: int
    window: Window
    request: Request
    on_language: Callable[[str], None] | None = None


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


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """The n-th text of one window (a batch of one), and the prompt for it."""

    heard: _Heard
    n: int
    ids: list[int]

    @property
    def piece(self) -> Piece:
        return self.heard.pieces[0]

    @property
    def prompt(self) -> Prompt:
        return self.piece.request.prompts[self.n]


@dataclass(frozen=True, slots=True)
class _Found:
    """The text of one window, and what speaks for it."""

    segments: tuple[Segment, ...]
    evidence: tuple[Evidence, ...]


class Transcriber:
    """Turns windows into segments with one loaded model.

    Args:
        model: Computes.
        refill: As for `search_each`.

    Attributes:
        times: Tells when words are spoken.
    """

    def __init__(self, model: LoadedModel, refill: bool | None = None) -> None:
        self._model = model
        self._refill = refill
        self.times = WordTimes(model)
        self._decoders: dict[DecodingOptions, Decoder] = {}

    def __call__(self, pieces: Sequence[Piece]) -> list[Texts]:
        """The texts of each window, decoded together where their options allow it; every window must have room."""
        found = dict(self.each([pieces], len(pieces)))
        return [found[piece] for piece in pieces]

    def each(self, batches: Iterable[Sequence[Piece]], batch_size: int) -> Iterator[tuple[Piece, Texts]]:
        """The texts of each window, as they are done.

        Args:
            batches: Windows that the encoder hears together; taken when there is room for them.
            batch_size: Texts that are decoded at once.
        """
        for options, groups in groupby(_groups(batches), itemgetter(0)):
            pieces = (group for _, group in groups)
            if options is None:
                yield from ((piece, nothing(piece)) for piece in chain.from_iterable(pieces))
            else:
                yield from self._alike(options, pieces, batch_size)

    def prepare(self, options: DecodingOptions) -> None:
        """Read and build what the search needs.

        Raises:
            PromptError: The language model cannot be used, or there are more beams than tokens.
        """
        self._decoder(options)

    def ids(self, prompt: Prompt, request: Request) -> list[int]:
        """The prompt's token ids; where the model itself writes times, it is asked to."""
        if request.timestamps is not None and self.times.method(prompt, request.times_from) == "inline":
            prompt = replace(prompt, timestamp=True)
        return encode_prompt(prompt, self._model.config.prompt.format, self._model.tokenizer)

    def has_room(self, piece: Piece) -> bool:
        """Whether the prompts leave room for a text; the shorter a window, the less of it there is."""
        config, request = self._model.config, piece.request
        samples = pad_to_minimum(piece.window.samples, config.preprocessor.sample_rate)
        n_prompt = max(len(self.ids(prompt, request)) for prompt in request.prompts)
        return token_limit(config, len(samples) // config.preprocessor.hop_length, n_prompt) > 0

    def _listen(self, pieces: list[Piece]) -> _Heard:
        rate = self._model.config.preprocessor.sample_rate
        samples = [pad_to_minimum(piece.window.samples, rate) for piece in pieces]
        features = self._model.preprocessor(samples)
        return _Heard(pieces, samples, self._model.network.encode(features), features.lengths)

    def _alike(
        self, options: DecodingOptions, groups: Iterable[list[Piece]], batch_size: int
    ) -> Iterator[tuple[Piece, Texts]]:
        """Windows whose options for decoding are the same: every text of each, from one pass of the encoder."""
        decoder = self._decoder(options)
        going: dict[int, _Asked] = {}
        texts: dict[Piece, dict[int, tuple[Segment, ...]]] = {}

        def entries() -> Iterator[Entry]:
            new = chain.from_iterable(map(self._asked, self._heard(groups)))
            for number, asked in enumerate(new):
                going[number] = asked
                yield self._entry(decoder, asked)

        for number, hypotheses in decoder.each(entries(), batch_size, self._refill):
            asked = going.pop(number)
            piece, done = asked.piece, texts.setdefault(asked.piece, {})
            done[asked.n] = self._again(asked, self._found(asked, hypotheses), depth=0).segments
            if len(done) == len(piece.request.prompts):
                del texts[piece]
                yield piece, tuple(done[n] for n in range(len(done)))

    def _heard(self, groups: Iterable[list[Piece]]) -> Iterator[_Heard]:
        """Batches after the encoder; whoever wants to know in which language a window is has been told."""
        for pieces in groups:
            heard = self._listen(pieces)
            self._tell_languages(heard)
            yield heard

    def _tell_languages(self, heard: _Heard) -> None:
        config, tokenizer = self._model.config, self._model.tokenizer
        rows = [i for i, piece in enumerate(heard.pieces) if piece.on_language is not None]
        spoken = () if config.languages is None else config.languages.spoken
        known = [code for code in spoken if tokenizer.has_special(f"<|{code}|>")]
        if not rows or not known:
            return
        encoded = EncoderOutput(heard.encoded.states[mx.array(rows)], tuple(heard.encoded.lengths[i] for i in rows))
        found = languages_heard(self._model.network, encoded, tokenizer, config.prompt.format, known)
        for i, language in zip(rows, found, strict=True):
            if language is not None and (tell := heard.pieces[i].on_language) is not None:
                tell(language)

    def _asked(self, heard: _Heard) -> Iterator[_Asked]:
        """Each text of each window: the first of all, then the second."""
        for n in range(max(len(piece.request.prompts) for piece in heard.pieces)):
            for i, piece in enumerate(heard.pieces):
                if n < len(piece.request.prompts):
                    yield _Asked(_row(heard, i), n, self.ids(piece.request.prompts[n], piece.request))

    def _entry(self, decoder: Decoder, asked: _Asked) -> Entry:
        (n_frames,), prompt = asked.heard.n_feature_frames, asked.prompt
        limit = token_limit(self._model.config, n_frames, len(asked.ids))
        return decoder.entry(asked.heard.encoded.states[0], asked.ids, limit, prompt.target_lang, prompt.pnc)

    def _decode(self, all_asked: Sequence[_Asked], depth: int) -> list[_Found]:
        """Texts of parts of a window."""
        decoder = self._decoder(all_asked[0].piece.request.decoding)
        found = dict(decoder.each([self._entry(decoder, asked) for asked in all_asked], len(all_asked)))
        return [self._again(asked, self._found(asked, found[number]), depth) for number, asked in enumerate(all_asked)]

    def _decoder(self, options: DecodingOptions) -> Decoder:
        """Made once and kept while it is among the last few in use: phrases and language models take memory."""
        decoder = self._decoders.pop(options, None) or Decoder(self._model.network, self._model.tokenizer, options)
        self._decoders[options] = decoder
        while len(self._decoders) > _DECODERS:
            del self._decoders[next(iter(self._decoders))]
        return decoder

    def _again(self, asked: _Asked, found: _Found, depth: int) -> _Found:
        """A doubtful window's two halves, decoded anew, where they are less doubtful."""
        (evidence,) = found.evidence
        piece, window = asked.piece, asked.piece.window
        if not piece.request.guards or not doubts(evidence) or depth >= _MAX_DEPTH:
            return found
        if window.end - window.start < 2 * _SHORTEST_PART:
            return found
        parts = [replace(piece, window=half) for half in halves(window, self._model.config.preprocessor.sample_rate)]
        audible = [part for part in parts if not is_silent(part.window.samples)]
        if not all(map(self.has_room, audible)):
            return found
        halved = self._listen(audible)
        new = self._decode([_Asked(_row(halved, i), asked.n, asked.ids) for i in range(len(audible))], depth + 1)
        joined = _Found(
            tuple(segment for part in new for segment in part.segments),
            tuple(evidence for part in new for evidence in part.evidence),
        )
        return joined if is_better(joined.evidence, evidence) else found

    def _found(self, asked: _Asked, hypotheses: Sequence[Hypothesis]) -> _Found:
        """The segments of one window, whose texts are given best first."""
        hypothesis, *others = hypotheses
        (samples,) = asked.heard.samples
        window, request = asked.piece.window, asked.piece.request
        tokenizer, rate = self._model.tokenizer, self._model.config.preprocessor.sample_rate
        places = text_places(hypothesis, tokenizer)
        active, duration = active_seconds(samples, rate), window.end - window.start
        evidence = Evidence([hypothesis.tokens[u] for u in places], hypothesis.finished, active, duration)
        flags = doubts(evidence) + own_doubts(avg_logprob(hypothesis, places), hypothesis.no_speech_prob)
        text = self._text(hypothesis)
        confidences = word_confidences(hypothesis, tokenizer)
        words = self._words(asked, hypothesis) if request.timestamps is not None and text else ()
        if not words:
            n_best = tuple(Alternative(self._text(h), h.score) for h in hypotheses) if others else ()
            segment = Segment(text, window.start, window.end, confidence=mean(confidences), flags=flags, n_best=n_best)
            return _Found(with_scores([segment], hypothesis, tokenizer), (evidence,))
        if len(words) == len(confidences):
            words = tuple(replace(word, confidence=c) for word, c in zip(words, confidences, strict=True))
        segments = sentences(_placed(words, len(samples) / rate, window), _MAX_PAUSE)
        segments = with_scores(segments, hypothesis, tokenizer)
        kept = request.timestamps == "word"
        return _Found(tuple(_finished(segment, flags, kept) for segment in segments), (evidence,))

    def _text(self, hypothesis: Hypothesis) -> str:
        return self._model.tokenizer.decode(hypothesis.tokens, skip_special=True).strip()

    def _words(self, asked: _Asked, hypothesis: Hypothesis) -> tuple[Word, ...]:
        """Words with times from the start of the (padded) window."""
        (samples,), method = asked.heard.samples, self.times.method(asked.prompt, asked.piece.request.times_from)
        return self.times.words(
            method, asked.heard.encoded, asked.ids, hypothesis.tokens, samples, asked.prompt.target_lang
        )


def _row(heard: _Heard, i: int) -> _Heard:
    """One window of a batch; frames beyond its own are cut off."""
    length = heard.encoded.lengths[i]
    encoded = EncoderOutput(heard.encoded.states[i : i + 1, :length], (length,))
    return _Heard([heard.pieces[i]], [heard.samples[i]], encoded, (heard.n_feature_frames[i],))


def _groups(batches: Iterable[Sequence[Piece]]) -> Iterator[tuple[DecodingOptions | None, list[Piece]]]:
    """Windows of a batch with the same options; first, with None, those in which there is nothing to hear."""
    for batch in batches:
        groups: dict[DecodingOptions | None, list[Piece]] = {None: []}
        for piece in batch:
            options = None if is_silent(piece.window.samples) else piece.request.decoding
            groups.setdefault(options, []).append(piece)
        yield from ((options, pieces) for options, pieces in groups.items() if pieces)


def nothing(piece: Piece) -> Texts:
    """The texts of a silent window."""
    return tuple((Segment("", piece.window.start, piece.window.end),) for _ in piece.request.prompts)


def _placed(words: Sequence[Word], padded_duration: float, window: Window) -> list[Word]:
    """Words on the recording's clock; what was found in the padding is put at the window's edge."""
    shift = window.start - max(0.0, padded_duration - (window.end - window.start)) / 2

    def place(time: float) -> float:
        return min(max(time + shift, window.start), window.end)

    return [replace(word, start=place(word.start), end=place(word.end)) for word in words]


def _finished(segment: Segment, flags: tuple[str, ...], keep_words: bool) -> Segment:
    confidences = [word.confidence for word in segment.words if word.confidence is not None]
    words = segment.words if keep_words else ()
    return replace(segment, words=words, confidence=mean(confidences), flags=flags)
