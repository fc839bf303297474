"""The loop that all ways of decoding share: ask the network, choose the next tokens, keep what was chosen.

Encoder states and prompts in, finished items out. How tokens are chosen is the chooser's business (`greedy`, `beam`,
`sampling`); what phrases and language models add comes from `fusion`. Every item gets what it would get alone: prompts
of different lengths are padded in front and masked, each item has its own limit and its own end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np

from mlx_canary.backend import mx
from mlx_canary.decoding.fusion import Fusion
from mlx_canary.decoding.paths import Item
from mlx_canary.decoding.rows import Choice, Chooser, Rows, Symbols
from mlx_canary.kernels import numpy_is_faster
from mlx_canary.network.cache import DecoderCache
from mlx_canary.network.canary import CanaryNetwork
from mlx_canary.types import EncoderOutput

# Log-probabilities of all outputs, the head's padding included, (B, R, V) -> confidences (B, R).
Measure = Callable[[mx.array], mx.array]


def search(
    network: CanaryNetwork,
    encoded: EncoderOutput,
    prompts: Sequence[Sequence[int]],
    limits: Sequence[int],
    symbols: Symbols,
    chooser: Chooser,
    measure: Measure | None = None,
    fusions: Sequence[Fusion | None] | None = None,
    loop_guard: bool = False,
) -> list[Item]:
    """Decode a batch.

    Args:
        network: Computes; is not changed.
        encoded: Encoder states (B, S, W).
        prompts: Token ids for each item, not empty; lengths may differ.
        limits: How many tokens each item may have at most, its end included only if it comes within them; with its
            prompt they must fit the position table.
        symbols: The vocabulary.
        chooser: The way of decoding.
        measure: Confidence, where it is wanted.
        fusions: What is added to each item's scores.
        loop_guard: Whether rows that repeat themselves are given up.
    """
    closing = chooser.closing(symbols)
    items = [
        Item(limit, len(prompt), chooser, closing, fusion, loop_guard)
        for limit, prompt, fusion in zip(limits, prompts, fusions or [None] * len(limits), strict=True)
    ]
    alive = list(range(len(items)))  # which item stands where in the batch
    cache, logits = _read_prompts(network, encoded, prompts)
    rows = _first_rows(prompts)
    # A device works while the host reads: a step is issued before the last one's tokens are read.
    ahead = not numpy_is_faster(logits)
    while not all(item.done for item in items):
        logits = logits.astype(mx.float32)
        norms = mx.logsumexp(logits, axis=-1)  # over the padding of the head too, as in NeMo
        choice = chooser.choose(_with_bonus(logits[..., : symbols.size], items, alive), norms, rows, symbols.eos_id)
        seen = _observed(logits, norms, choice, measure)
        if rows.n_steps == 0 and symbols.no_speech_id is not None:
            _note_no_speech(items, mx.exp(logits[:, 0, symbols.no_speech_id] - norms[:, 0]))
        rows = _follow(rows, choice, closing, chooser.ends_first)
        if chooser.n_rows > 1:
            cache.branch(choice.parents)
        if ahead:
            logits = network.step(choice.tokens, cache)
            mx.async_eval(choice.tokens, choice.parents, choice.totals, *seen, logits)
        _record(items, alive, choice, seen)
        going = [place for place, index in enumerate(alive) if not items[index].done]
        tokens = choice.tokens
        if 0 < len(going) <= len(alive) // 2:
            cache.select(going)
            kept = mx.array(going)
            logits, tokens, rows = logits[kept], tokens[kept], rows.select(kept)
            alive = [alive[place] for place in going]
        if going and not ahead:
            logits = network.step(tokens, cache)
    return items


def _read_prompts(
    network: CanaryNetwork, encoded: EncoderOutput, prompts: Sequence[Sequence[int]]
) -> tuple[DecoderCache, mx.array]:
    """The decoder's state and logits (B, 1, V) after the prompts, padded in front to one length."""
    longest = max(map(len, prompts))
    n_pad = [longest - len(prompt) for prompt in prompts]
    ids = mx.array([[0] * n + list(prompt) for n, prompt in zip(n_pad, prompts, strict=True)])
    cache = network.start(encoded, n_pad)
    return cache, network.step(ids, cache)[:, -1:]


def _first_rows(prompts: Sequence[Sequence[int]]) -> Rows:
    B = len(prompts)
    lengths = mx.array([[float(len(prompt))] for prompt in prompts])
    return Rows(mx.zeros((B, 1)), mx.zeros((B, 1), mx.bool_), lengths, 0)


def _with_bonus(logits: mx.array, items: Sequence[Item], alive: Sequence[int]) -> mx.array:
    """Logits (B, R, V) with what fusion and guard add."""
    R, V = logits.shape[1:]
    added = [items[index].bonus(V) for index in alive]
    if all(bonus is None for bonus in added):
        return logits
    return logits + mx.array(np.stack([np.zeros((R, V), np.float32) if b is None else b for b in added]))


def _follow(rows: Rows, choice: Choice, closing: Sequence[int], ends_first: bool) -> Rows:
    """Where the rows stand after a choice."""
    closes = choice.tokens == closing[0]
    for token in closing[1:]:
        closes = closes | (choice.tokens == token)
    ended = mx.take_along_axis(rows.ended, choice.parents, axis=1)
    if rows.n_steps > 0 or ends_first:
        ended = ended | closes
    lengths = mx.take_along_axis(rows.lengths, choice.parents, axis=1) + mx.logical_not(closes)
    return Rows(choice.totals, ended, lengths, rows.n_steps + 1)


def _observed(logits: mx.array, norms: mx.array, choice: Choice, measure: Measure | None) -> list[mx.array]:
    """The chosen tokens' log-probabilities and, if wanted, confidences, (B, R) each."""
    B, R, V = logits.shape
    chosen = mx.take_along_axis(logits.reshape(B, R * V), choice.parents * V + choice.tokens, axis=1)
    observed = [chosen - mx.take_along_axis(norms, choice.parents, axis=1)]
    if measure is not None:
        confidences = mx.broadcast_to(measure(logits - norms[..., None]), (B, R))
        observed.append(mx.take_along_axis(confidences, choice.parents, axis=1))
    return observed


def _note_no_speech(items: Sequence[Item], probabilities: mx.array) -> None:
    for item, probability in zip(items, cast(list[float], probabilities.tolist()), strict=True):
        item.no_speech_prob = probability


def _record(items: Sequence[Item], alive: Sequence[int], choice: Choice, seen: Sequence[mx.array]) -> None:
    """Read a step from the device and give each item its part."""
    parts = [array.tolist() for array in (choice.tokens, choice.parents, choice.totals, *seen)]
    for place, index in enumerate(alive):
        if not items[index].done:
            items[index].add(*(cast(list[list[float]], part)[place] for part in parts))
