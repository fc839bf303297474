"""What can be chosen about decoding, as values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from mlx_canary.decoding.boosting import Phrase
from mlx_canary.decoding.confidence import ConfidenceMethod
from mlx_canary.errors import PromptError

LEAST_TEMPERATURE = 0.01
"""Words' scores divided by much less are infinite, and no word is drawn at all."""

_MOST_PENALTY = 10.0  # published ones are near 1; a text's length to the power of hundreds is no number any more


@dataclass(frozen=True, slots=True)
class Boosting:
    """Phrases to expect.

    Attributes:
        phrases: With their weights; `read_phrases` reads a file of them.
        alpha: Multiplies all that they add; NeMo's `boosting_tree_alpha`. Beams need less of it than greedy search: a
            long phrase collects a reward for each of its tokens, and from 0.7 on it can push out what was said.
        depth_scaling: Multiplies the weight for all but a phrase's first token.
        final_eos_score: What the end of the text gets on top after a whole phrase.
    """

    phrases: tuple[Phrase, ...]
    alpha: float = 0.3
    depth_scaling: float = 1.0
    final_eos_score: float = 1.0

    def __post_init__(self) -> None:
        if not self.phrases:
            raise PromptError("There are no phrases to boost.")
        if not isinstance(self.phrases, tuple) or not all(isinstance(phrase, Phrase) for phrase in self.phrases):
            raise PromptError("The phrases to boost are a tuple of Phrase, as read_phrases gives it.")
        for name in ("alpha", "depth_scaling", "final_eos_score"):
            _check_range(f"boosting {name}", getattr(self, name), 0)


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """An n-gram model over the checkpoint's token ids.

    Attributes:
        path: An ARPA file.
        alpha: Multiplies its log-probabilities; NeMo's `ngram_lm_alpha`.
    """

    path: Path
    alpha: float = 0.2

    def __post_init__(self) -> None:
        _check_range("language model alpha", self.alpha, 0)


@dataclass(frozen=True, slots=True)
class DecodingOptions:
    """How the text is searched for. The defaults are greedy search.

    Attributes:
        beam_size: 1 is greedy search.
        length_penalty: For beams: above zero prefers longer texts. NeMo reads it from `beam.length_penalty` and ignores
            the `len_pen` of the published configurations. From -10 to 10.
        n_best: How many texts of each window are wanted, the best first: up to `beam_size`; when sampling, how many are
            drawn.
        temperature: Above zero draws tokens at random; 0, or 0.01 and more.
        seed: For sampling; the same seed draws the same texts.
        boosting: Phrases to expect.
        language_model: An n-gram model.
        confidence: How to measure each token's confidence; None for not at all.
        loop_guard: Give up texts that repeat themselves; None for only where phrases are boosted.
        nemo_faults: Repeat the faults of NeMo's beam search (also of its beam of one).
    """

    beam_size: int = 1
    length_penalty: float = 0.0
    n_best: int = 1
    temperature: float = 0.0
    seed: int | None = None
    boosting: Boosting | None = None
    language_model: LanguageModel | None = None
    confidence: ConfidenceMethod | None = None
    loop_guard: bool | None = None
    nemo_faults: bool = False

    def __post_init__(self) -> None:
        for name in ("beam_size", "n_best"):
            value = getattr(self, name)
            _check_range(name, value, 1)
            if not isinstance(value, int):
                raise PromptError(f"{name}={value!r} is not a whole number.")
        _check_range("temperature", self.temperature, 0)
        if 0 < self.temperature < LEAST_TEMPERATURE:
            raise PromptError(
                f"temperature={self.temperature} is too low to draw words: give {LEAST_TEMPERATURE} or more, or 0."
            )
        _check_range("length_penalty", self.length_penalty, -_MOST_PENALTY, _MOST_PENALTY)
        for name, kind in _KINDS.items():
            value = getattr(self, name)
            if value is not None and not isinstance(value, kind):
                raise PromptError(f"{name} is a {type(value).__name__}; expected {kind.__name__} or None.")
        self._check_sampling() if self.temperature > 0 else self._check_search()

    @property
    def guards_loops(self) -> bool:
        """Whether texts that repeat themselves are given up."""
        return self.boosting is not None if self.loop_guard is None else self.loop_guard

    def _check_sampling(self) -> None:
        beams = ("beam_size", 1), ("length_penalty", 0.0), ("nemo_faults", False)
        for name, default in beams:
            if getattr(self, name) != default:
                raise PromptError(
                    f"{name}={getattr(self, name)} is for beam search, temperature for sampling: use one."
                )
        if self.seed is not None and not 0 <= self.seed < 1 << 32:
            raise PromptError(f"seed={self.seed} must be a number from 0 to {(1 << 32) - 1}.")

    def _check_search(self) -> None:
        if self.n_best > self.beam_size:
            raise PromptError(
                f"n_best={self.n_best} texts need as many beams: give a beam_size of {self.n_best} or more, "
                f"not {self.beam_size}."
            )
        if self.seed is not None:
            raise PromptError(f"seed={self.seed} is for sampling; give a temperature above 0 too.")
        if self.length_penalty and self.beam_size == 1:
            raise PromptError(f"length_penalty={self.length_penalty} is for beam search: give a beam_size above 1.")


def _check_range(name: str, value: float, least: float, most: float = math.inf) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PromptError(f"{name}={value!r:.100} is not a number.")
    if not least <= value <= most or value == math.inf:
        raise PromptError(f"{name}={value} must be a number from {least}{f' to {most}' if most < math.inf else ''}.")


_KINDS: dict[str, type] = {
    "seed": int,
    "boosting": Boosting,
    "language_model": LanguageModel,
    "confidence": ConfidenceMethod,
    "loop_guard": bool,
}
