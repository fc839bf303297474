"""The best path is the best path, and it costs little."""

import itertools
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_canary.alignment import viterbi as module
from mlx_canary.alignment.viterbi import frames_needed, viterbi
from mlx_canary.errors import AlignmentError

BLANK = 3


def with_blanks(tokens):
    states = np.full(2 * len(tokens) + 1, BLANK)
    states[1::2] = tokens
    return states


def allowed(path, states):
    """By the rules of CTC, stated anew: no token is skipped, equal neighbours have a blank between."""
    if path[0] > 1 or path[-1] < len(states) - 2:
        return False
    for before, after in itertools.pairwise(path):
        if after - before not in (0, 1, 2):
            return False
        if after - before == 2 and states[after] == states[before]:
            return False
    return True


def total(path, states, log_probs):
    return sum(float(log_probs[t, states[u]]) for t, u in enumerate(path))


@given(st.lists(st.integers(0, 2), max_size=3), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_no_path_is_better(tokens, n_frames, seed):
    """Against every path there is, on tiny cases; whole numbers, so that sums are exact and ties are many."""
    states = with_blanks(tokens)
    log_probs = -np.random.default_rng(seed).integers(0, 4, (n_frames, BLANK + 1)).astype(np.float32)
    paths = [p for p in itertools.product(range(len(states)), repeat=n_frames) if allowed(p, states)]
    assert bool(paths) == (frames_needed(states) <= n_frames)
    if paths:
        found = viterbi(log_probs, states).tolist()
        assert allowed(found, states)
        assert total(found, states, log_probs) == max(total(p, states, log_probs) for p in paths)


def test_among_equals_it_stays():
    """With nothing to choose by, every state lasts as long as it can from the end of the recording backwards."""
    assert viterbi(np.zeros((5, 4), np.float32), with_blanks([0, 1])).tolist() == [1, 3, 3, 3, 3]


def test_impossible_paths_end_without_complaint():
    assert len(viterbi(np.zeros((2, 4), np.float32), with_blanks([0, 1, 2]))) == 2


def test_a_window_takes_milliseconds_and_little_memory():
    """400 frames x 601 states. The bounds are several times what it takes."""
    rng = np.random.default_rng(0)
    log_probs = rng.normal(size=(400, 1000)).astype(np.float32)
    states = np.full(601, 999)
    states[1::2] = rng.integers(0, 999, 300)
    tracemalloc.start()
    began = time.perf_counter()
    viterbi(log_probs, states)
    assert time.perf_counter() - began < 1
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_too_much_for_memory_is_refused_in_words(monkeypatch):
    monkeypatch.setattr(module, "MAX_CELLS", 10)
    with pytest.raises(AlignmentError, match="2 tokens on 5 frames or more are too many to align in one piece"):
        viterbi(np.zeros((5, 4), np.float32), with_blanks([0, 1]))
