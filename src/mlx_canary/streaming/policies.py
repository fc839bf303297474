"""NeMo's two policies for decoding a recording that goes on, wait-k and AlignAtt: samples in, tokens out.

Mirror NeMo 3.0's GreedyBatchedStreamingAEDComputer for a batch of one, driven as its own script drives it. The last
seconds of sound are heard anew with every chunk; a token that was written is never taken back. One object serves one
stretch of sound, and its token buffer is bounded, as in NeMo.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mlx_canary.audio.samples import Samples
from mlx_canary.decoding.loops import is_nemo_hallucination
from mlx_canary.load_models import LoadedModel
from mlx_canary.network.conformer import subsampled_length
from mlx_canary.streaming.decoder import StreamDecoder
from mlx_canary.streaming.options import StreamingOptions

# NeMo's buffer holds 256 ids, prompt included, and the one that would be the last is not kept.
MOST_IDS = 255
_TOKENS_PER_SECOND = 10
NOTHING: Samples = np.zeros(0, np.float32)
_POOL = 5  # NeMo's smoothing averages so many tokens by so many frames


class Policy(Protocol):
    """Decides when tokens are written, for one stretch of sound."""

    @property
    def tokens(self) -> list[int]:
        """All tokens so far."""

    @property
    def n_fixed(self) -> int:
        """How many of them will not change: whole words, as long as there may be more."""

    @property
    def n_heard(self) -> int:
        """Samples that the fixed tokens may have been taken from."""

    @property
    def stopped(self) -> bool:
        """Whether nothing more will be written."""

    @property
    def looped(self) -> bool:
        """Whether the text was cut off because it repeated itself."""

    def feed(self, samples: Samples) -> None:
        """More sound (n,); the result does not depend on how it is divided."""

    def cut(self, n_samples: int) -> None:
        """Forget the sound after so many samples; not less than `n_heard`."""

    def finish(self, rest: Samples = NOTHING) -> None:
        """There is no more but the rest (n,): all tokens are fixed."""


class NemoPolicy(ABC):
    """What both of NeMo's policies share: the buffer, and when a step is made."""

    def __init__(self, model: LoadedModel, prompt: Sequence[int], options: StreamingOptions) -> None:
        config = model.config
        factor, hop = config.encoder.subsampling_factor, config.preprocessor.hop_length
        # Seconds are rounded down to whole encoder frames.
        per_second = config.preprocessor.sample_rate / hop / factor
        self._left, self._chunk, self._right = (
            int(seconds * per_second) for seconds in (options.left, options.chunk, options.right)
        )
        self._frame, self._hop, self._factor = factor * hop, hop, factor
        self._model, self._options = model, options
        self._n_prompt, self._eos = len(prompt), model.tokenizer.eos_id
        self._limit = min(MOST_IDS, config.decoder.max_sequence_length - 1)
        self._decoder = StreamDecoder(model, prompt)
        self._buffer: Samples = NOTHING
        self._pending: Samples = NOTHING
        self.n_steps = 0
        """Steps so far."""
        self.n_heard = 0
        self.stopped = self.looped = False

    @property
    def tokens(self) -> list[int]:
        """All tokens so far."""
        return self._decoder.ids[self._n_prompt :]

    @property
    def n_fixed(self) -> int:
        """No token is taken back, but the last word may go on."""
        return len(self.tokens) if self.stopped else last_word(self._model, self.tokens)

    def feed(self, samples: Samples) -> None:
        """Make every step for which there is enough sound, and more after it: the last step is another.

        Nothing is heard after the policy stopped: that sound belongs to the next text.
        """
        self._pending = np.concatenate([self._pending, samples])
        while not self.stopped and len(self._pending) > self._n_wanted:
            n = self._n_wanted
            new, self._pending = self._pending[:n], self._pending[n:]
            self._step(new, last=False)

    def cut(self, n_samples: int) -> None:
        """Forget sound that no step has heard."""
        assert n_samples >= self.n_heard
        self._pending = self._pending[: n_samples - self.n_heard]

    def finish(self, rest: Samples = NOTHING) -> None:
        """The last step, with what is left."""
        self.feed(rest)
        new, self._pending = self._pending, self._pending[:0]
        self._step(new, last=True)

    @property
    def _n_wanted(self) -> int:
        return (self._chunk if self.n_steps else self._chunk + self._right) * self._frame

    def _step(self, new: Samples, last: bool) -> None:
        total = (self._left + self._chunk + self._right) * self._frame
        self._buffer = np.concatenate([self._buffer, new])[-total:]
        self.n_heard += len(new)
        self.n_steps += 1
        if self.stopped or len(self._buffer) < self._hop:
            return
        if not last and self._n_visible() // self._chunk < self._options.waitk_lagging:
            return
        self._decoder.listen(self._model.network.encode(self._model.preprocessor([self._buffer])))
        self._write(self._n_visible(), last)

    def _n_visible(self) -> int:
        """Encoder frames before the right context."""
        return len(self._buffer) // self._frame - self._right

    @abstractmethod
    def _write(self, n_visible: int, last: bool) -> None:
        """Write what the policy allows when so many frames may be looked at; in the last step all may."""

    def _accept(self, token: int) -> bool:
        """Write a token; false where that was the end, of the text or of the room for it."""
        ids = self._decoder.ids
        if self._options.hallucinations_detector and is_nemo_hallucination([*ids, token]):
            self.stopped = self.looped = True
        elif len(ids) >= self._limit:
            self.stopped = True
        else:
            ids.append(token)
        return not self.stopped


class WaitK(NemoPolicy):
    """One token for each chunk, k chunks behind; the rest when the recording has ended."""

    def __init__(self, model: LoadedModel, prompt: Sequence[int], options: StreamingOptions) -> None:
        super().__init__(model, prompt, options)
        self._limit = min(self._limit, options.max_generation_length - 1)

    def _write(self, n_visible: int, last: bool) -> None:
        while True:
            token = self._decoder.propose()
            if token == self._eos:
                self.stopped = last
                return
            if not self._accept(token) or not last:
                return


class AlignAtt(NemoPolicy):
    """As many tokens as look at sound that is not close to its end."""

    def __init__(self, model: LoadedModel, prompt: Sequence[int], options: StreamingOptions) -> None:
        super().__init__(model, prompt, options)
        # The configuration's own number is replaced by this in NeMo; below a second it is 0, which lets one through.
        self._most_per_step = _TOKENS_PER_SECOND * int(options.chunk + options.right)

    def _write(self, n_visible: int, last: bool) -> None:
        n_written = 0
        while last or n_written < max(1, self._most_per_step):
            token, attention = self._decoder.propose_with_attention(self._options.xatt_scores_layer)
            if not last and n_visible - (self._looked_at(attention) + 1) < self._options.alignatt_thr:
                return
            if token == self._eos:
                self.stopped = last
                return
            if not self._accept(token):
                return
            n_written += 1

    def _looked_at(self, attention: npt.NDArray[np.float32]) -> int:
        """The frame that the last token looks at most, of attention (U, S)."""
        # NeMo's encoder gives the frames of one feature frame more than it calls valid.
        n_stored = subsampled_length(len(self._buffer) // self._hop + 1, self._factor)
        attention = np.pad(attention, ((0, 0), (0, max(0, n_stored - attention.shape[1]))))
        n_sink: int = self._options.exclude_sink_frames
        if not self.tokens and attention.shape[1] <= n_sink:
            n_sink = attention.shape[1] // 2
        elif self._dropped:
            n_sink = 0
        n_sink = min(n_sink, int(attention.shape[1]) - 1)
        attention = attention[:, n_sink:]
        row = smoothed_last_row(attention) if self._options.use_avgpool_for_alignatt else attention[-1]
        return int(row.argmax()) + n_sink

    @property
    def _dropped(self) -> bool:
        """Whether old sound has left the buffer."""
        return self.n_steps * self._chunk > self._left + self._chunk


def last_word(model: LoadedModel, tokens: Sequence[int]) -> int:
    """Which of the tokens begins the last word; 0 if none does."""
    return max((n for n, token in enumerate(tokens) if model.tokenizer.piece(token).startswith("▁")), default=0)


def smoothed_last_row(attention: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The last row of (U, S) averaged over 5 tokens by 5 frames, as far as they exist."""
    reach = _POOL // 2
    ones = np.ones(_POOL)
    columns = attention[-1 - reach :].astype(np.float64)
    sums = np.convolve(columns.sum(axis=0), ones, mode="full")[reach : reach + attention.shape[1]]
    counts = np.convolve(np.ones(attention.shape[1]), ones, mode="full")[reach : reach + attention.shape[1]]
    averaged: npt.NDArray[np.float32] = (sums / (counts * len(columns))).astype(np.float32)
    return averaged
