"""When the words of a decoded window are spoken, by the way that suits the model and the text.

The model's own time tokens, its auxiliary CTC model, or where its decoder looks: which one is decided here, how each
works is in `inline`, `forced` and `attention`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from mlx_canary.alignment.attention import attention_words
from mlx_canary.alignment.forced import words_of_plan
from mlx_canary.alignment.inline import inline_words
from mlx_canary.alignment.states import plan_text
from mlx_canary.audio.samples import Samples
from mlx_canary.errors import AlignmentError
from mlx_canary.load_models import LoadedModel, TimesFrom
from mlx_canary.text.prompt import Prompt
from mlx_canary.types import Audio, EncoderOutput, Word

Method = Literal["ctc", "inline", "attention"]


class WordTimes:
    """Finds them with one loaded model.

    Args:
        model: Computes; is not changed.
    """

    def __init__(self, model: LoadedModel) -> None:
        self._model = model

    def method(self, prompt: Prompt, times_from: TimesFrom | None) -> Method:
        """The way for the text that a prompt asks for; with `times_from` None the one that is best for the model."""
        if self.reach(times_from) is not None:
            return "inline"
        is_spoken = prompt.source_lang == prompt.target_lang
        return "ctc" if self._by_model(times_from) and self._model.aligner is not None and is_spoken else "attention"

    def reach(self, times_from: TimesFrom | None) -> float | None:
        """How far into a window the model's own time tokens reach in seconds; None where it is not to write them."""
        config, aligner = self._model.config, self._model.aligner
        if not self._by_model(times_from) or aligner is not None or not config.writes_times:
            return None
        return self._model.tokenizer.n_times * config.frame_duration or None

    def _by_model(self, times_from: TimesFrom | None) -> bool:
        return (times_from or self._model.times_from) == "model"

    def words(
        self,
        method: Method,
        encoded: EncoderOutput,
        ids: Sequence[int],
        tokens: Sequence[int],
        samples: Samples,
        language: str,
    ) -> tuple[Word, ...]:
        """The words of a text with their times.

        Args:
            method: From `method`; where it finds no way, attention does.
            encoded: Encoder states (1, S, W) of the window.
            ids: Of the prompt.
            tokens: Ids of the text.
            samples: (N,) what the encoder heard.
            language: Of the text.

        Returns:
            Words whose times count from the first sample.
        """
        model = self._model
        audio = Audio(samples, model.config.preprocessor.sample_rate)
        frame = model.config.frame_duration
        if method == "ctc":
            try:
                return self._by_aligner(tokens, audio, language)
            except AlignmentError:
                pass  # more tokens than frames: the aligner has no way through
        if method == "inline":
            text = model.tokenizer.decode(tokens)
            if "<|" in text:
                return inline_words(text, audio.duration, frame)
        return attention_words(model.network, encoded, ids, tokens, model.tokenizer, audio, frame)

    def _by_aligner(self, tokens: Sequence[int], audio: Audio, language: str) -> tuple[Word, ...]:
        aligner, tokenizer = self._model.aligner, self._model.tokenizer
        assert aligner is not None
        log_probs, (n_frames,) = aligner.network(aligner.preprocessor([audio.samples]))
        plan = plan_text(tokenizer.decode(tokens, skip_special=True), tokenizer, tokenizer.size, language=language)
        heard = np.array(log_probs[0, :n_frames])
        return words_of_plan(plan, heard, tokenizer, audio.duration, aligner.frame_duration)
