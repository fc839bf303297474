"""Greedy search: at each step the most likely token, for a whole batch.

Every item gets what it would get alone: prompts of different lengths are padded in front and masked, each item has its
own limit, and an end-of-text is final wherever it comes. (NeMo's beam search of size one, the default of its
checkpoints, runs on after an end-of-text that comes first, and its batches mix up prompts of different lengths.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from mlx_canary.backend import mx
from mlx_canary.network.cache import DecoderCache
from mlx_canary.network.canary import CanaryNetwork
from mlx_canary.types import EncoderOutput, Hypothesis


@dataclass(slots=True)
class _Item:
    """One item's tokens so far."""

    limit: int
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finished: bool = False

    @property
    def done(self) -> bool:
        return self.finished or len(self.tokens) >= self.limit

    def add(self, token: int, logprob: float, eos_id: int) -> None:
        if self.done:
            return
        if token == eos_id:
            self.finished = True
        else:
            self.tokens.append(token)
            self.logprobs.append(logprob)


def decode_greedy(
    network: CanaryNetwork,
    encoded: EncoderOutput,
    prompts: Sequence[Sequence[int]],
    limits: Sequence[int],
    eos_id: int,
    vocabulary_size: int,
) -> list[Hypothesis]:
    """Decode a batch.

    Args:
        network: Computes; is not changed.
        encoded: Encoder states (B, S, W).
        prompts: Token ids for each item, not empty; lengths may differ.
        limits: How many tokens each item may have at most; with its prompt they must fit the position table.
        eos_id: Ends an item.
        vocabulary_size: Outputs beyond it are padding of the head and are never chosen.

    Returns:
        One hypothesis for each item.
    """
    items = [_Item(limit) for limit in limits]
    rows = list(range(len(items)))  # which item stands in which row of the batch
    cache, logits = _read_prompts(network, encoded, prompts)
    while not all(item.done for item in items):
        tokens, logprobs = _most_likely(logits[:, -1, :vocabulary_size])
        # Issued before this step's tokens are read, so that the device does not wait for the host.
        logits = network.step(tokens[:, None], cache)
        mx.async_eval(tokens, logprobs, logits)
        for row, token, logprob in zip(rows, _listed(tokens), _listed(logprobs), strict=True):
            items[row].add(int(token), logprob, eos_id)
        going = [i for i, row in enumerate(rows) if not items[row].done]
        if 0 < len(going) <= len(rows) // 2:
            cache.select(going)
            logits, rows = logits[mx.array(going)], [rows[i] for i in going]
    return [Hypothesis(tuple(item.tokens), tuple(item.logprobs), item.finished) for item in items]


def _read_prompts(
    network: CanaryNetwork, encoded: EncoderOutput, prompts: Sequence[Sequence[int]]
) -> tuple[DecoderCache, mx.array]:
    """The decoder's state and logits (B, U, V) after the prompts, padded in front to one length."""
    longest = max(map(len, prompts))
    n_pad = [longest - len(prompt) for prompt in prompts]
    ids = mx.array([[0] * n + list(prompt) for n, prompt in zip(n_pad, prompts, strict=True)])
    cache = network.start(encoded, n_pad)
    return cache, network.step(ids, cache)


def _most_likely(logits: mx.array) -> tuple[mx.array, mx.array]:
    """(B, V) -> the best token (B,) and its log-probability (B,)."""
    logits = logits.astype(mx.float32)
    return mx.argmax(logits, axis=-1), logits.max(axis=-1) - mx.logsumexp(logits, axis=-1)


def _listed(array: mx.array) -> list[float]:
    return cast(list[float], array.tolist())
