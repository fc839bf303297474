"""A decoder that hears a growing recording: it keeps what it wrote, and listens anew whenever there is more sound.

Encoder states in, tokens out, one at a time or several that are guessed. Knows nothing about when to stop: that is a
policy's business.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mlx_canary.backend import mx
from mlx_canary.load_models import LoadedModel
from mlx_canary.network.cache import DecoderCache
from mlx_canary.network.cross_attention import step_with_attention
from mlx_canary.types import EncoderOutput


class StreamDecoder:
    """Greedy decoding of one text, whose keys and values outlive the encoder states that they were computed with.

    Args:
        model: Computes; is not changed.
        prompt: Token ids that stand before the text.
    """

    def __init__(self, model: LoadedModel, prompt: Sequence[int]) -> None:
        self._network = model.network
        self._size = model.tokenizer.size
        self._cache: DecoderCache | None = None
        self._n_prompt = len(prompt)
        self.ids = list(prompt)
        """The prompt and the text so far."""

    def listen(self, encoded: EncoderOutput) -> None:
        """From now on look at these encoder states (1, S, W); what was written stays as it is."""
        fresh = self._network.start(encoded, [0])
        if self._cache is not None:
            fresh.tokens, fresh.steps = self._cache.tokens, self._cache.steps
        self._cache = fresh

    def propose(self) -> int:
        """The most likely next token. It counts only when it is appended to `ids`."""
        return self.follow(())[0]

    def follow(self, guess: Sequence[int]) -> list[int]:
        """The most likely tokens after the text and after each token of a guess, in one pass.

        Of the n + 1 tokens the first continues the text; those up to the first that differs from the guess, included,
        are what one step after the other would give.
        """
        cache = self._rewound()
        new = [*self.ids[cache.length :], *guess]
        logits = self._network.step(mx.array([new]), cache)[0, -1 - len(guess) :, : self._size]
        return [int(token) for token in np.array(mx.argmax(logits, axis=-1))]

    def propose_with_attention(self, layer: int) -> tuple[int, npt.NDArray[np.float32]]:
        """The most likely next token, and where a layer looks, mean over the heads, for each token read: (U, S)."""
        cache = self._rewound()
        logits, weights = step_with_attention(self._network, mx.array([self.ids[cache.length :]]), cache, layer)
        return int(np.array(mx.argmax(logits[0, -1, : self._size]))), np.array(weights[0].mean(axis=0))

    def _rewound(self) -> DecoderCache:
        """The memory without what followed from tokens that were never accepted.

        The last token is always read again, for what follows it depends on what is heard now; as long as nothing was
        accepted, so is the prompt.
        """
        assert self._cache is not None, "listen first"
        n_kept = len(self.ids) - 1 if len(self.ids) > self._n_prompt else 0
        self._cache.rewind(min(self._cache.length, n_kept))
        return self._cache
