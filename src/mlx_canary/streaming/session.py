"""A stream: blocks of samples in, text out while it goes on, a transcript at the end.

Parts the sound into segments at pauses and gives each to a policy of its own, so that hours take no more memory than
minutes. Where segments end depends on the sound alone, never on how it is divided into blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soxr

from mlx_canary.audio.samples import Samples, from_array
from mlx_canary.decoding.limits import token_limit
from mlx_canary.errors import AudioError, PromptError
from mlx_canary.load_models import LoadedModel
from mlx_canary.longform.guards import LOOP
from mlx_canary.longform.windows import quietest
from mlx_canary.streaming.agreement import Agreement
from mlx_canary.streaming.options import PolicyName, StreamingOptions
from mlx_canary.streaming.policies import MOST_IDS, NOTHING, AlignAtt, Policy, WaitK
from mlx_canary.streaming.quiet import FRAME, QuietMeter
from mlx_canary.text.prompt import Prompt, encode_prompt
from mlx_canary.types import Audio, Segment, Transcript

_HOP = 0.1  # seconds from one look for pauses to the next
_LEAD = 0.3  # seconds kept before a segment's first sound
_LEAST_SPEECH = 0.1  # seconds of activity without which nothing is decoded
_BREATH = 0.2  # seconds of quiet in which nothing is decoded yet
_SHORT_PAUSE, _LONG = 0.3, 0.6  # in a segment longer than this share of the limit, a shorter pause will do


@dataclass(frozen=True, slots=True)
class Update:
    """The text of a stream so far.

    Attributes:
        committed: What will not change. Every later one begins with it; a comma or an ending may follow its last word.
        draft: What follows it for the moment.
    """

    committed: str
    draft: str


class StreamingSession:
    """One stream over a loaded model; made by `CanaryModel.stream`.

    Sessions share the model's weights and nothing else.
    """

    def __init__(self, model: LoadedModel, prompt: Prompt, options: StreamingOptions) -> None:
        self._model, self._prompt, self._options = model, prompt, options
        self._ids = encode_prompt(prompt, model.config.prompt.format, model.tokenizer)
        n_layers = model.config.decoder.n_layers
        if options.policy == "alignatt" and not -n_layers <= options.xatt_scores_layer < n_layers:
            raise PromptError(
                f"xatt_scores_layer={options.xatt_scores_layer} is not there: the decoder has {n_layers} layers."
            )
        self._rate = model.config.preprocessor.sample_rate
        self._check_room()
        self._intake = _Intake(self._rate)
        self._meter = QuietMeter(self._rate)
        self._hop = round(_HOP / FRAME) * self._meter.frame
        self._waiting: Samples = NOTHING  # less than a hop
        self._sound: Samples = NOTHING  # of the segment
        self._n_seen = 0  # samples before `_waiting`
        self._segments: list[Segment] = []
        self._text = ""
        self._start(0)
        self._transcript: Transcript | None = None

    def _check_room(self) -> None:
        """The shortest window has the least room for text, for NeMo's rule goes by the sound's length."""
        config = self._model.config
        n_frames = self._rate // config.preprocessor.hop_length
        room = (
            token_limit(config, n_frames, len(self._ids))
            if self._options.policy == "windowed"
            else MOST_IDS - len(self._ids)
        )
        if room < 1:
            raise PromptError(
                f"The prompt has {len(self._ids)} tokens, which leaves no room for text. Give less context."
            )

    @property
    def target_lang(self) -> str:
        """The language of the text."""
        return self._prompt.target_lang

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments that have ended; they will not change."""
        return tuple(self._segments)

    def add_audio(self, samples: npt.NDArray[np.floating] | Audio) -> Update:
        """More sound.

        Args:
            samples: (N,) in [-1, 1] at the checkpoint's rate, of any length; or `Audio`, which is resampled if it has
                another rate. All blocks of a stream have one rate.

        Returns:
            The text so far.

        Raises:
            AudioError: The samples make no sense, the rate has changed, or the stream is finished.
        """
        if self._transcript is not None:
            raise AudioError("The stream is finished. Begin another one with CanaryModel.stream.")
        self._hear(self._intake.take(samples))
        return self._update()

    def finish(self) -> Transcript:
        """There is no more sound: the whole text. Calling it again gives the same transcript."""
        if self._transcript is None:
            self._hear(self._intake.finish())
            rest = self._waiting
            self._sound = np.concatenate([self._sound, rest])
            self._n_seen += len(rest)
            self._waiting = rest[:0]
            self._end(len(self._sound))
            prompt, duration = self._prompt, self._n_seen / self._rate
            self._transcript = Transcript(tuple(self._segments), prompt.source_lang, prompt.target_lang, duration)
        return self._transcript

    def __enter__(self) -> StreamingSession:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None:
            self.finish()

    def _hear(self, samples: Samples) -> None:
        """Go through the sound in steps of one size.

        Where Ctrl-C or an error ends a step, its sound is taken already: whoever goes on or finishes hears it once.
        """
        self._waiting = np.concatenate([self._waiting, samples])
        while len(self._waiting) >= self._hop:
            hop, self._waiting = self._waiting[: self._hop], self._waiting[self._hop :]
            self._advance(hop)
        self._waiting = self._waiting.copy()

    def _advance(self, hop: Samples) -> None:
        self._active += self._meter.hear(hop)
        self._n_seen += len(hop)
        self._sound = np.concatenate([self._sound, hop])
        self._feed()
        if not self._has_speech:
            self._drop_lead()
        elif self._policy.stopped:
            self._end(self._policy.n_heard)
        elif self._pauses:
            self._end(len(self._sound))
        elif len(self._sound) >= self._options.segment_limit * self._rate:
            self._end(self._best_cut())

    @property
    def _has_speech(self) -> bool:
        return sum(self._active) * FRAME >= _LEAST_SPEECH

    @property
    def _quiet(self) -> float:
        """Seconds of quiet at the end."""
        return FRAME * next((n for n, active in enumerate(reversed(self._active)) if active), len(self._active))

    @property
    def _pauses(self) -> bool:
        """Whether it has been quiet for long enough; in a long segment a shorter pause will do."""
        is_long = len(self._active) * FRAME > _LONG * self._options.segment_limit
        return self._quiet >= (min(_SHORT_PAUSE, self._options.pause) if is_long else self._options.pause)

    def _start(self, first: int) -> None:
        """Begin a segment at a sample of the stream."""
        self._first = first
        self._sound = NOTHING
        self._active: list[bool] = []  # frames of it
        self._n_fed = 0
        self._policy = _POLICIES[self._options.policy](self._model, self._ids, self._options)

    def _feed(self) -> None:
        """Give the policy what it has not got.

        Sound without speech is no reason to decode. In a pause the policy waits, for a chunk at most: either the
        segment ends, and all of it is decoded for the last time, or somebody speaks again.
        """
        n_new = len(self._sound) - self._n_fed
        if self._has_speech and (self._quiet < _BREATH or n_new >= self._options.chunk * self._rate):
            new, self._n_fed = self._sound[self._n_fed :], len(self._sound)
            self._policy.feed(new)

    def _drop_lead(self) -> None:
        """Forget what was before the first sound of speech."""
        n_frames = len(self._active) - round(_LEAD / FRAME)
        if n_frames > 0:
            n_samples = n_frames * self._meter.frame
            self._sound, self._active = self._sound[n_samples:], self._active[n_frames:]
            self._first += n_samples

    def _best_cut(self) -> int:
        """The quietest place of the sound that no fixed word was heard in, in whole frames."""
        high = len(self._sound)
        low = max(self._policy.n_heard, high // 2)
        if high - low < self._hop:
            return high
        return max(low, quietest(self._sound, low, high, self._rate) // self._meter.frame * self._meter.frame)

    def _end(self, n_samples: int) -> None:
        """End the segment after so many samples; what was heard beyond them begins the next one."""
        if self._has_speech:
            self._settle(n_samples)
        sound, active = self._sound[n_samples:].copy(), self._active[n_samples // self._meter.frame :]
        self._start(self._first + n_samples)
        self._sound, self._active = sound, active
        self._feed()

    def _settle(self, n_samples: int) -> None:
        """Fix the segment's text."""
        policy = self._policy
        if not policy.stopped:
            policy.cut(n_samples)
            rest, self._n_fed = self._sound[min(self._n_fed, n_samples) : n_samples], n_samples
            policy.finish(rest)
        text = self._decoded(policy.tokens)
        if text:
            start, end = self._first / self._rate, (self._first + n_samples) / self._rate
            self._segments.append(Segment(text, start, end, flags=(LOOP,) if policy.looped else ()))
            self._text = f"{self._text} {text}" if self._text else text

    def _decoded(self, tokens: list[int]) -> str:
        return " ".join(self._model.tokenizer.decode(tokens, skip_special=True).split())

    def _update(self) -> Update:
        tokens = self._policy.tokens
        fixed, whole = self._decoded(tokens[: self._policy.n_fixed]), self._decoded(tokens)
        committed = " ".join(filter(None, (self._text, fixed)))
        return Update(committed, whole[len(fixed) :].strip())


_POLICIES: dict[PolicyName, Callable[..., Policy]] = {"windowed": Agreement, "alignatt": AlignAtt, "waitk": WaitK}


class _Intake:
    """Blocks as they come in, samples at the model's rate out."""

    def __init__(self, sample_rate: int) -> None:
        self._wanted = sample_rate
        self._rate: int | None = None
        self._resampler: soxr.ResampleStream | None = None

    def take(self, block: npt.NDArray[np.floating] | Audio) -> Samples:
        """Samples (n,) of a block, as far as they are ready."""
        audio = from_array(block if isinstance(block, Audio) else Audio(block, self._wanted), "The block")
        if self._rate is None:
            self._rate = audio.sample_rate
            if self._rate != self._wanted:
                self._resampler = soxr.ResampleStream(self._rate, self._wanted, 1, "float32", "HQ")
        if audio.sample_rate != self._rate:
            raise AudioError(f"The stream began with {self._rate} Hz, this block has {audio.sample_rate}.")
        return audio.samples if self._resampler is None else self._resampled(audio.samples, last=False)

    def finish(self) -> Samples:
        """What the resampler still holds."""
        return NOTHING if self._resampler is None else self._resampled(NOTHING, last=True)

    def _resampled(self, samples: Samples, last: bool) -> Samples:
        assert self._resampler is not None
        resampled: Samples = self._resampler.resample_chunk(np.ascontiguousarray(samples), last=last)
        return resampled
