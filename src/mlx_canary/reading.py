"""A recording with what is asked of it in, its windows to decode out, one after the other.

Reads the recording as a stream, finds out its language where it is asked to, and tells the assembly what is to come.
Knows nothing about other recordings: which windows are decoded when is for whoever draws them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace

import numpy as np

from mlx_canary.audio.features import pad_to_minimum
from mlx_canary.audio.load import iter_audio, load_audio
from mlx_canary.audio.samples import Samples
from mlx_canary.audio.sources import AudioSource
from mlx_canary.decoding.language import LanguageGuess, guess_language
from mlx_canary.errors import CanaryError, PromptError
from mlx_canary.load_models import LoadedModel
from mlx_canary.longform.activity import is_silent
from mlx_canary.longform.assembly import Assembly
from mlx_canary.longform.journal import Journal
from mlx_canary.longform.windows import Window, cut_windows
from mlx_canary.nemo_longform import nemo_segments, transcribe_like_nemo
from mlx_canary.requests import (
    AUTO,
    TranscriptionOptions,
    candidates,
    default_language,
    is_auto,
    request_for,
    window_lengths,
    with_language,
)
from mlx_canary.text.languages import another_language
from mlx_canary.transcriber import Piece, Request, Transcriber, languages_of, nothing
from mlx_canary.types import Segment

_NO_SAMPLES = np.zeros(0, np.float32)


class Reader:
    """Reads recordings for one loaded model.

    Args:
        model: Tells the language of a recording where it is to be found out.
        transcriber: Tells whether a window has room for its text.
    """

    def __init__(self, model: LoadedModel, transcriber: Transcriber) -> None:
        self._model = model
        self._transcriber = transcriber

    def check(self, options: TranscriptionOptions, journal: Journal | None) -> None:
        """Refuse what the checkpoint cannot do, before any sound is read.

        Raises:
            PromptError: The checkpoint does not have a language, task or option, a language model cannot be used, or a
                journal is given that could not be kept.
        """
        if not isinstance(options, TranscriptionOptions):
            raise PromptError(f"Options are a {type(options).__name__}; expected TranscriptionOptions.")
        if options.longform == "nemo" and journal is not None:
            raise PromptError(
                "longform='nemo' does what NeMo does: it has no windows for a journal. Give none with it."
            )
        if options.decoding is not None:
            self._transcriber.prepare(options.decoding)
        self.check_prompts(options)

    def check_prompts(self, options: TranscriptionOptions) -> None:
        """The part of `check` that computes nothing, so that any thread may ask."""
        self._request_if_known(options)

    def blocks(self, audio: AudioSource, options: TranscriptionOptions) -> Generator[Samples, None, None]:
        """The samples of a recording, read as they are needed."""
        rate = self._model.config.preprocessor.sample_rate
        return iter_audio(audio, sample_rate=rate, channel=options.channel, track=options.track)

    def pieces(
        self,
        index: int,
        audio: AudioSource,
        options: TranscriptionOptions,
        assembly: Assembly,
        journal: Journal | None,
        blocks: Iterable[Samples] | None = None,
    ) -> Iterator[Piece]:
        """The windows of one recording that are not done yet, read as they are needed.

        What is wrong with the recording is told to the assembly, as is its end.

        Args:
            index: Its number in the assembly.
            audio: The recording.
            options: What is wanted of it.
            assembly: Is told what is to come.
            journal: Where windows that are done already are found.
            blocks: Its samples, where somebody reads them ahead.
        """
        error = None
        try:
            if options.longform == "nemo":
                self._like_nemo(index, audio, options, assembly)
            else:
                yield from self._windows(index, blocks or self.blocks(audio, options), options, assembly, journal)
        except CanaryError as problem:
            error = problem
        assembly.close(index, error)

    def _windows(
        self,
        index: int,
        blocks: Iterable[Samples],
        options: TranscriptionOptions,
        assembly: Assembly,
        journal: Journal | None,
    ) -> Iterator[Piece]:
        """The first window in which something is heard decides the recording's language, if asked to.

        Where nobody named it, that window tells whether the model's default is right.
        """
        request = self._request_if_known(options)
        rate = self._model.config.preprocessor.sample_rate
        silent: list[Window] = []
        on_language = self._doubt(index, options, assembly)
        if request is not None:
            assembly.describe(index, languages_of(request))
        reach = None if options.timestamps is None else self._transcriber.times.reach(options.times_from)
        lengths = window_lengths(options, self._model.config, reach)
        for window in cut_windows(blocks, rate, *lengths):
            if request is None and is_silent(window.samples):
                silent.append(replace(window, samples=_NO_SAMPLES))  # hours of it may come before the first word
                continue
            if request is None:
                request = self._request(with_language(options, self._language(window, options.language or AUTO)))
                assembly.describe(index, languages_of(request))
                for each in silent:
                    assembly.expect(index, each.start, each.end)
                    assembly.add(index, each.start, nothing(Piece(index, each, request)))
            piece = Piece(index, window, request)
            done = journal.find(window) if journal is not None else None
            if done is None or len(done) != len(request.prompts):
                self._check_room(piece)
                assembly.expect(index, window.start, window.end)
                if on_language is not None and not is_silent(window.samples):
                    piece, on_language = replace(piece, on_language=on_language), None
                yield piece
            else:
                assembly.expect(index, window.start, window.end)
                assembly.add(index, window.start, done)
        if request is None:
            raise PromptError("Nothing is heard in the recording, so its language cannot be found out. Say language.")

    def _doubt(self, index: int, options: TranscriptionOptions, assembly: Assembly) -> Callable[[str], None] | None:
        """Warns where another language is heard than the default one; None where one is named, or there is one only.

        A model that is told the wrong language translates, in well-formed sentences.
        """
        languages = self._model.config.languages
        if options.language is not None or languages is None or len(languages.spoken) == 1:
            return None
        taken = default_language(self._model.config)

        def tell(heard: str) -> None:
            if heard != taken:
                assembly.warn(index, another_language(heard, taken))

        return tell

    def _check_room(self, piece: Piece) -> None:
        if not self._transcriber.has_room(piece):
            raise PromptError("The prompt leaves no room for the text of a recording this short. Give less context.")

    def _language(self, window: Window, asked: str) -> str:
        guess = self.guess(window, asked)
        if guess.language is None:
            tags = ", ".join(f"{code} {share:.0%}" for code, share in guess.by_tag.items())
            texts = ", ".join(f"{code} {share:.0%}" for code, share in guess.by_text.items())
            raise PromptError(
                f"The language cannot be told for certain (by its tag: {tags}; by a short text: {texts}). Say language."
            )
        return guess.language

    def guess(self, window: Window, asked: str = AUTO) -> LanguageGuess:
        """Compare the checkpoint's languages on a window, or those that "auto:en,de" names."""
        config, network, tokenizer = self._model.config, self._model.network, self._model.tokenizer
        samples = pad_to_minimum(window.samples, config.preprocessor.sample_rate)
        encoded = network.encode(self._model.preprocessor([samples]))
        languages = candidates(asked, config, tokenizer)
        return guess_language(network, encoded, tokenizer, config.prompt.format, languages)

    def _like_nemo(self, index: int, audio: AudioSource, options: TranscriptionOptions, assembly: Assembly) -> None:
        """A whole recording as one window, by NeMo's way."""
        request = self._request(options)
        rate = self._model.config.preprocessor.sample_rate
        sound = load_audio(audio, sample_rate=rate, channel=options.channel, track=options.track)
        assembly.describe(index, languages_of(request))
        segments: tuple[Segment, ...] = ()
        if not is_silent(sound.samples):
            timed = options.timestamps is not None
            found = transcribe_like_nemo(self._model, sound.samples, request.prompts[0], timed)
            segments = nemo_segments(found, sound.duration, options.timestamps == "word")
        assembly.expect(index, 0.0, sound.duration)
        assembly.add(index, 0.0, (segments,))

    def _request_if_known(self, options: TranscriptionOptions) -> Request | None:
        """None for a recording whose language is to be found out."""
        if not is_auto(options.language):
            return self._request(options)
        candidates(options.language, self._model.config, self._model.tokenizer)
        return None

    def _request(self, options: TranscriptionOptions) -> Request:
        return request_for(options, self._model.config, self._model.tokenizer)
