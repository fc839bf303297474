"""Phrases that the user expects, made more likely.

Mirrors NeMo's boosting tree (ContextGraph and GPUBoostingTreeModel): a trie over token ids with failure links, after
Aho and Corasick. A token that continues a phrase is rewarded, and the reward is taken back when the phrase breaks off.
The search must not go on in silence for the sake of rewards: as in NeMo, the end of the text is always rewarded as much
as the best token, and more after a whole phrase; and a phrase that has just come twice earns nothing for a while.

Where phrases contain one another the tree differs from NeMo's, which then takes back what complete phrases earned (or
more) and depends on the order of the phrases.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import log
from pathlib import Path

import numpy as np

from mlx_canary.decoding.automaton import ROOT, Arc, BackoffAutomaton
from mlx_canary.decoding.fusion import Scores
from mlx_canary.errors import PromptError
from mlx_canary.text.tokenizer import CanaryTokenizer

_log = logging.getLogger(__name__)

_KEPT_ROWS = 256
# A phrase is rewarded so often within so many tokens after it.
_MAX_REWARDS = 2
_SPAN = 24

# The node, and which phrases ended how many tokens ago.
_State = tuple[int, tuple[tuple[int, int], ...]]


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase to expect.

    Attributes:
        text: As it is written.
        weight: The reward of each of its tokens; NeMo's `context_score`.
    """

    text: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.text.strip():
            raise PromptError(f"A phrase to boost is {self.text!r}; expected a text that is not empty.")
        if not isinstance(self.weight, int | float | np.number) or not 0 <= self.weight < float("inf"):
            raise PromptError(f"The weight of the phrase {self.text!r} is {self.weight!r}; it must be 0 or more.")


def read_phrases(path: str | Path) -> tuple[Phrase, ...]:
    """Read a file of phrases: one a line, and if wanted a tab and its weight.

    Raises:
        PromptError: The file cannot be read, or a weight is not a number.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"Cannot read the phrases in {path}: {error}.") from error
    return tuple(_phrase(line, f"{path}, line {n}") for n, line in enumerate(lines, 1) if line.strip())


def _phrase(line: str, where: str) -> Phrase:
    text, tab, weight = line.partition("\t")
    try:
        return Phrase(text.strip(), float(weight)) if tab else Phrase(text.strip())
    except ValueError as error:
        raise PromptError(
            f"{where}: {line!r} is not a phrase, or a phrase, a tab and a weight of 0 or more."
        ) from error


def case_variants(text: str, pnc: bool) -> list[str]:
    """The ways in which a phrase may be written.

    With punctuation and capitals a sentence may begin with it. Without, the checkpoint writes small letters only. Small
    letters are never added otherwise: they would boost common words for the sake of names (Mark, Apple).
    """
    if not pnc:
        return [text.lower()]
    return list(dict.fromkeys([text, text[:1].upper() + text[1:]]))


def encode_phrases(
    phrases: Sequence[Phrase], tokenizer: CanaryTokenizer, language: str, pnc: bool
) -> list[tuple[list[int], float]]:
    """Token ids and weight of each variant of each phrase that has a weight.

    Variants with characters that the tokenizer lacks are left out: they would make `<unk>` likely.

    Args:
        language: Of the text that is decoded; an aggregate tokenizer has other ids for each.
    """
    encoded = []
    for phrase in phrases:
        ids = [tokenizer.encode(variant, language) for variant in case_variants(phrase.text, pnc)]
        writable = [each for each in ids if all(tokenizer.piece(token) != "<unk>" for token in each)]
        if not writable:
            _log.warning("The model cannot write all characters of %r, so that it is not boosted.", phrase.text)
        encoded += [(each, phrase.weight) for each in writable if phrase.weight > 0]
    return encoded


@dataclass(slots=True)
class _Node:
    """A beginning of phrases."""

    token: int = -1
    reward: float = 0.0  # of the last token
    is_end: bool = False
    children: dict[int, _Node] = field(default_factory=dict)
    state: int = ROOT
    total: float = 0.0  # rewards from the root on
    at_stake: float = 0.0  # rewards since the last complete phrase
    fail: _Node | None = None  # the longest other beginning that these tokens end with


class BoostingTree:
    """The phrases as a scorer.

    Args:
        phrases: Token ids and weights.
        vocabulary_size: Tokens.
        eos_id: Ends a text.
        depth_scaling: Multiplies the weight for all but a phrase's first token.
        final_eos_score: What the end of the text gets on top after a whole phrase.
        nemo_faults: Repeat what NeMo does where phrases contain one another.
    """

    def __init__(
        self,
        phrases: Sequence[tuple[Sequence[int], float]],
        vocabulary_size: int,
        eos_id: int,
        depth_scaling: float = 1.0,
        final_eos_score: float = 1.0,
        nemo_faults: bool = False,
    ) -> None:
        nodes = _linked(_trie(phrases, depth_scaling))
        self._ends = {node.state: node for node in nodes if node.is_end}
        self._eos_id, self._final_eos_score = eos_id, final_eos_score
        self._span = 0 if nemo_faults else _SPAN
        self._automaton = BackoffAutomaton(
            np.zeros(vocabulary_size, np.float32),
            [Arc(node.state, c.token, c.reward, c.state) for node in nodes for c in node.children.values()],
            [ROOT if node.fail is None else node.fail.state for node in nodes],
            [_taken_back(node, nemo_faults) for node in nodes],
        )
        self._row = lru_cache(_KEPT_ROWS)(self._make_row)

    @property
    def rewards(self) -> bool:
        return True

    def start(self) -> _State:
        return ROOT, ()

    def scores(self, state: _State) -> Scores:
        node, recent = state
        row = self._row(node)
        for end in self._unrewarded(recent):
            token = self._ends[end].token
            if self._automaton.advance(node, token) == end:
                row = row.copy()
                row[token] -= self._ends[end].total
        return row

    def advance(self, state: _State, token: int) -> _State:
        node, recent = state
        if token == self._eos_id:
            return state
        node = self._automaton.advance(node, token)
        recent = tuple((end, age + 1) for end, age in recent if age < self._span)
        return node, ((*recent, (node, 0)) if self._span and node in self._ends else recent)

    @staticmethod
    def _unrewarded(recent: tuple[tuple[int, int], ...]) -> list[int]:
        """The ends of phrases that came too often lately."""
        ends = [end for end, _ in recent]
        return [end for end in dict.fromkeys(ends) if ends.count(end) >= _MAX_REWARDS]

    def _make_row(self, state: int) -> Scores:
        row = self._automaton.row(state)
        row[self._eos_id] = max(0.0, float(row.max())) + (self._final_eos_score if state in self._ends else 0.0)
        return row


def _trie(phrases: Sequence[tuple[Sequence[int], float]], depth_scaling: float) -> _Node:
    """The root of the tree of phrases; what several share gets the largest of their rewards."""
    root = _Node()
    for tokens, weight in phrases:
        node = root
        for depth, token in enumerate(tokens):
            reward = weight * depth_scaling + log(depth + 1) if depth else weight
            node = node.children.setdefault(token, _Node(token))
            node.reward = max(node.reward, reward)
        node.is_end = node is not root
    return root


def _linked(root: _Node) -> list[_Node]:
    """All nodes, parents first, with states, totals and failure links."""
    nodes, queue = [root], deque([root])
    while queue:
        parent = queue.popleft()
        for token, node in parent.children.items():
            node.state = len(nodes)
            node.total = parent.total + node.reward
            node.at_stake = 0.0 if node.is_end else parent.at_stake + node.reward
            node.fail = _failure(parent, token, root)
            nodes.append(node)
            queue.append(node)
    return nodes


def _failure(parent: _Node, token: int, root: _Node) -> _Node:
    node = parent.fail
    while node is not None and token not in node.children:
        node = node.fail
    return root if node is None else node.children[token]


def _taken_back(node: _Node, nemo_faults: bool) -> float:
    """What backing off from a node adds: the failure's rewards for those that were at stake."""
    if node.fail is None:
        return 0.0
    if nemo_faults:
        return 0.0 if node.is_end else node.fail.total - node.total
    return (node.fail.at_stake if node.is_end else node.fail.total) - node.at_stake
