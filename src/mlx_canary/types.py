"""The values that pass between the stages. They hold data and know nothing else.

Letters for shapes, here and everywhere: B batch, N samples, T feature frames (10 ms), S encoder frames (80 ms),
U tokens, M mel bins, D encoder width, W decoder width, H heads, K head width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mlx_canary.backend import mx


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """One channel of sound.

    Attributes:
        samples: (N,) float32 in [-1, 1].
        sample_rate: In Hz.
    """

    samples: npt.NDArray[np.float32]
    sample_rate: int

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Log-mel features of a batch.

    Attributes:
        frames: (B, T, M) float32; frames past an item's length are zero.
        lengths: Valid frames of each item.
    """

    frames: mx.array
    lengths: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class EncoderOutput:
    """What the decoder attends to.

    Attributes:
        states: (B, S, W) after the projection to the decoder's width.
        lengths: Valid frames of each item.
    """

    states: mx.array
    lengths: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One decoded token sequence.

    Attributes:
        tokens: Ids without the prompt and without the closing end-of-text.
        token_logprobs: Natural-log probability of each token.
        finished: Whether the end-of-text token was reached within the limit.
        score: What the search summed up: log-probabilities of the tokens and of the closing end-of-text, and what
            boosting and language model added. No length penalty.
        token_confidences: From 0 to 1 for each token; None where it was not asked for.
        no_speech_prob: Probability that the first token says that nobody speaks; None where the checkpoint has no
            such token.
    """

    tokens: tuple[int, ...]
    token_logprobs: tuple[float, ...]
    finished: bool
    score: float
    token_confidences: tuple[float, ...] | None = None
    no_speech_prob: float | None = None


@dataclass(frozen=True, slots=True)
class Word:
    """One word with its time.

    Attributes:
        text: With its punctuation, without spaces around it.
        start: Seconds from the start of the recording.
        end: Seconds from the start of the recording.
        confidence: From 0 to 1, None where it was not asked for.
    """

    text: str
    start: float
    end: float
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Alternative:
    """One of the texts that the search found for the same sound.

    Attributes:
        text: The text.
        score: What the search summed up, as in `Hypothesis`.
    """

    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the recording with its text.

    Attributes:
        text: What was said; where there are words, they joined by spaces.
        start: Seconds from the start of the recording.
        end: Seconds from the start of the recording.
        words: Empty where no word times were asked for.
        confidence: From 0 to 1, None where it was not asked for.
        flags: What is doubtful about it, such as "unfinished" (the length limit came before the end of the text).
        tokens: Ids of the text, special tokens apart; empty where they cannot be told.
        avg_logprob: Mean of the tokens' natural-log probabilities: how likely the model found the text. Where the
            segment's own tokens cannot be told, that of all in its window; None where it is not known.
        no_speech_prob: Probability that nobody speaks in its window, before a text was written; None where the
            checkpoint has no token for it.
        n_best: The texts that were found for it, its own first; empty where no more than one was asked for.
    """

    text: str
    start: float
    end: float
    words: tuple[Word, ...] = ()
    confidence: float | None = None
    flags: tuple[str, ...] = ()
    tokens: tuple[int, ...] = ()
    # Their last digits change with what is decoded beside a window, which makes no other segment of it.
    avg_logprob: float | None = field(default=None, compare=False)
    no_speech_prob: float | None = field(default=None, compare=False)
    n_best: tuple[Alternative, ...] = ()


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a recording says, or says in another language. `str(transcript)` is the text.

    Attributes:
        segments: In the order of the recording.
        source_lang: The language spoken.
        target_lang: The language of the text.
        duration: Length of the recording in seconds.
        translations: The same recording in other languages, where they were asked for beside this one.
        warnings: What is doubtful about all of it, in sentences.
    """

    segments: tuple[Segment, ...]
    source_lang: str
    target_lang: str
    duration: float
    translations: tuple[Transcript, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The whole text."""
        return " ".join(segment.text for segment in self.segments if segment.text)

    @property
    def words(self) -> tuple[Word, ...]:
        """All words, where word times were asked for."""
        return tuple(word for segment in self.segments for word in segment.words)

    def __str__(self) -> str:
        return self.text
