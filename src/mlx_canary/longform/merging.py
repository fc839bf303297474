"""How NeMo joins overlapping windows: the end of one text and the beginning of the next, by their common tokens.

Mirrors NeMo's lcs_alignment_merge_buffer, as a rule on token ids. Kept for reproducing NeMo: it may drop tokens after
the match and cannot see what the windows heard. Our own windows do not overlap.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

# A single common token is a coincidence, unless it ends the old text.
_SHORTEST_MATCH = 2

Table = npt.NDArray[np.int64]


def merge_windows(windows: Sequence[Sequence[int]], subsampling_factor: int) -> list[int]:
    """The tokens of windows that overlap by a second as one sequence."""
    # NeMo compares twice as many old tokens as the second has encoder frames with 60 % as many new ones.
    delay = int(1 / (subsampling_factor / 100))
    n_new = int(delay * 0.6)
    merged: list[int] = []
    for n, tokens in enumerate(windows):
        merged = merge(merged, tokens[:n_new], delay) + list(tokens[n_new:]) if n else list(tokens)
    return merged


def merge(old: Sequence[int], new: Sequence[int], delay: int, drop_old: bool = True) -> list[int]:
    """Append new tokens to old ones, the common part once.

    Args:
        old: Text so far.
        new: The beginning of the next text.
        delay: Half the number of old tokens to look at.
        drop_old: Whether old tokens after the common part go, as for windows decoded side by side; otherwise they
            stay and the new tokens follow them.
    """
    old, new = list(old), list(new)
    tail = old[-2 * delay :]
    start_old, start_new, length = find_overlap(tail, new)
    if length < 1:
        return old + new
    end_old = len(old) - len(tail) + start_old + length if drop_old else len(old)
    return old[:end_old] + new[start_new + length :]


def find_overlap(old: Sequence[int], new: Sequence[int]) -> tuple[int, int, int]:
    """Where the common part begins in both, and its length; (_, _, 0) for none."""
    table = common_suffixes(old, new)
    length = int(table.max(initial=0))
    # Of several longest matches the last one counts, in the order of the old text.
    ends = np.argwhere(table == length)
    end_old, end_new = (int(n) for n in ends[-1])
    if length and end_old == len(old):
        return end_old - length, end_new - length, length
    return _partial_overlap(table)


def common_suffixes(old: Sequence[int], new: Sequence[int]) -> Table:
    """Entry (i, j): how many tokens before place i of the old text and place j of the new one are the same."""
    table: Table = np.zeros((len(old) + 1, len(new) + 1), np.int64)
    for i, a in enumerate(old):
        for j, b in enumerate(new):
            if a == b:
                table[i + 1, j + 1] = table[i, j] + 1
    return table


def _partial_overlap(table: Table) -> tuple[int, int, int]:
    """A match that ends before the old text does: widened over places where one side has a token more."""
    end_old, end_new, length = _leftmost_match(table)
    if length < _SHORTEST_MATCH:
        return end_old, 0, 0
    return _trace_back(table, end_old, end_new + _widening(table, end_old, end_new))


def _leftmost_match(table: Table) -> tuple[int, int, int]:
    """From the end of the old text backwards, the longest match that does not begin later in the new text."""
    end_old, end_new, longest = len(table) - 1, -1, 0
    limit = table.shape[1] - 1
    for i in range(len(table) - 1, -1, -1):
        for j in range(table.shape[1]):
            if table[i, j] > longest and j <= limit:
                end_old, end_new, longest, limit = i, j, int(table[i, j]), j
    return end_old, end_new, longest


def _widening(table: Table, end_old: int, end_new: int) -> int:
    """How far the match goes on in the new text, allowing one more misplaced token with each old one."""
    widening, skipped = 0, 0
    for step, i in enumerate(range(end_old + 1, len(table))):
        first = end_new + 1 + step
        missed = 0
        for j in range(first, min(first + skipped, table.shape[1] - 1) + 1):
            if table[i, j] == 0:
                missed = 1
            else:
                widening = 1 + skipped + missed
        skipped += missed
    return widening


def _trace_back(table: Table, i: int, j: int) -> tuple[int, int, int]:
    """Along the diagonal to the beginning of the match; where nothing matches, one new token is skipped."""
    length = 0
    while i > 0 and j > 0:
        if table[i, j] == 0:
            j -= 1
            length += 1
        if j > 0:
            i, j, length = i - 1, j - 1, length + 1
    return max(0, i), max(0, j), length
