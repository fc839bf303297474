"""Scores of texts and times: what was said and what was heard in, numbers out.

Words and characters are compared by jiwer, translations by sacrebleu, both as published results are. Whisper's
normalisers come from the package whisper-normalizer. Knows nothing about models, manifests or files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np

from mlx_canary.evaluate.packages import require
from mlx_canary.types import Word


@dataclass(frozen=True, slots=True)
class Edits:
    """What has to be changed in a text to get its reference. Edits of several texts can be added.

    Attributes:
        substitutions, deletions, insertions: In words or characters.
        n_reference: Words or characters of the reference.
    """

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    n_reference: int = 0

    @property
    def errors(self) -> int:
        """All three."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float | None:
        """WER or CER as a fraction; may exceed 1. None where the reference is empty."""
        return self.errors / self.n_reference if self.n_reference else None

    def __add__(self, other: Edits) -> Edits:
        return Edits(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.n_reference + other.n_reference,
        )


@dataclass(frozen=True, slots=True)
class TranslationScores:
    """Scores of a set of translations, from 0 to 100.

    Attributes:
        bleu, chrf: sacrebleu's corpus scores with one reference each.
        bleu_signature, chrf_signature: How they were computed, in sacrebleu's words.
    """

    bleu: float
    chrf: float
    bleu_signature: str
    chrf_signature: str


@dataclass(frozen=True, slots=True)
class TimeErrors:
    """How far the times of correctly heard words are from the reference, in seconds.

    Attributes:
        starts, ends: Absolute differences, one for each such word.
        n_reference: Words of the reference, those not heard included.
    """

    starts: tuple[float, ...] = ()
    ends: tuple[float, ...] = ()
    n_reference: int = 0

    def __add__(self, other: TimeErrors) -> TimeErrors:
        return TimeErrors(self.starts + other.starts, self.ends + other.ends, self.n_reference + other.n_reference)


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle and the upper end of some values; None of nothing."""

    median: float | None
    percentile_90: float | None


# Every file is scored alone and in its group, so each comparison is asked for several times.
_remembered = lru_cache(maxsize=1 << 16)


@_remembered
def normalise(text: str, language: str) -> str:
    """A text as Whisper's authors compare it: English with numbers, spellings and contractions made alike, others
    without capitals and punctuation."""
    return " ".join(_normaliser("english" if language == "en" else "basic")(text).split())


@_remembered
def word_edits(reference: str, hypothesis: str) -> Edits:
    """Words are what stands between spaces, line ends and the like."""
    return _edits(require("jiwer").process_words([_spaced(reference)], [_spaced(hypothesis)]))


@_remembered
def character_edits(reference: str, hypothesis: str) -> Edits:
    """Spaces count as characters, several as one."""
    return _edits(require("jiwer").process_characters([_spaced(reference)], [_spaced(hypothesis)]))


def translation_scores(references: Sequence[str], hypotheses: Sequence[str]) -> TranslationScores:
    """BLEU and chrF of a set of translations into one language."""
    metrics = require("sacrebleu").metrics
    bleu, chrf = metrics.BLEU(), metrics.CHRF()
    return TranslationScores(
        bleu=float(bleu.corpus_score(list(hypotheses), [list(references)]).score),
        chrf=float(chrf.corpus_score(list(hypotheses), [list(references)]).score),
        bleu_signature=str(bleu.get_signature()),
        chrf_signature=str(chrf.get_signature()),
    )


def time_errors(reference: Sequence[Word], hypothesis: Sequence[Word]) -> TimeErrors:
    """Compare the times of the words that both have, capitals and punctuation aside, in the alignment of the texts."""
    if not reference or not hypothesis:
        return TimeErrors(n_reference=len(reference))
    pairs = list(_same_words([_bare(word) for word in reference], [_bare(word) for word in hypothesis]))
    return TimeErrors(
        tuple(abs(reference[r].start - hypothesis[h].start) for r, h in pairs),
        tuple(abs(reference[r].end - hypothesis[h].end) for r, h in pairs),
        len(reference),
    )


def spread(values: Sequence[float]) -> Spread:
    """Median and 90th percentile, interpolated."""
    if not values:
        return Spread(None, None)
    median, upper = np.percentile(values, [50, 90])
    return Spread(float(median), float(upper))


def _same_words(reference: list[str], hypothesis: list[str]) -> Iterable[tuple[int, int]]:
    """Places of the words that an alignment finds in both texts."""
    (chunks,) = require("jiwer").process_words([" ".join(reference)], [" ".join(hypothesis)]).alignments
    for chunk in chunks:
        if chunk.type == "equal":
            yield from zip(
                range(chunk.ref_start_idx, chunk.ref_end_idx),
                range(chunk.hyp_start_idx, chunk.hyp_end_idx),
                strict=True,
            )


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _bare(word: Word) -> str:
    """One word without spaces, whatever it holds, so that places in the text are places in the list."""
    return "".join(normalise(word.text, "").split()) or "-"


@cache
def _normaliser(kind: str) -> Any:
    module = require(f"whisper_normalizer.{kind}")
    return module.EnglishTextNormalizer() if kind == "english" else module.BasicTextNormalizer()


def _edits(output: Any) -> Edits:
    n_reference = output.hits + output.substitutions + output.deletions
    return Edits(output.substitutions, output.deletions, output.insertions, n_reference)
