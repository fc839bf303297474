"""When the words of a known text are spoken in a recording: sound and text in, a transcript with times out.

With an auxiliary CTC model (canary-1b-v2) recordings may be long: its log-probabilities are computed window by window
and one path is searched through all of them. Without one, the decoder's cross-attention serves, for a single window.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from mlx_canary.alignment.attention import place_words
from mlx_canary.alignment.forced import words_of_plan
from mlx_canary.alignment.states import plan_text
from mlx_canary.alignment.viterbi import check_cells
from mlx_canary.alignment.words import sentences
from mlx_canary.audio.features import pad_to_minimum
from mlx_canary.audio.samples import Samples
from mlx_canary.backend import mx
from mlx_canary.errors import AlignmentError
from mlx_canary.load_models import Aligner, LoadedModel
from mlx_canary.longform.windows import cut_windows
from mlx_canary.text.prompt import Prompt, encode_prompt
from mlx_canary.types import Audio, EncoderOutput, Transcript, Word

# The decoder was trained on up to 40 s.
_LONGEST_WINDOW = 40.0
# The mean log-probability of a token below which a text is hardly what is said. Of 150 of the demo model's test
# recordings none had less with its own text (the lowest -1.32), and 143 had with the text of another.
_LEAST_LOGPROB = -1.5
_ANOTHER_TEXT = (
    "The model finds this text unlikely for the recording, so its times may mean nothing. Is it what is said?"
)


def align_recording(model: LoadedModel, blocks: Iterable[Samples], text: str, prompt: Prompt) -> Transcript:
    """Find the times of a text.

    Args:
        model: With or without an auxiliary CTC model.
        blocks: The recording at the checkpoint's rate.
        text: What is said in it.
        prompt: The language spoken; for checkpoints without an auxiliary model it stands before the text.

    Returns:
        A transcript of the given text. Without an auxiliary model it has a warning where the decoder finds it unlikely.

    Raises:
        AlignmentError: The text does not fit the recording, or the recording is too long.
    """
    if not isinstance(text, str):
        raise AlignmentError(f"The text is a {type(text).__name__}; expected a str.")
    rate = model.config.preprocessor.sample_rate
    if model.aligner is not None:
        words, duration = _by_ctc(model, model.aligner, blocks, text, prompt.source_lang)
        is_likely = True  # an aligner that was trained little gives right texts as little as wrong ones
    else:
        samples = _single_window(blocks, rate)
        (words, is_likely), duration = _by_attention(model, samples, text, prompt), len(samples) / rate
    if text.strip() and not duration:
        raise AlignmentError("The recording is empty, so nothing of the text can be in it.")
    warnings = () if is_likely else (_ANOTHER_TEXT,)
    return Transcript(sentences(words), prompt.source_lang, prompt.source_lang, duration, warnings=warnings)


def _by_ctc(
    model: LoadedModel, aligner: Aligner, blocks: Iterable[Samples], text: str, language: str
) -> tuple[Sequence[Word], float]:
    config, tokenizer = aligner.preprocessor.config, model.tokenizer
    plan = plan_text(text, tokenizer, tokenizer.size, language=language)
    # Of thousands of tokens only those of the text are kept, or an hour would take gigabytes.
    columns = np.unique(plan.states)
    # Windows of whole encoder frames follow each other without a gap in time.
    frame = config.hop_length * aligner.network.encoder.subsampling_factor
    parts, n_kept, duration = [], 0, 0.0
    for window in cut_windows(blocks, config.sample_rate, grid=frame):
        log_probs, (n_frames,) = aligner.network(aligner.preprocessor([_pad_after(window.samples, config.sample_rate)]))
        n_spoken = -(-len(window.samples) // frame)
        parts.append(np.array(log_probs[0, : min(n_frames, n_spoken)])[:, columns])
        n_kept, duration = n_kept + len(parts[-1]), window.end
        check_cells(n_kept, len(plan.states))
    if not parts or not text.strip():
        return (), duration
    plan = replace(plan, states=np.searchsorted(columns, plan.states))
    return words_of_plan(plan, np.concatenate(parts), tokenizer, duration, frame / config.sample_rate), duration


def _pad_after(samples: Samples, sample_rate: int) -> Samples:
    """Silence after a window that is shorter than a model takes, so that its times stay."""
    missing = sample_rate - len(samples)
    return samples if missing <= 0 else np.pad(samples, (0, missing))


def _single_window(blocks: Iterable[Samples], sample_rate: int) -> Samples:
    samples: list[Samples] = []
    for block in blocks:
        samples.append(block)
        if sum(map(len, samples)) > _LONGEST_WINDOW * sample_rate:
            raise AlignmentError(
                f"Without an auxiliary CTC model (canary-1b-v2 has one) up to {_LONGEST_WINDOW:.0f} s can be aligned. "
                "Cut the recording and its text, or use canary-1b-v2."
            )
    return np.concatenate(samples) if samples else np.zeros(0, np.float32)


def _by_attention(model: LoadedModel, samples: Samples, text: str, prompt: Prompt) -> tuple[Sequence[Word], bool]:
    """The words, and whether the decoder would say so."""
    if not text.strip() or not len(samples):
        return (), True
    rate = model.config.preprocessor.sample_rate
    padded = pad_to_minimum(samples, rate)
    ids = encode_prompt(prompt, model.config.prompt.format, model.tokenizer)
    # Word by word, so that those with characters that the tokenizer lacks or changes keep their own letters.
    texts = text.split()
    encoded_words = [model.tokenizer.encode(word, prompt.target_lang) for word in texts]
    word_of = np.repeat(np.arange(len(texts)), [len(tokens) for tokens in encoded_words])
    tokens = [token for word in encoded_words for token in word]
    room = model.config.decoder.max_sequence_length - len(ids)
    if len(tokens) > room:
        raise AlignmentError(f"The text has {len(tokens)} tokens; the decoder has room for {room}. Cut it into parts.")
    encoded = model.network.encode(model.preprocessor([padded]))
    (n_frames,) = encoded.lengths
    if len(texts) > n_frames:
        raise AlignmentError(
            f"The text has {len(texts)} words, the recording of {len(samples) / rate:.2f} s only {n_frames} frames. "
            "Is it the text of this recording?"
        )
    words = place_words(
        texts, word_of, model.network, encoded, ids, tokens, Audio(padded, rate), model.config.frame_duration
    )
    shift, duration = (len(padded) - len(samples) + 1) // 2 / rate, len(samples) / rate
    is_likely = _avg_logprob(model, encoded, ids, tokens) >= _LEAST_LOGPROB
    return [_earlier(word, shift, duration) for word in words], is_likely


def _avg_logprob(model: LoadedModel, encoded: EncoderOutput, ids: Sequence[int], tokens: Sequence[int]) -> float:
    """The mean log-probability of the tokens of a text after a prompt."""
    read = mx.array([[*ids, *tokens[:-1]]])
    logits = model.network.step(read, model.network.start(encoded, [0]))[0, len(ids) - 1 :].astype(mx.float32)
    chosen = mx.take_along_axis(logits, mx.array([[*tokens]]).T, axis=1)[:, 0]
    return float(mx.mean(chosen - mx.logsumexp(logits, axis=1)))


def _earlier(word: Word, shift: float, duration: float) -> Word:
    start, end = (min(max(time - shift, 0.0), duration) for time in (word.start, word.end))
    return Word(word.text, start, end)
