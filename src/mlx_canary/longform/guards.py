"""What makes the text of a window doubtful, and which of two texts is the better one.

Pure functions. Decoding again is done by whoever holds the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlx_canary.decoding.loops import find_first_loop

# Speech has three to six tokens a second; below one something was left out.
_FEWEST_TOKENS = 1.0
# Above this no human speaks; the text was not taken from the sound.
_MOST_TOKENS = 25.0
# Shorter stretches of activity may be a cough or a door.
_SHORTEST_SPEECH = 3.0
# Whisper takes a text for failed below this. It was checked with the demo model alone: its 198 right texts for 224 test
# recordings have -0.21 and more, and of 165 texts that it invented for tones and noise 40 have less than this.
_LEAST_LOGPROB = -1.0
_NOBODY_SPEAKS = 0.5
# The durations of a window's parts add up to its own, but for this.
_ROUNDING = 1e-3

UNFINISHED, LOOP, TOO_SHORT, TOO_LONG = "unfinished", "loop", "too_short", "too_long"
UNSURE, NO_SPEECH = "unsure", "no_speech"
_MEANINGS = {
    UNFINISHED: "the text reached the model's limit before its end; the rest may be missing",
    LOOP: "the text repeats itself",
    TOO_SHORT: "there is much less text than sound; something may be missing",
    TOO_LONG: "there is more text than can be said in that time; it may be invented",
    UNSURE: "the model itself finds its text unlikely; it may be wrong or invented",
    NO_SPEECH: "the model itself says that nobody speaks there",
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about the text of a window.

    Attributes:
        tokens: Its ids, special tokens apart.
        finished: Whether the model ended the text by itself.
        active: Seconds of the window that are louder than its background.
        duration: Seconds of the window.
    """

    tokens: Sequence[int]
    finished: bool
    active: float
    duration: float


def doubts(evidence: Evidence) -> tuple[str, ...]:
    """Why the text should not be trusted.

    Returns:
        Any of: "unfinished" (the length limit came before the end of the text), "loop" (it repeats itself),
        "too_short" (speech goes on for long without text), "too_long" (more text than anybody says in that time).
    """
    found = []
    if not evidence.finished:
        found.append(UNFINISHED)
    if find_first_loop(evidence.tokens) is not None:
        found.append(LOOP)
    if evidence.active > _SHORTEST_SPEECH and len(evidence.tokens) < _FEWEST_TOKENS * evidence.active:
        found.append(TOO_SHORT)
    if len(evidence.tokens) > _MOST_TOKENS * max(evidence.active, 1.0):
        found.append(TOO_LONG)
    return tuple(found)


def own_doubts(avg_logprob: float | None, no_speech_prob: float | None) -> tuple[str, ...]:
    """What the model itself has against a text. They are told, but are no reason to decode its window again: for half a
    window of music a model may invent something that it finds likely.

    Args:
        avg_logprob: Mean of the natural-log probabilities of the text's tokens; None where there are none.
        no_speech_prob: Probability that nobody speaks; None where it is not known.

    Returns:
        Any of: "unsure" (it finds the text unlikely), "no_speech" (it says that nobody speaks); nothing without a text.
    """
    if avg_logprob is None:
        return ()
    found = [UNSURE] if avg_logprob < _LEAST_LOGPROB else []
    if (no_speech_prob or 0) > _NOBODY_SPEAKS:
        found.append(NO_SPEECH)
    return tuple(found)


def describe(flag: str) -> str:
    """A flag in words; one that this version does not know stands for itself."""
    return _MEANINGS.get(flag, flag)


def is_better(new: Sequence[Evidence], old: Evidence) -> bool:
    """Whether the texts of a window's parts, decoded again, should take the place of the window's text."""
    difference = sum(map(_doubtful_seconds, new)) - _doubtful_seconds(old)
    if abs(difference) > _ROUNDING:
        return difference < 0
    # Equally doubtful: where text was missing, more of it is better.
    return TOO_SHORT in doubts(old) and sum(len(part.tokens) for part in new) > len(old.tokens)


def _doubtful_seconds(evidence: Evidence) -> float:
    """Sound whose text is doubtful; for each reason once."""
    return len(doubts(evidence)) * evidence.duration
