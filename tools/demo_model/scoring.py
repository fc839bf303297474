"""Texts against references: WER, CER, exact sentences, BLEU, chrF.

Texts are compared in lower case, without marks, hyphens as spaces; Spanish and
French also without accents where asked (many references lack them). Knows
nothing about models or sound.
"""

import re
import unicodedata
from dataclasses import dataclass, field

import sacrebleu


def plain(text: str, fold: bool = False) -> str:
    text = re.sub(r"[^\w\s']", " ", text.lower().replace("’", "'"))
    if fold:
        text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
    return re.sub(r"\s+", " ", text.replace("_", " ")).strip()


def edits(found: list[str] | str, wanted: list[str] | str) -> int:
    """Levenshtein distance between two sequences."""
    row = list(range(len(wanted) + 1))
    for i, a in enumerate(found, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(wanted, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]


@dataclass
class Score:
    """Running totals of one set of sentences."""

    fold: bool = False
    word_edits: int = 0
    words: int = 0
    char_edits: int = 0
    chars: int = 0
    exact: int = 0
    exact_as_written: int = 0
    n: int = 0
    found: list[str] = field(default_factory=list)
    wanted: list[str] = field(default_factory=list)

    def add(self, found: str, wanted: str) -> None:
        a, b = plain(found, self.fold), plain(wanted, self.fold)
        self.word_edits += edits(a.split(), b.split())
        self.words += len(b.split())
        self.char_edits += edits(a, b)
        self.chars += len(b)
        self.exact += a == b
        self.exact_as_written += found.strip() == wanted.strip()
        self.n += 1
        self.found.append(found)
        self.wanted.append(wanted)

    def summary(self, translation: bool) -> dict[str, float | int]:
        out: dict[str, float | int] = {
            "n": self.n,
            "wer": round(100 * self.word_edits / max(1, self.words), 1),
            "cer": round(100 * self.char_edits / max(1, self.chars), 1),
            "exact": round(100 * self.exact / max(1, self.n), 1),
            "exact_as_written": round(100 * self.exact_as_written / max(1, self.n), 1),
        }
        if translation:
            out["bleu"] = round(sacrebleu.corpus_bleu(self.found, [self.wanted]).score, 1)
            out["chrf"] = round(sacrebleu.corpus_chrf(self.found, [self.wanted]).score, 1)
        return out
