"""Recordings with what is asked of them in, their results out, batch after batch.

Reads recordings as streams, finds out their language where it is asked to, decodes windows of several recordings
together, sorted by length. Not more than a few batches of sound are in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from mlx_canary.audio.features import pad_to_minimum
from mlx_canary.audio.load import iter_audio, load_audio
from mlx_canary.audio.sources import AudioSource
from mlx_canary.decoding.language import LanguageGuess, guess_language
from mlx_canary.errors import CanaryError, PromptError
from mlx_canary.load_models import LoadedModel
from mlx_canary.longform.assembly import Assembly
from mlx_canary.longform.journal import Journal
from mlx_canary.longform.windows import Window, cut_windows
from mlx_canary.nemo_longform import nemo_segments, transcribe_like_nemo
from mlx_canary.requests import AUTO, TranscriptionOptions, candidates, request_for, window_lengths
from mlx_canary.transcriber import Piece, Request, Transcriber, is_silent, languages_of
from mlx_canary.types import Segment

# Windows are sorted by length within so many batches, so that a batch's windows are alike.
_LOOK_AHEAD = 8


class Scheduler:
    """Decides what is decoded when, with one loaded model."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._transcriber = Transcriber(model)

    def run(
        self,
        requests: Sequence[tuple[AudioSource, TranscriptionOptions]],
        assembly: Assembly,
        batch_size: int,
        journals: Sequence[Journal] | None,
    ) -> Iterator[None]:
        """Decode batch after batch; between them the caller can take what is known from the assembly.

        Raises:
            PromptError: The checkpoint does not have a language, task or option. What is wrong with a recording is told
                to the assembly instead.
        """
        if not isinstance(batch_size, int) or batch_size < 1:
            raise PromptError(f"batch_size={batch_size!r} must be a whole number, at least 1.")
        for _, options in requests:
            if not isinstance(options, TranscriptionOptions):
                raise PromptError(f"Options are a {type(options).__name__}; expected TranscriptionOptions.")
        asked = [self._request_if_known(options) for _, options in requests]
        pieces = self._pieces(requests, asked, assembly, journals)
        n_ahead = 1  # little at first, so that something is seen soon
        while ahead := list(islice(pieces, batch_size * n_ahead)):
            ahead.sort(key=lambda piece: len(piece.window.samples))
            for start in range(0, len(ahead), batch_size):
                batch = ahead[start : start + batch_size]
                for piece, texts in zip(batch, self._transcriber(batch), strict=True):
                    if journals is not None:
                        journals[piece.recording].note(piece.window, texts)
                    assembly.add(piece.recording, piece.window.start, texts)
                yield
            n_ahead = min(2 * n_ahead, _LOOK_AHEAD)

    def _pieces(
        self,
        requests: Sequence[tuple[AudioSource, TranscriptionOptions]],
        asked: Sequence[Request | None],
        assembly: Assembly,
        journals: Sequence[Journal] | None,
    ) -> Iterator[Piece]:
        """The windows of all recordings that are not done yet, read as they are needed."""
        for index, ((audio, options), request) in enumerate(zip(requests, asked, strict=True)):
            error = None
            try:
                if options.longform == "nemo":
                    self._like_nemo(index, audio, options, assembly)
                else:
                    yield from self._windows(index, audio, options, request, assembly, journals)
            except CanaryError as problem:
                error = problem
            assembly.close(index, error)

    def _windows(
        self,
        index: int,
        audio: AudioSource,
        options: TranscriptionOptions,
        request: Request | None,
        assembly: Assembly,
        journals: Sequence[Journal] | None,
    ) -> Iterator[Piece]:
        """The windows of one recording; the first in which something is heard decides its language, if asked to."""
        rate = self._model.config.preprocessor.sample_rate
        blocks = iter_audio(audio, sample_rate=rate, channel=options.channel)
        silent: list[Window] = []
        if request is not None:
            assembly.describe(index, languages_of(request))
        for window in cut_windows(blocks, rate, *window_lengths(options, self._model.config)):
            if request is None and is_silent(window.samples):
                silent.append(window)
                continue
            if request is None:
                request = self._request(replace(options, language=self._language(window)))
                assembly.describe(index, languages_of(request))
            for each in (*silent, window):
                assembly.expect(index, each.start, each.end)
                done = journals[index].find(each) if journals is not None else None
                if done is None or len(done) != len(request.prompts):
                    yield self._checked(Piece(index, each, request))
                else:
                    assembly.add(index, each.start, done)
            silent = []
        if request is None:
            raise PromptError("Nothing is heard in the recording, so its language cannot be found out. Say language.")

    def _checked(self, piece: Piece) -> Piece:
        if not self._transcriber.has_room(piece):
            raise PromptError("The prompt leaves no room for the text of a recording this short. Give less context.")
        return piece

    def _language(self, window: Window) -> str:
        guess = self.guess(window)
        if guess.language is None:
            tags = ", ".join(f"{code} {share:.0%}" for code, share in guess.by_tag.items())
            texts = ", ".join(f"{code} {share:.0%}" for code, share in guess.by_text.items())
            raise PromptError(
                f"The language cannot be told for certain (by its tag: {tags}; by a short text: {texts}). Say language."
            )
        return guess.language

    def guess(self, window: Window) -> LanguageGuess:
        """Compare the checkpoint's languages on a window."""
        config, network = self._model.config, self._model.network
        samples = pad_to_minimum(window.samples, config.preprocessor.sample_rate)
        encoded = network.encode(self._model.preprocessor([samples]))
        return guess_language(network, encoded, self._model.tokenizer, config.prompt.format, candidates(config))

    def _like_nemo(self, index: int, audio: AudioSource, options: TranscriptionOptions, assembly: Assembly) -> None:
        """A whole recording as one window, by NeMo's way."""
        request = self._request(options)
        sound = load_audio(audio, sample_rate=self._model.config.preprocessor.sample_rate, channel=options.channel)
        assembly.describe(index, languages_of(request))
        assembly.expect(index, 0.0, sound.duration)
        segments: tuple[Segment, ...] = ()
        if not is_silent(sound.samples):
            timed = options.timestamps is not None
            found = transcribe_like_nemo(self._model, sound.samples, request.prompts[0], timed)
            segments = nemo_segments(found, sound.duration, options.timestamps == "word")
        assembly.add(index, 0.0, (segments,))

    def _request_if_known(self, options: TranscriptionOptions) -> Request | None:
        """None for a recording whose language is to be found out."""
        if options.language != AUTO:
            return self._request(options)
        candidates(self._model.config)
        return None

    def _request(self, options: TranscriptionOptions) -> Request:
        return request_for(options, self._model.config, self._model.tokenizer)
