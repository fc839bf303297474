"""Lines of even length: the lengths of words in, the words of each line out. Knows nothing about time."""

from __future__ import annotations

from collections.abc import Sequence


def count_lines(lengths: Sequence[int], max_line_chars: int) -> int:
    """How many lines words of these lengths need."""
    n_lines, used = 0, max_line_chars
    for length in lengths:
        n_lines, used = add_word(n_lines, used, length, max_line_chars)
    return n_lines


def add_word(n_lines: int, used: int, length: int, max_line_chars: int) -> tuple[int, int]:
    """Lines, and characters used of the last one, after another word. Begin with (0, max_line_chars)."""
    if n_lines and used + 1 + length <= max_line_chars:
        return n_lines, used + 1 + length
    return n_lines + 1, length


def break_lines(lengths: Sequence[int], good_ends: Sequence[bool], max_line_chars: int) -> list[range]:
    """Share words among as few lines as they need, the lines as even as can be.

    Args:
        lengths: Of the words, in characters.
        good_ends: Whether a line ends well with this word, as after a comma.
        max_line_chars: Longest line; only a single longer word exceeds it.

    Returns:
        The indices of each line's words. Of equal choices the first line is the shorter one.
    """
    n_lines = count_lines(lengths, max_line_chars)
    bonus = (max_line_chars / 4) ** 2  # worth lines that differ by a third of their length
    best: list[dict[int, tuple[float, int]]] = [{0: (0.0, 0)}]  # per line: its end -> (cost, its start)
    for _ in range(n_lines):
        best.append(_next_line(best[-1], lengths, good_ends, max_line_chars, bonus))
    lines, end = [], len(lengths)
    for line in reversed(best[1:]):
        start = line[end][1]
        lines.append(range(start, end))
        end = start
    return lines[::-1]


def _next_line(
    previous: dict[int, tuple[float, int]],
    lengths: Sequence[int],
    good_ends: Sequence[bool],
    max_line_chars: int,
    bonus: float,
) -> dict[int, tuple[float, int]]:
    """The cheapest way to end one more line at each word: squares of lengths are least when lines are even."""
    found: dict[int, tuple[float, int]] = {}
    for start, (cost, _) in previous.items():
        used = -1
        for end in range(start + 1, len(lengths) + 1):
            used += 1 + lengths[end - 1]
            if used > max_line_chars and end > start + 1:
                break
            total = cost + used**2 - (bonus if good_ends[end - 1] else 0)
            if end not in found or total < found[end][0]:
                found[end] = (total, start)
    return found
