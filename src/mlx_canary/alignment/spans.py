"""Texts with times as NeMo reports them, and NeMo's grouping of tokens to words and of words to segments.

These are the values that are compared with NeMo's recordings, quirks included; what users get is made from them in
`words`. Knows nothing about models, audio or how the times were found.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

PUNCTUATION = frozenset(",.!?")
SEGMENT_ENDS = (".", "?", "!", "...")
_LONE_SPACES = (" ", "_", "▁")


@dataclass(frozen=True, slots=True)
class Span:
    """A word or segment with its time.

    Attributes:
        text: The word or segment.
        start_offset: First encoder frame, -1 where unknown.
        end_offset: The frame after the last one, -1 where unknown.
        start: Seconds, -1 where unknown. NeMo does not keep it equal to the offset in every case.
        end: Seconds, -1 where unknown.
    """

    text: str
    start_offset: int
    end_offset: int
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class TokenSpan:
    """A token with its time.

    Attributes:
        text: The token's text when it is decoded alone.
        token_id: Its id.
        piece: As the tokenizer spells it, with its word-start mark; an unknown one in its own characters.
        start_offset: As for Span, and so are the others.
    """

    text: str
    token_id: int
    piece: str
    start_offset: int
    end_offset: int
    start: float
    end: float


def join_pieces(pieces: Sequence[str]) -> str:
    """The text of pieces, as a SentencePiece model that puts a space before every text decodes them."""
    return "".join(pieces).replace("▁", " ").lstrip(" ").replace("<unk>", " ⁇ ")


def group_words(tokens: Sequence[TokenSpan]) -> list[Span]:
    """Join tokens to words, as NeMo does after it has merged overlapping chunks.

    A token starts a word when its piece is not its own text (it has a word-start mark), or when it is a bare space that
    no punctuation follows. Punctuation never starts a word.
    """
    words: list[Span] = []
    open_pieces: list[str] = []
    first = 0
    for i, token in enumerate(tokens):
        punctuation = token.text in PUNCTUATION
        if not punctuation and _starts_word(tokens, i):
            if open_pieces:
                words.append(_word(join_pieces(open_pieces), tokens[first], tokens[i - 1]))
            open_pieces = [] if token.text == " " else [token.piece]
            first = i
        elif punctuation and not open_pieces and words:
            # NeMo moves the frame of the end, but not the seconds.
            text = words[-1].text.removesuffix(" ") + token.text
            words[-1] = replace(words[-1], text=text, end_offset=token.end_offset)
        else:
            if punctuation and open_pieces and open_pieces[-1] in _LONE_SPACES:
                open_pieces.pop()
            elif not open_pieces:
                first = i
            open_pieces.append(token.piece)
    if open_pieces:
        words.append(_word(join_pieces(open_pieces), tokens[first], tokens[-1]))
    if words:
        words[0] = replace(words[0], start_offset=tokens[0].start_offset, start=tokens[0].start)
    return words


def _starts_word(tokens: Sequence[TokenSpan], i: int) -> bool:
    token = tokens[i]
    if token.piece != token.text:
        return True
    following = next((later.text for later in tokens[i + 1 :] if later.text not in ("", " ")), None)
    return token.text == " " and following not in PUNCTUATION


def _word(text: str, first: TokenSpan, last: TokenSpan) -> Span:
    return Span(text, first.start_offset, last.end_offset, first.start, last.end)


def group_segments(
    words: Sequence[Span], delimiters: Collection[str] = SEGMENT_ENDS, gap_frames: int | None = None
) -> list[Span]:
    """Join words to segments, as NeMo does.

    Args:
        words: In order.
        delimiters: A segment ends with a word that is one of these, or whose last character is.
        gap_frames: Start a new segment after a gap of so many frames; NeMo then looks for delimiters only in the first
            word of a segment.
    """
    segments: list[Span] = []
    open_words: list[Span] = []
    for word in words:
        if gap_frames and open_words:
            if word.start_offset - open_words[-1].end_offset >= gap_frames:
                segments.append(_segment(open_words))
                open_words = []
        elif word.text and (word.text[-1] in delimiters or word.text in delimiters):
            segments.append(_segment([*open_words, word]))
            open_words = []
            continue
        open_words.append(word)
    return [*segments, _segment(open_words)] if open_words else segments


def _segment(words: Sequence[Span]) -> Span:
    first, last = words[0], words[-1]
    text = " ".join(word.text for word in words)
    return Span(text, first.start_offset, last.end_offset, first.start, last.end)
