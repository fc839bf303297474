"""N-gram language models over token ids, from ARPA files.

Mirrors NeMo's NGramGPULanguageModel: every token id is written as the character `chr(id + 100)`, scores are log10.

The file is read here and not by a package. `arpa` (last release 2018) splits at every Unicode space, and some ids are
written as such (U+2003 is id 8095); `kenlm` is compiled, and scores one token at a call, while a search needs
all tokens of the vocabulary at every step.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import log
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mlx_canary.decoding.automaton import ROOT, Arc, BackoffAutomaton
from mlx_canary.decoding.fusion import Scores
from mlx_canary.errors import PromptError

_OFFSET = 100
_BOS, _EOS, _UNK = -1, -2, -3
_SPECIAL = {"<s>": _BOS, "</s>": _EOS, "<unk>": _UNK, "<UNK>": _UNK}
_LN_10 = log(10)
_KEPT_ROWS = 64


class NGram(NamedTuple):
    """One line of an ARPA file, in natural logarithms; special words are negative.

    Without a back-off weight it is not the context of any longer one.
    """

    tokens: tuple[int, ...]
    score: float
    backoff: float | None


def read_arpa(path: str | Path) -> Iterator[NGram]:
    """The n-grams of an ARPA file, shorter ones first.

    Raises:
        PromptError: It cannot be read, is not an ARPA file, or is not over token ids.
    """
    order, n_read = 0, 0
    try:
        with Path(path).open(encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, 1):
                line = line.rstrip("\r\n")
                if line.startswith("\\") and line.endswith("-grams:"):
                    order = int(line[1:-7])
                elif line == "\\end\\":
                    break
                elif order and line.strip(" "):
                    n_read += 1
                    yield _ngram(line, order, f"{path}, line {number}")
    except PromptError:
        raise
    except (OSError, ValueError) as error:
        raise PromptError(f"Cannot read the language model {path}: {error}.") from error
    if not n_read:
        raise PromptError(f"{path} is not an ARPA file: it has no n-grams.")


def _ngram(line: str, order: int, where: str) -> NGram:
    # Split at spaces and tabs only: an id may be written as another kind of space.
    words = [word for word in line.replace("\t", " ").split(" ") if word]
    if len(words) not in (order + 1, order + 2):
        raise PromptError(f"{where}: expected a score, {order} token(s) and perhaps a back-off weight, found {line!r}.")
    backoff = float(words[-1]) * _LN_10 if len(words) == order + 2 else None
    return NGram(tuple([_token(word, where) for word in words[1 : order + 1]]), float(words[0]) * _LN_10, backoff)


def _token(word: str, where: str) -> int:
    if len(word) == 1 and ord(word) >= _OFFSET:
        return ord(word) - _OFFSET
    if word not in _SPECIAL:
        raise PromptError(
            f"{where}: {word!r} is not a token id written as one character, chr(id + {_OFFSET}). A model over words "
            "cannot be used; train one over the checkpoint's token ids, as NeMo's scripts do."
        )
    return _SPECIAL[word]


class NGramModel:
    """A back-off language model as a scorer.

    Args:
        path: An ARPA file over the checkpoint's token ids.
        vocabulary_size: Tokens of the checkpoint.
        eos_id: Ends a text; its score is that of the end of a sentence.

    Raises:
        PromptError: The file cannot be used.
    """

    def __init__(self, path: str | Path, vocabulary_size: int, eos_id: int) -> None:
        tables = _Tables(str(path), vocabulary_size)
        for ngram in read_arpa(path):
            tables.add(ngram)
        self._eos_id = eos_id
        self._ends = tables.ends
        self._start = tables.start()
        self._automaton = tables.automaton()
        self._row = lru_cache(_KEPT_ROWS)(self._make_row)

    @property
    def rewards(self) -> bool:
        return False

    def start(self) -> int:
        return self._start

    def scores(self, state: int) -> Scores:
        return self._row(state)

    def advance(self, state: int, token: int) -> int:
        return state if token == self._eos_id else self._automaton.advance(state, token)

    def _make_row(self, state: int) -> Scores:
        row = self._automaton.row(state)
        row[self._eos_id] = self._end_score(state)
        return row

    def _end_score(self, state: int) -> float:
        backoff = 0.0
        while state not in self._ends:
            state, added = self._automaton.back_off(state)
            backoff += added
        return backoff + self._ends[state]


class _Tables:
    """The automaton while the file is read: a state for each context that longer n-grams may continue."""

    def __init__(self, name: str, vocabulary_size: int) -> None:
        self.ends: dict[int, float] = {}
        self._name = name
        self._states: dict[tuple[int, ...], int] = {(): ROOT}
        self._backoff_to, self._backoff_scores = [ROOT], [0.0]
        self._arcs: list[Arc] = []
        self._root = np.full(vocabulary_size, np.nan, np.float32)
        self._unknown = -np.inf  # without a line for <unk>, tokens that are not in the file are impossible

    def add(self, ngram: NGram) -> None:
        *context, token = ngram.tokens
        if token >= len(self._root):
            raise PromptError(
                f"The language model {self._name} has token {token}, the checkpoint only {len(self._root)}: "
                "it was trained for another checkpoint."
            )
        source = self._states.get(tuple(context))
        if ngram.tokens == (_UNK,):
            self._unknown = ngram.score
        elif source is None or token == _UNK:
            pass  # its context was pruned, or is unknown
        elif token == _EOS:
            self.ends[source] = ngram.score
        else:
            self._add_token(source, token, ngram)

    def _add_token(self, source: int, token: int, ngram: NGram) -> None:
        target = self._longest_suffix(ngram.tokens)
        if ngram.backoff is not None or token == _BOS:
            self._backoff_to.append(target)
            self._backoff_scores.append(ngram.backoff or 0.0)
            target = self._states[ngram.tokens] = len(self._states)
        if token == _BOS:
            return
        self._arcs.append(Arc(source, token, ngram.score, target))
        if source == ROOT:
            self._root[token] = ngram.score

    def _longest_suffix(self, tokens: tuple[int, ...]) -> int:
        suffix = tokens[1:]
        while suffix not in self._states:
            suffix = suffix[1:]
        return self._states[suffix]

    def start(self) -> int:
        """The state at the beginning of a text."""
        start = self._states.get((_BOS,))
        if start is None or ROOT not in self.ends:
            raise PromptError(f"The language model {self._name} has no <s> or no </s>: it knows no whole texts.")
        return start

    def automaton(self) -> BackoffAutomaton:
        missing = np.isnan(self._root)
        # The unknown word's probability is shared by all tokens that the model lacks.
        root = np.where(missing, self._unknown - log(max(1, int(missing.sum()))), self._root)
        return BackoffAutomaton(root, self._arcs, self._backoff_to, self._backoff_scores)
