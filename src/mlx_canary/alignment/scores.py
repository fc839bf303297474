"""What the search knew about a window's text, for each of its segments: a hypothesis in, segments with scores out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

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
    return sum(hypothesis.token_logprobs[u] for u in places) / len(places) if places else None
