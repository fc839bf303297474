"""What the search knew about a window's text, for each of its segments and words: a hypothesis in, scores out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mlx_canary.alignment.attention import words_of_tokens
from mlx_canary.text.tokenizer import CanaryTokenizer
from mlx_canary.types import Hypothesis, Segment


def with_scores(segments: Sequence[Segment], hypothesis: Hypothesis, tokenizer: CanaryTokenizer) -> tuple[Segment, ...]:
    """The segments of one window with token ids, average log-probability and the probability that nobody speaks.

    That probability is the window's. Of several segments each gets its own words' tokens; where the model's words are
    not the segments', nobody knows which these are, and the average is the window's.

    Args:
        segments: One for the whole text, or several with words.
        hypothesis: The text's.
        tokenizer: The checkpoint's.
    """
    plain = text_places(hypothesis, tokenizer)
    average, no_speech_prob = avg_logprob(hypothesis, plain), hypothesis.no_speech_prob
    if len(segments) == 1:
        own = [plain]
    else:
        words, word_of = words_of_tokens(hypothesis.tokens, tokenizer)
        segment_of = [n for n, segment in enumerate(segments) for _ in segment.words]
        known = plain if len(segment_of) == len(words) else []
        own = [[u for u in known if segment_of[word_of[u]] == n] for n in range(len(segments))]
    return tuple(
        replace(
            segment,
            tokens=tuple(hypothesis.tokens[u] for u in places),
            avg_logprob=avg_logprob(hypothesis, places) if places else average,
            no_speech_prob=no_speech_prob,
        )
        for segment, places in zip(segments, own, strict=True)
    )


def text_places(hypothesis: Hypothesis, tokenizer: CanaryTokenizer) -> list[int]:
    """Where its tokens are of the text, not special ones."""
    return [u for u, token in enumerate(hypothesis.tokens) if token not in tokenizer.special_ids]


def avg_logprob(hypothesis: Hypothesis, places: Sequence[int]) -> float | None:
    """The mean of the log-probabilities of the tokens in these places; None where there are none."""
    return mean([hypothesis.token_logprobs[u] for u in places])


def word_confidences(hypothesis: Hypothesis, tokenizer: CanaryTokenizer) -> list[float]:
    """How sure the model is of each word: as sure as of the worst of its tokens; empty where nobody asked."""
    if hypothesis.token_confidences is None:
        return []
    words, word_of = words_of_tokens(hypothesis.tokens, tokenizer)
    values = np.array(hypothesis.token_confidences)
    return [float(values[word_of == w].min(initial=1.0)) for w in range(len(words))]


def mean(values: Sequence[float]) -> float | None:
    """None of nothing."""
    return sum(values) / len(values) if values else None
