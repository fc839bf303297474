"""From a text to the CTC states that speak it: blank, token, blank, token, ..., blank.

Mirrors NeMo's get_utt_obj: every word is tokenised alone, and every word and segment remembers its first and last
state. Knows nothing about frames, except how many there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlx_canary.text.tokenizer import CanaryTokenizer

_SEPARATORS = ".?!"


@dataclass(frozen=True, slots=True)
class TokenPlan:
    """A token and the state that it is."""

    piece: str
    token_id: int
    state: int


@dataclass(frozen=True, slots=True)
class WordPlan:
    """A word, the states of its first and last token, and its tokens."""

    text: str
    first: int
    last: int
    tokens: tuple[TokenPlan, ...]


@dataclass(frozen=True, slots=True)
class SegmentPlan:
    """A segment, the states of its first and last token, and its words."""

    text: str
    first: int
    last: int
    words: tuple[WordPlan, ...]


@dataclass(frozen=True, slots=True, eq=False)
class TextPlan:
    """What is to be aligned.

    Attributes:
        states: (2 U + 1,) token ids with a blank before, between and after them.
        segments: Empty where there is nothing to align.
    """

    states: npt.NDArray[np.int64]
    segments: tuple[SegmentPlan, ...]


def plan_text(
    text: str,
    tokenizer: CanaryTokenizer,
    blank_id: int,
    n_frames: int | None = None,
    whole: bool = False,
    language: str | None = None,
) -> TextPlan:
    """The states of a text.

    Args:
        text: Any text; runs of spaces count as one.
        tokenizer: The CTC model's.
        blank_id: The state between tokens.
        n_frames: Where the text has more tokens than this, the plan is empty.
        whole: The text is one segment and one word.
        language: Of the text; aggregate tokenizers need it. (NeMo aligns with single ones only.)
    """
    text = " ".join(text.split())
    if not text or (n_frames is not None and len(tokenizer.encode(text, language)) > n_frames):
        return TextPlan(np.array([blank_id]), ())
    pieces = _Pieces(tokenizer, language)
    ids: list[int] = []
    segments: list[SegmentPlan] = []
    segment_first = 1
    for segment in [text] if whole else split_segments(text):
        words = []
        for word in [segment] if whole else segment.split(" "):
            spelled = pieces.of(word)
            first = 2 * len(ids) + 1
            tokens = tuple(TokenPlan(piece, i, first + 2 * k) for k, (piece, i) in enumerate(spelled))
            ids += [i for _, i in spelled]
            words.append(WordPlan(word, first, 2 * len(ids) - 1, tokens))
        # NeMo counts a segment's tokens in one piece, which may differ from the sum over its words.
        segment_last = segment_first + 2 * len(pieces.of(segment, strip=True)) - 2
        segments.append(SegmentPlan(segment, segment_first, segment_last, tuple(words)))
        segment_first = segment_last + 2
    states = np.full(2 * len(ids) + 1, blank_id)
    states[1::2] = ids
    return TextPlan(states, tuple(segments))


def split_segments(text: str) -> list[str]:
    """Parts of a text that end in a separator before a space ("a.m." alone is not an end)."""
    segments, begin = [], 0
    for i in range(len(text) - 1):
        if text[i] in _SEPARATORS and text[i + 1] == " ":
            segments.append(text[begin : i + 1].strip())
            begin = i + 2
    return [segment for segment in [*segments, text[begin:].strip()] if segment]


@dataclass(frozen=True, slots=True)
class _Pieces:
    """Tokenises words; where one holds the text of the unknown token, that becomes the unknown token."""

    tokenizer: CanaryTokenizer
    language: str | None

    def of(self, text: str, strip: bool = False) -> list[tuple[str, int]]:
        unknown_id = self.tokenizer.special_id("<unk>")
        unknown = (self.tokenizer.piece(unknown_id), unknown_id)
        spelled: list[tuple[str, int]] = []
        for n, part in enumerate(text.split(self.tokenizer.decode([unknown_id]).strip())):
            spelled += [unknown] if n else []
            part = part.strip() if strip else part
            ids = self.tokenizer.encode(part, self.language)
            spelled += zip(self.tokenizer.encode_pieces(part, self.language), ids, strict=True)
        return spelled
