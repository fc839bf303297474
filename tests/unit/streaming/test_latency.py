"""The benchmark's measures, on numbers that can be checked by hand."""

from __future__ import annotations

import importlib.util

import pytest
from conftest import ROOT


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("streaming_benchmark", ROOT / "benchmarks/streaming.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_words_that_come_as_they_are_spoken_lag_by_one_word(benchmark):
    """Four words in four seconds, each at its end: each is a second later than an ideal reader would have it."""
    assert benchmark.laal([1.0, 2.0, 3.0, 4.0], 4.0, 4) == pytest.approx(1.0)


def test_a_text_that_comes_at_the_end_lags_by_all_of_it(benchmark):
    """Only the first word after the end counts."""
    assert benchmark.laal([5.0, 5.0, 5.0, 5.0], 4.0, 4) == pytest.approx(4.0)


def test_too_many_words_do_not_make_it_faster(benchmark):
    """The lag is measured against the longer of text and reference."""
    assert benchmark.laal([1.0, 2.0, 3.0, 4.0], 4.0, 8) == pytest.approx(1.75)
    assert benchmark.laal([1.0, 1.0, 2.0, 2.0], 2.0, 2) == pytest.approx((1 + 0.5 + 1) / 3)


def test_word_errors(benchmark):
    assert benchmark.score("it is twenty", "It is two twenty.") == (1, 4)
    assert benchmark.score("it was two three", "It is two.") == (2, 3)
    assert benchmark.score("", "One.") == (1, 1)
