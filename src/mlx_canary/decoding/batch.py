"""The loop that all ways of decoding share: ask the network, choose the next tokens, keep what was chosen.

How tokens are chosen is the chooser's business (`greedy`, `beam`, `sampling`); what phrases and language models add
comes from `fusion`. Prompts of different lengths are padded in front and masked; each item has its own limit and its
own end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """An item that is to be decoded.

    Attributes:
        states: From the encoder, (S, W), all of them valid.
        prompt: Token ids, not empty.
        limit: How many tokens it may have at most, its end included only if it comes within them; with its prompt they
            must fit the position table.
        fusion: What is added to its scores.
    """

    states: mx.array
    prompt: Sequence[int]
    limit: int
    fusion: Fusion | None = None


class Batch:
    """Items that are decoded together. `_places` says which of them stands where in the arrays; done ones may stay."""

    def __init__(
        self,
        network: CanaryNetwork,
        symbols: Symbols,
        chooser: Chooser,
        measure: Measure | None,
        loop_guard: bool,
        taken: Sequence[tuple[int, Entry]],
    ) -> None:
        self._network, self._symbols, self._chooser = network, symbols, chooser
        self._measure, self._loop_guard = measure, loop_guard
        self._closing = chooser.closing(symbols)
        self._done: list[tuple[int, Item]] = []  # and not collected yet
        self._no_speech: list[tuple[list[Item], mx.array]] = []  # not read from the device yet
        self._n_going = 0
        # Whether anything may be added to scores. To a single row the loop guard adds nothing: its item is done.
        self._adds = loop_guard and chooser.n_rows > 1
        self._places, self._cache, self._logits, self._rows = self._begin(taken)
        # A device works while the host reads: a step is issued before the last one's tokens are read.
        self.ahead = not numpy_is_faster(self._logits)

    @property
    def n_going(self) -> int:
        """Items that are not done yet."""
        return self._n_going

    @property
    def n_free(self) -> int:
        return len(self._places) - self.n_going

    @property
    def length(self) -> int:
        """Tokens of a row so far, its prompt and padding included."""
        return self._cache.length

    def collect(self) -> list[tuple[int, Item]]:
        """What is done since the last time."""
        done, self._done = self._done, []
        return done

    def advance(self, may_shrink: bool) -> None:
        """One token for each row."""
        logits = self._logits.astype(mx.float32)
        norms = mx.logsumexp(logits, axis=-1)  # over the padding of the head too, as in NeMo
        choosable, eos_id = logits[..., : self._symbols.size], self._symbols.eos_id
        if self._adds:
            choosable = _with_bonus(choosable, [item for _, item in self._places])
        choice = self._chooser.choose(choosable, norms, self._rows, eos_id)
        report = _report(choice, _observed(logits, norms, choice, self._measure))
        if self._chooser.follows:
            self._rows = _follow(self._rows, choice, self._closing, self._chooser.ends_first)
        else:  # what is never asked for would never be computed, and keep all that it is made of
            self._rows = replace(self._rows, totals=choice.totals, n_steps=self._rows.n_steps + 1)
        if self._chooser.n_rows > 1:
            self._cache.branch(choice.parents)
        if self.ahead:
            self._logits = self._network.step(choice.tokens, self._cache)
            mx.async_eval(report, self._logits)
        self._record(report)
        tokens = choice.tokens
        if may_shrink and 0 < self.n_going <= len(self._places) // 2:
            tokens = self._shrink(tokens)
        if self.n_going and not self.ahead:
            self._logits = self._network.step(tokens, self._cache)

    def admit(self, taken: Sequence[tuple[int, Entry]]) -> None:
        """Give places of finished items to others, whose prompts are not longer than this batch's `length`."""
        if not taken:
            return
        free = [place for place, (_, item) in enumerate(self._places) if item.done][: len(taken)]
        places, cache, logits, rows = self._begin(taken)
        self._cache.replace(free, cache)
        index = mx.array(free)
        self._logits[index] = logits
        self._rows = self._rows.replace(index, rows)
        mx.async_eval(self._rows.ended, self._rows.lengths)  # as above
        for place, new in zip(free, places, strict=True):
            self._places[place] = new

    def _begin(self, taken: Sequence[tuple[int, Entry]]) -> tuple[list[tuple[int, Item]], DecoderCache, mx.array, Rows]:
        """Items with their numbers, the decoder's state and logits (B, 1, V) after their prompts, and their rows."""
        entries = [entry for _, entry in taken]
        items = [
            Item(entry.limit, len(entry.prompt), self._chooser, self._closing, entry.fusion, self._loop_guard)
            for entry in entries
        ]
        self._adds = self._adds or any(entry.fusion is not None for entry in entries)
        cache, logits = _read_prompts(self._network, entries)
        no_speech_id = self._symbols.no_speech_id
        if no_speech_id is not None:
            first = logits[:, 0].astype(mx.float32)
            self._no_speech.append((items, mx.exp(first[:, no_speech_id] - mx.logsumexp(first, axis=-1))))
        places = [(number, item) for (number, _), item in zip(taken, items, strict=True)]
        done = [place for place in places if place[1].done]  # there was no room for a text
        self._done += done
        self._n_going += len(places) - len(done)
        return places, cache, logits, _first_rows(entries)

    def _record(self, report: mx.array) -> None:
        """Read a step from the device and give each item its part."""
        parts = cast(list[list[list[float]]], report.tolist())
        for (number, item), part in zip(self._places, parts, strict=True):
            if not item.done:
                item.add(*part)
                if item.done:
                    self._done.append((number, item))
                    self._n_going -= 1
        for items, probabilities in self._no_speech:
            for item, probability in zip(items, cast(list[float], probabilities.tolist()), strict=True):
                item.no_speech_prob = probability
        self._no_speech = []

    def _shrink(self, tokens: mx.array) -> mx.array:
        """Keep the rows that go on, of the tokens too."""
        going = [place for place, (_, item) in enumerate(self._places) if not item.done]
        kept = mx.array(going)
        self._cache.select(going)
        self._logits, self._rows = self._logits[kept], self._rows.select(kept)
        self._places = [self._places[place] for place in going]
        return tokens[kept]


def _read_prompts(network: CanaryNetwork, entries: Sequence[Entry]) -> tuple[DecoderCache, mx.array]:
    """The decoder's state and logits (B, 1, V) after the prompts, padded in front to one length."""
    lengths = tuple(len(entry.states) for entry in entries)
    longest_states = max(lengths)
    states = [
        e.states if n == longest_states else mx.pad(e.states, [(0, longest_states - n), (0, 0)])
        for e, n in zip(entries, lengths, strict=True)
    ]
    longest = max(len(entry.prompt) for entry in entries)
    n_pad = [longest - len(entry.prompt) for entry in entries]
    ids = mx.array([[0] * n + list(entry.prompt) for n, entry in zip(n_pad, entries, strict=True)])
    cache = network.start(EncoderOutput(mx.stack(states), lengths), n_pad)
    return cache, network.step(ids, cache)[:, -1:]


def _first_rows(entries: Sequence[Entry]) -> Rows:
    B = len(entries)
    lengths = mx.array([[float(len(entry.prompt))] for entry in entries])
    return Rows(mx.zeros((B, 1)), mx.zeros((B, 1), mx.bool_), lengths, 0)


def _with_bonus(logits: mx.array, items: Sequence[Item]) -> mx.array:
    """Logits (B, R, V) with what fusion and guard add."""
    R, V = logits.shape[1:]
    added = [item.bonus(V) for item in items]
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


def _report(choice: Choice, observed: Sequence[mx.array]) -> mx.array:
    """What `Item.add` takes, (B, N, R), in one array: to ask a device for a small one takes as long as a few layers.

    Tokens and rows are counted in float32, which holds all whole numbers below sixteen million.
    """
    return mx.stack([part.astype(mx.float32) for part in (choice.tokens, choice.parents, choice.totals, *observed)], 1)


def _observed(logits: mx.array, norms: mx.array, choice: Choice, measure: Measure | None) -> list[mx.array]:
    """The chosen tokens' log-probabilities and, if wanted, confidences, (B, R) each."""
    B, R, V = logits.shape
    chosen = mx.take_along_axis(logits.reshape(B, R * V), choice.parents * V + choice.tokens, axis=1)
    observed = [chosen - mx.take_along_axis(norms, choice.parents, axis=1)]
    if measure is not None:
        confidences = mx.broadcast_to(measure(logits - norms[..., None]), (B, R))
        observed.append(mx.take_along_axis(confidences, choice.parents, axis=1))
    return observed
