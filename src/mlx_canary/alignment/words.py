"""What users get: words whose times rise and stay inside the recording, and sentences made of them.

In come words and what some method said about where they begin and end, possibly nothing and possibly nonsense; out go
Words and Segments. Knows nothing about the methods.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence

from mlx_canary.alignment.spans import Span
from mlx_canary.types import Segment, Word

# Where a word has no known neighbour on one side: about 14 characters a second, the pace of ordinary speech.
SECONDS_PER_CHARACTER = 0.07
_SENTENCE_END = re.compile(r"[.?!…。？！][\"'”’»)\]]*$")


def settle_times(
    texts: Sequence[str], starts: Sequence[float | None], ends: Sequence[float | None], duration: float
) -> tuple[Word, ...]:
    """Words with times that rise, 0 <= start <= end <= the next start <= duration, changing as few as possible.

    The longest sequence of given times that already rises is kept; the others, and those that are not known (None or
    negative), are interpolated by the number of characters. Times that rise inside the recording come back unchanged.

    Args:
        texts: The words.
        starts: Seconds for each word, or None.
        ends: Seconds for each word, or None.
        duration: Length of the recording in seconds.
    """
    given: list[float | None] = []
    places: list[int] = []  # the boundary's distance from the beginning of the text, in characters
    for text, start, end in zip(texts, starts, ends, strict=True):
        place = places[-1] if places else 0
        places += [place, place + len(text)]
        given += [start, end]
    clipped = [None if t is None or not t >= 0 else min(float(t), duration) for t in given]
    times = _interpolate(clipped, places, longest_rise(clipped), duration)
    return tuple(Word(text, times[2 * i], times[2 * i + 1]) for i, text in enumerate(texts))


def longest_rise(values: Sequence[float | None]) -> list[int]:
    """Indices of the longest subsequence that never falls."""
    tails: list[float] = []  # the smallest last value of a rising sequence of length 1, 2, ...
    tail_at: list[int] = []
    before: list[int] = [-1] * len(values)
    for i, value in enumerate(values):
        if value is None:
            continue
        n = bisect_right(tails, value)
        before[i] = tail_at[n - 1] if n else -1
        tails[n : n + 1] = [value]
        tail_at[n : n + 1] = [i]
    kept: list[int] = []
    i = tail_at[-1] if tail_at else -1
    while i >= 0:
        kept.append(i)
        i = before[i]
    return kept[::-1]


def _interpolate(
    times: Sequence[float | None], places: Sequence[int], kept: Sequence[int], duration: float
) -> list[float]:
    """A time for every boundary, from those in `kept`."""
    anchors = [(i, float(times[i] or 0.0)) for i in kept]
    if not anchors:
        length = max([1, *places])
        # The product may round to just past the end.
        return [min(duration, duration * place / length) for place in places]
    settled: list[float] = []
    first, last = anchors[0], anchors[-1]
    following = iter(anchors)
    left, right = first, next(following)
    for i, place in enumerate(places):
        if i > right[0]:
            left, right = right, next(following, right)
        if i <= first[0]:
            settled.append(max(0.0, first[1] - SECONDS_PER_CHARACTER * (places[first[0]] - place)))
        elif i >= last[0]:
            settled.append(min(duration, last[1] + SECONDS_PER_CHARACTER * (place - places[last[0]])))
        elif i == right[0]:
            settled.append(right[1])
        else:
            share = (place - places[left[0]]) / max(1, places[right[0]] - places[left[0]])
            settled.append(min(right[1], left[1] + share * (right[1] - left[1])))
    return settled


def settle_stretches(stretches: Sequence[tuple[str, float | None, float | None]], duration: float) -> tuple[Word, ...]:
    """Words of stretches of text with their starts and ends; the words inside a stretch share its time by length."""
    texts: list[str] = []
    starts: list[float | None] = []
    ends: list[float | None] = []
    for text, start, end in stretches:
        if words := text.split():
            unknown: list[float | None] = [None] * (len(words) - 1)
            texts += words
            starts += [start, *unknown]
            ends += [*unknown, end]
    return settle_times(texts, starts, ends, duration)


def spans_to_words(spans: Sequence[Span], duration: float) -> tuple[Word, ...]:
    """NeMo's words as ours; spaces inside one (NeMo allows them) part it."""
    return settle_stretches([(span.text, span.start, span.end) for span in spans], duration)


def sentences(words: Sequence[Word], max_pause: float | None = None) -> tuple[Segment, ...]:
    """Segments, one for each sentence: text is the joined words, times are those of the first and last.

    A sentence ends with a word that ends in `.`, `?`, `!` or their like, unless a word in small letters follows ("a.m.
    is", "z. B. das").

    Args:
        words: In order.
        max_pause: Also start a new segment after a pause longer than so many seconds.
    """
    segments: list[Segment] = []
    current: list[Word] = []
    for i, word in enumerate(words):
        current.append(word)
        following = words[i + 1] if i + 1 < len(words) else None
        if following is None or _parts(word, following, max_pause):
            text = " ".join(w.text for w in current)
            segments.append(Segment(text, current[0].start, current[-1].end, tuple(current)))
            current = []
    return tuple(segments)


def _parts(word: Word, following: Word, max_pause: float | None) -> bool:
    if max_pause is not None and following.start - word.end > max_pause:
        return True
    return bool(_SENTENCE_END.search(word.text)) and not following.text[:1].islower()
