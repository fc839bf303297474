"""Forced alignment with the auxiliary CTC model: a text and log-probabilities in, words and segments with times out.

Equal to NeMo's get_forced_aligned_timestamps_with_external_model, its quirks included. Knows nothing about audio;
`forced` makes of it what users want.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mlx_canary.alignment.spans import PUNCTUATION, Span, TokenSpan
from mlx_canary.alignment.states import SegmentPlan, TextPlan, WordPlan, plan_text
from mlx_canary.alignment.viterbi import viterbi
from mlx_canary.text.tokenizer import CanaryTokenizer


@dataclass(frozen=True, slots=True)
class CTCAlignment:
    """NeMo's answer; all empty where there is no text, or it has more tokens than there are frames.

    Attributes:
        words: With their punctuation.
        segments: Cut after `.`, `?` or `!` before a space.
        tokens: Punctuation tokens have the time of the end before them.
    """

    words: tuple[Span, ...]
    segments: tuple[Span, ...]
    tokens: tuple[TokenSpan, ...]


def align_ctc(
    text: str,
    log_probs: npt.NDArray[np.float32],
    tokenizer: CanaryTokenizer,
    frame_duration: float,
    whole: bool = False,
    language: str | None = None,
) -> CTCAlignment:
    """Find where a text was spoken, as NeMo does.

    Args:
        text: Any text; runs of spaces count as one.
        log_probs: (S, V + 1) float32 of the valid frames, the blank last.
        tokenizer: The CTC model's.
        frame_duration: Seconds of one frame.
        whole: Tokenise the text as one word, as NeMo does for chunks that it will merge; then words and segments are
            one each, and the tokens are what is wanted.
        language: Of the text; aggregate tokenizers need it.
    """
    plan = plan_text(text, tokenizer, log_probs.shape[1] - 1, len(log_probs), whole, language)
    return align_plan(plan, log_probs, tokenizer, frame_duration)


def align_plan(
    plan: TextPlan,
    log_probs: npt.NDArray[np.float32],
    tokenizer: CanaryTokenizer,
    frame_duration: float,
) -> CTCAlignment:
    """The same for a text whose states are known, which are columns of these log-probabilities."""
    clock = _Clock.read(viterbi(log_probs, plan.states), frame_duration)
    return _timed(plan, clock, tokenizer)


@dataclass(frozen=True, slots=True)
class _Clock:
    """When the path is in a state, in seconds; -1 for a state that it skips."""

    first: Mapping[int, int]
    last: Mapping[int, int]
    frame_duration: float

    @classmethod
    def read(cls, path: npt.NDArray[np.int32], frame_duration: float) -> _Clock:
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        for frame, state in enumerate(path.tolist()):
            first.setdefault(state, frame)
            last[state] = frame
        return cls(first, last, frame_duration)

    def start(self, state: int) -> float:
        return self.first[state] * self.frame_duration if state in self.first else -1

    def end(self, state: int) -> float:
        return (self.last[state] + 1) * self.frame_duration if state in self.last else -1

    def offset(self, seconds: float) -> int:
        """The frame of a time. It truncates, so that frame 29 becomes 28 (2.32 / 0.08 = 28.999...), as in NeMo."""
        return -1 if seconds == -1 else int(seconds / self.frame_duration)

    def span(self, text: str, start: float, end: float) -> Span:
        return Span(text, self.offset(start), self.offset(end), round(start, 2), round(end, 2))


def _timed(plan: TextPlan, clock: _Clock, tokenizer: CanaryTokenizer) -> CTCAlignment:
    words: list[Span] = []
    segments: list[Span] = []
    tokens: list[TokenSpan] = []
    for segment in plan.segments:
        segments.append(_segment(segment, clock))
        for word in segment.words:
            times = _token_times(word, clock)
            words.append(_word(word, times, clock))
            tokens += _tokens(word, times, clock, tokenizer)
    return CTCAlignment(tuple(words), tuple(segments), tuple(tokens))


def _token_times(word: WordPlan, clock: _Clock) -> list[tuple[float, float]]:
    """Start and end of each token. Punctuation is not spoken: it is put at the end of what stands before it."""
    times: list[tuple[float, float]] = []
    for token in word.tokens:
        start, end = clock.start(token.state), clock.end(token.state)
        if token.piece in PUNCTUATION:
            start = end = round(times[-1][1] if times else start, 2)
        times.append((start, end))
    return times


def _word(word: WordPlan, times: Sequence[tuple[float, float]], clock: _Clock) -> Span:
    span = clock.span(word.text, clock.start(word.first), clock.end(word.last))
    for token, (_, end) in zip(word.tokens, times, strict=True):
        if token.piece in PUNCTUATION and clock.end(token.state) == clock.end(word.last):
            span = replace(span, end=end, end_offset=clock.offset(end))
    return span


def _segment(segment: SegmentPlan, clock: _Clock) -> Span:
    segment_end = clock.end(segment.last)
    span = clock.span(segment.text, clock.start(segment.first), segment_end)
    for word in segment.words:
        if clock.end(word.last) != segment_end:
            continue
        # Any punctuation in the segment's last word moves its end, even in the middle ("U.S"): NeMo's quirk.
        for token, (_, end) in zip(word.tokens, _token_times(word, clock), strict=True):
            if token.piece in PUNCTUATION:
                span = replace(span, end=end, end_offset=clock.offset(end))
    return span


def _tokens(
    word: WordPlan, times: Sequence[tuple[float, float]], clock: _Clock, tokenizer: CanaryTokenizer
) -> list[TokenSpan]:
    spans = []
    for token, (start, end) in zip(word.tokens, times, strict=True):
        span = clock.span(tokenizer.decode([token.token_id]), start, end)
        spans.append(
            TokenSpan(span.text, token.token_id, token.piece, span.start_offset, span.end_offset, span.start, span.end)
        )
    return spans
