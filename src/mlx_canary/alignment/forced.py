"""Times of a text that is already known: the text and its recording in, sentences with words and times out.

Uses the auxiliary CTC model over one window; cutting long recordings is not done here. The path is NeMo's; on top of it
times rise, stay inside the recording, and a text that cannot fit is refused in words instead of answered with nothing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mlx_canary.alignment.ctc import align_plan
from mlx_canary.alignment.spans import Span
from mlx_canary.alignment.states import TextPlan, plan_text
from mlx_canary.alignment.viterbi import frames_needed
from mlx_canary.alignment.words import sentences, spans_to_words
from mlx_canary.audio.features import pad_to_minimum
from mlx_canary.errors import AlignmentError
from mlx_canary.load_models import Aligner
from mlx_canary.text.tokenizer import CanaryTokenizer
from mlx_canary.types import Audio, Segment, Word


def align_text(
    text: str, audio: Audio, aligner: Aligner, tokenizer: CanaryTokenizer, language: str | None = None
) -> tuple[Segment, ...]:
    """When the words of a text were spoken.

    Args:
        text: What is said in the recording. Its line breaks and runs of spaces count as one space.
        audio: (N,) at the aligner's sample rate, at most what one window of the encoder holds.
        aligner: The auxiliary CTC model.
        tokenizer: The checkpoint's.
        language: Of the text; aggregate tokenizers need it.

    Returns:
        One segment for each sentence, with its words. Their texts, joined by spaces, are the given text.

    Raises:
        AlignmentError: Another sample rate, or more tokens than the recording has frames.
    """
    return sentences(align_words(text, audio, aligner, tokenizer, language))


def align_words(
    text: str, audio: Audio, aligner: Aligner, tokenizer: CanaryTokenizer, language: str | None = None
) -> tuple[Word, ...]:
    """The same without the segments: when each word of a text was spoken."""
    config = aligner.preprocessor.config
    if audio.sample_rate != config.sample_rate:
        raise AlignmentError(
            f"The recording has {audio.sample_rate} Hz, the aligner expects {config.sample_rate} Hz; resample it first."
        )
    if not text.strip():
        return ()
    padded = pad_to_minimum(audio.samples, audio.sample_rate)
    log_probs, (n_frames,) = aligner.network(aligner.preprocessor([padded]))
    # A recording under a second got zeros on both sides; times count from its own beginning.
    shift = (len(padded) - len(audio.samples) + 1) // 2 / audio.sample_rate
    plan = plan_text(text, tokenizer, tokenizer.size, language=language)
    return words_of_plan(
        plan, np.array(log_probs[0, :n_frames]), tokenizer, audio.duration, aligner.frame_duration, shift
    )


def words_of_plan(
    plan: TextPlan,
    log_probs: npt.NDArray[np.float32],
    tokenizer: CanaryTokenizer,
    duration: float,
    frame_duration: float,
    shift: float = 0.0,
) -> tuple[Word, ...]:
    """When each word of a text was spoken, from log-probabilities that are already there.

    Args:
        plan: The text's states, which are columns of the log-probabilities.
        log_probs: (S, C) float32 of the valid frames; C = V + 1, the blank last, or what the states need of it.
        tokenizer: The CTC model's.
        duration: Length of the recording in seconds.
        frame_duration: Seconds of one frame.
        shift: How long before the recording the first frame begins, in seconds.

    Raises:
        AlignmentError: The text has more tokens than there are frames.
    """
    needed = frames_needed(plan.states)
    if needed > len(log_probs):
        raise AlignmentError(
            f"The text needs at least {needed * frame_duration:.2f} s to be spoken ({needed} frames of "
            f"{frame_duration:g} s), the recording has {duration:.2f} s. Is it the text of this recording?"
        )
    spans = align_plan(plan, log_probs, tokenizer, frame_duration).words
    return spans_to_words([_earlier(span, shift) for span in spans], duration)


def _earlier(span: Span, shift: float) -> Span:
    """The span with seconds counted from the recording's beginning; what lies before it is put there."""
    times = [t if t < 0 else max(0.0, t - shift) for t in (span.start, span.end)]
    return Span(span.text, span.start_offset, span.end_offset, *times)
