"""Words laid over frames: evidence, pauses and expected lengths in, the first frame and the end of each word out.

Dynamic programming over the words in order. A word lasts some frames and may be followed by a pause; its length has a
log-normal prior around what its characters let expect. The prior is what keeps weak evidence from giving a word no time
or a whole sentence's. Knows nothing about where the evidence comes from.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64s = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

_EVIDENCE = 0.5  # weight; neighbouring frames repeat each other
_SPREAD = 0.5  # deviation of the logarithm of a word's length
_PAUSE = 2.0  # what it costs to open a pause
_LONGEST = 50  # frames of a word
_NEVER = -1e12


def lay_words(evidence: Float64s, pauses: Float64s, expected: Float64s) -> tuple[Int64s, Int64s]:
    """The most likely frames of every word.

    Time is words x frames x 50, memory words x frames.

    Args:
        evidence: (W, S) log-probability of each word, given that a frame is one of them; W <= S.
        pauses: (S,) log-odds that a frame is a pause.
        expected: (W,) length of each word in frames.

    Returns:
        First frames and ends (the frame after the last), (W,) each; at least one frame for each word.
    """
    S = len(pauses)
    speech = -np.logaddexp(0, pauses)
    pause = _sums(_EVIDENCE * evidence.mean(axis=0) - np.logaddexp(0, -pauses))
    lengths = np.arange(1, min(_LONGEST, S) + 1)
    begins = np.arange(S + 1)[:, None] - lengths  # (S + 1, lengths): where a word that ends there began
    best = np.where(np.arange(S + 1) > 0, pause - _PAUSE, 0.0)  # of all that comes before a frame
    came: list[tuple[Int64s, Int64s]] = []
    for row, length in zip(evidence, expected, strict=True):
        word = _sums(_EVIDENCE * row + speech)
        prior = -0.5 * (np.log(lengths / length) / _SPREAD) ** 2
        ways = np.where(begins >= 0, (best - word)[begins.clip(0)], _NEVER) + prior
        choice = ways.argmax(axis=1)
        ended = ways[np.arange(S + 1), choice] + word
        best, ends = _with_pause(ended, pause)
        came.append((lengths[choice], ends))
    return _trace(came, S)


def _with_pause(ended: Float64s, pause: Float64s) -> tuple[Float64s, Int64s]:
    """The best score before each frame when a pause may follow the word, and where the word then ended."""
    score = ended - pause
    highest = np.maximum.accumulate(score)
    where = np.maximum.accumulate(np.where(score >= highest, np.arange(len(score)), 0))
    paused = np.concatenate([[_NEVER], highest[:-1] + pause[1:] - _PAUSE])
    use = paused > ended
    return np.where(use, paused, ended), np.where(use, np.concatenate([[0], where[:-1]]), np.arange(len(ended)))


def _trace(came: list[tuple[Int64s, Int64s]], frame: int) -> tuple[Int64s, Int64s]:
    firsts, ends = np.zeros(len(came), np.int64), np.zeros(len(came), np.int64)
    for w in range(len(came) - 1, -1, -1):
        lengths, ended = came[w]
        ends[w] = ended[frame]
        firsts[w] = frame = int(ends[w] - lengths[ends[w]])
    return firsts, ends


def _sums(values: Float64s) -> Float64s:
    """(S,) -> (S + 1,) sums of the first 0, 1, ... values."""
    return np.concatenate([[0.0], np.cumsum(values)])


def expected_lengths(texts: list[str], n_speech: int, longest_character: float) -> Float64s:
    """How many frames each word may last, if those with speech are shared out by characters.

    Args:
        texts: The words.
        n_speech: Frames with speech.
        longest_character: Frames of a character at most, so that music does not make words slow.
    """
    # What a word takes however short it is, in characters.
    characters = np.array([len(text) + 1.5 for text in texts])
    pace = min(n_speech / characters.sum(), longest_character)
    lengths: Float64s = np.maximum(1.0, characters * pace)
    return lengths
