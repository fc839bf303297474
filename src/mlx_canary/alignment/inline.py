"""Times that the model itself writes: `<|12|> word <|17|>`, in encoder frames of 80 ms.

`parse_inline` reads a text as NeMo does, which loses words whenever the tokens do not pair up; `inline_words` loses
none. Knows nothing about tokenizers: the text must be decoded with its special tokens.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlx_canary.alignment.spans import Span, group_segments
from mlx_canary.alignment.words import settle_stretches
from mlx_canary.types import Word

_PAIR = re.compile(r"<\|(\d+)\|>(.*?)<\|(\d+)\|>")
_TIME = re.compile(r"<\|(\d+)\|>")
_OTHER_SPECIAL = re.compile(r"<\|(?!\d+\|>)[^|<>]*\|>|<pad>|<unk>")


@dataclass(frozen=True, slots=True)
class InlineTimes:
    """NeMo's reading of a text with time tokens.

    Attributes:
        text: The words that have times; where there is not one pair of tokens, the whole text.
        words: Empty where there is no pair of tokens.
        segments: Words up to one that ends in `.`, `?` or `!`.
    """

    text: str
    words: tuple[Span, ...]
    segments: tuple[Span, ...]


def parse_inline(text: str, frame_duration: float) -> InlineTimes:
    """Read a text as NeMo does: from left to right, every two tokens enclose a word; the rest is dropped.

    Args:
        text: Decoded with its special tokens.
        frame_duration: Seconds of one frame.
    """
    text = text.strip()
    pairs = [(int(start), content.strip(), int(end)) for start, content, end in _PAIR.findall(text)]
    if not pairs:
        return InlineTimes(text, (), ())
    words = tuple(
        Span(content, start, end, start * frame_duration, end * frame_duration)
        for start, content, end in pairs
        if content
    )
    segments = tuple(group_segments(words, delimiters=(".", "?", "!")))
    return InlineTimes(" ".join(word.text for word in words), words, segments)


def inline_words(text: str, duration: float, frame_duration: float) -> tuple[Word, ...]:
    """Every word of a text with time tokens; other special tokens are left out.

    A stretch of text begins at the token before it and ends at the token after it, whether or not NeMo would pair the
    two. Where one is missing, or a stretch holds several words, or times go backwards, times are interpolated. A text
    without any time token is spread over the recording by its characters.

    Args:
        text: Decoded with its special tokens.
        duration: Length of the recording in seconds.
        frame_duration: Seconds of one frame.

    Returns:
        Words whose times rise and stay inside the recording.
    """
    parts = _TIME.split(_OTHER_SPECIAL.sub(" ", text))  # text, frame, text, frame, ..., text
    frames = [None, *(int(frame) * frame_duration for frame in parts[1::2]), None]
    return settle_stretches(list(zip(parts[::2], frames[:-1], frames[1:], strict=True)), duration)
