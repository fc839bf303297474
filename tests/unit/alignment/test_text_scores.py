"""What the search knew, shared out among the sentences of a window."""

from __future__ import annotations

import pytest
from conftest import loaded

from mlx_canary.alignment.scores import with_scores
from mlx_canary.alignment.words import sentences
from mlx_canary.types import Hypothesis, Word

TOKENIZER = loaded("canary1-agg-gz").tokenizer
COLD, WET = TOKENIZER.encode("It was cold.", "en"), TOKENIZER.encode("It was wet.", "en")
SPECIAL = TOKENIZER.special_id("<|en|>")


def segments(text: str):
    return sentences([Word(word, float(n), n + 0.5) for n, word in enumerate(text.split())])


def found(tokens, logprobs) -> Hypothesis:
    return Hypothesis(tuple(tokens), tuple(logprobs), True, 0.0, no_speech_prob=0.25)


BOTH = found([SPECIAL, *COLD, SPECIAL, *WET], [-9.0, *[-0.5] * len(COLD), -9.0, *[-2.0] * len(WET)])


def test_each_sentence_has_its_own_tokens():
    """Special tokens are nobody's, and count for nothing."""
    cold, wet = with_scores(segments("It was cold. It was wet."), BOTH, TOKENIZER)
    assert (cold.tokens, cold.avg_logprob, cold.no_speech_prob) == (tuple(COLD), -0.5, 0.25)
    assert (wet.tokens, wet.avg_logprob, wet.no_speech_prob) == (tuple(WET), -2.0, 0.25)


def test_other_words_than_the_models():
    """Which tokens are whose is not known then, but what the window's average is."""
    cold, wet = with_scores(segments("It wasn't that cold. It was wet."), BOTH, TOKENIZER)
    average = (-0.5 * len(COLD) - 2.0 * len(WET)) / (len(COLD) + len(WET))
    assert (cold.tokens, wet.tokens) == ((), ())
    assert cold.avg_logprob == wet.avg_logprob == pytest.approx(average)


def test_one_sentence_has_all():
    (both,) = with_scores(segments("It was cold and wet"), BOTH, TOKENIZER)
    assert both.tokens == (*COLD, *WET)


def test_no_text_has_no_average():
    (nothing,) = with_scores(segments("Hm"), found([SPECIAL], [-0.1]), TOKENIZER)
    assert (nothing.tokens, nothing.avg_logprob, nothing.no_speech_prob) == ((), None, 0.25)
