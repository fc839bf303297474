"""Our own policy: a window that grows until a pause; words that two decodings in a row share are fixed, but the last.

Samples in, tokens out. What is fixed is not decoded again but read in one pass; what was only drafted is guessed again
in the same pass, so that a step costs one pass of the encoder, one of the decoder, and a few more for what is new. The
tokens are exactly those of greedy search that continues what is fixed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlx_canary.audio.features import pad_to_minimum
from mlx_canary.audio.samples import Samples
from mlx_canary.decoding.limits import token_limit
from mlx_canary.decoding.loops import find_loop
from mlx_canary.load_models import LoadedModel
from mlx_canary.streaming.decoder import StreamDecoder
from mlx_canary.streaming.options import StreamingOptions
from mlx_canary.streaming.policies import NOTHING, last_word


class Agreement:
    """Decodes the whole window after every chunk."""

    def __init__(self, model: LoadedModel, prompt: Sequence[int], options: StreamingOptions) -> None:
        self._model, self._prompt = model, list(prompt)
        self._rate = model.config.preprocessor.sample_rate
        self._chunk = round(options.chunk * self._rate)
        self._guards_loops = options.hallucinations_detector
        self._samples: Samples = NOTHING
        self._n_decoded = 0
        self.tokens: list[int] = []
        self.n_fixed = 0
        self.n_heard = 0
        self.stopped = self.looped = False

    def feed(self, samples: Samples) -> None:
        """Decode after every whole chunk that more sound follows."""
        self._samples = np.concatenate([self._samples, samples])
        while len(self._samples) > self._n_decoded + self._chunk:
            before = self._n_decoded
            self._n_decoded += self._chunk
            found = self._decode(self._samples[: self._n_decoded])
            # The last shared word may go on, and a full stop after it may be there because the sound stops.
            self.n_fixed = max(self.n_fixed, last_word(self._model, found[: self._n_agreed(found)]))
            # Words shared with the decoding before were heard in the sound that it had.
            self.n_heard = before
            self.tokens = found

    def cut(self, n_samples: int) -> None:
        """Forget the end of the window."""
        assert n_samples >= self.n_heard
        self._samples = self._samples[:n_samples]

    def finish(self, rest: Samples = NOTHING) -> None:
        """The whole window, once; all of it is fixed."""
        self._samples = np.concatenate([self._samples, rest])
        if len(self._samples):
            self.tokens = self._decode(self._samples)
        self.n_fixed, self.n_heard = len(self.tokens), len(self._samples)
        self.stopped = True

    def _n_agreed(self, found: Sequence[int]) -> int:
        """Tokens that this decoding and the one before begin with."""
        n = 0
        while n < min(len(found), len(self.tokens)) and found[n] == self.tokens[n]:
            n += 1
        return n

    def _decode(self, samples: Samples) -> list[int]:
        """The text of a window that begins with what is fixed."""
        self.looped = False
        features = self._model.preprocessor([pad_to_minimum(samples, self._rate)])
        limit = token_limit(self._model.config, features.lengths[0], len(self._prompt))
        fixed, guess = self.tokens[: self.n_fixed], self.tokens[self.n_fixed : limit]
        decoder = StreamDecoder(self._model, [*self._prompt, *fixed])
        decoder.listen(self._model.network.encode(features))
        begin, eos = len(self._prompt), self._model.tokenizer.eos_id
        while len(decoder.ids) - begin < limit:
            for proposed, guessed in zip(decoder.follow(guess), [*guess, None], strict=True):
                if proposed == eos:
                    return decoder.ids[begin:]
                decoder.ids.append(proposed)
                if self._loops(decoder.ids, begin):
                    return decoder.ids[begin:]
                if proposed != guessed:
                    break
            guess = []
        return decoder.ids[begin:]

    def _loops(self, ids: list[int], begin: int) -> bool:
        """Whether the text repeats itself at its end; the repeats that are not fixed are taken away."""
        loop = find_loop(ids[begin + self.n_fixed :]) if self._guards_loops else None
        if loop is None:
            return False
        del ids[begin + self.n_fixed + loop.start + loop.period :]
        self.looped = True
        return True
