"""Times of a text that is already known: its states and the frames' log-probabilities in, words with times out.

The path is NeMo's; on top of it times rise, stay inside the recording, and a text that cannot fit is refused in words
instead of answered with nothing. Where the log-probabilities come from is for others.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mlx_canary.alignment.ctc import align_plan
from mlx_canary.alignment.states import TextPlan
from mlx_canary.alignment.viterbi import frames_needed
from mlx_canary.alignment.words import spans_to_words
from mlx_canary.errors import AlignmentError
from mlx_canary.text.tokenizer import CanaryTokenizer
from mlx_canary.types import Word


def words_of_plan(
    plan: TextPlan,
    log_probs: npt.NDArray[np.float32],
    tokenizer: CanaryTokenizer,
    duration: float,
    frame_duration: float,
) -> tuple[Word, ...]:
    """When each word of a text was spoken, from log-probabilities that are already there.

    Args:
        plan: The text's states, which are columns of the log-probabilities.
        log_probs: (S, C) float32 of the valid frames; C = V + 1, the blank last, or what the states need of it.
        tokenizer: The CTC model's.
        duration: Length of the recording in seconds.
        frame_duration: Seconds of one frame.

    Raises:
        AlignmentError: The text has more tokens than there are frames.
    """
    needed = frames_needed(plan.states)
    if needed > len(log_probs):
        raise AlignmentError(
            f"The text needs at least {needed * frame_duration:.2f} s to be spoken ({needed} frames of "
            f"{frame_duration:g} s), the recording has {duration:.2f} s. Is it the text of this recording?"
        )
    return spans_to_words(align_plan(plan, log_probs, tokenizer, frame_duration).words, duration)
