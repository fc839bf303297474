"""Long recordings exactly as NeMo 3.0 does them, for reproducing its numbers.

Checkpoints with an auxiliary CTC model (canary-1b-v2) get overlapping windows merged by common tokens, as in NeMo's
transcribe(); the others get pieces without overlap, as in NeMo's chunked inference for multitask models. Our own way,
which loses less, is in `longform.windows`. Holds the whole recording in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlx_canary.alignment.ctc import align_ctc
from mlx_canary.alignment.inline import parse_inline
from mlx_canary.alignment.spans import Span, TokenSpan, group_segments, group_words
from mlx_canary.alignment.words import sentences, spans_to_words
from mlx_canary.audio.features import normalize, pad_to_minimum
from mlx_canary.audio.samples import Samples
from mlx_canary.config import DecodingConfig
from mlx_canary.decoding.generate import Decoder
from mlx_canary.decoding.limits import token_limit
from mlx_canary.decoding.options import DecodingOptions
from mlx_canary.errors import PromptError
from mlx_canary.load_models import Aligner, LoadedModel
from mlx_canary.longform.merging import merge_windows
from mlx_canary.longform.nemo_windows import HOUR, plan_chunks
from mlx_canary.text.prompt import Prompt, encode_prompt
from mlx_canary.types import Features, Segment

# Mel frames of a piece without overlap: 40 s, or 10 s where the model writes times.
_PIECE, _TIMED_PIECE = 4000, 1000
_OVERLAP_FRAMES = 100  # mel frames
# What NeMo's script for pieces sets, whatever the checkpoint says.
SCRIPT = DecodingConfig(strategy="beam", beam_size=1, length_penalty=0.0, max_generation_delta=-1)


@dataclass(frozen=True, slots=True)
class NemoTranscript:
    """What NeMo would return.

    Attributes:
        text: Merged.
        chunks: Token ids of every window before the merge.
        words: Empty without timestamps.
        segments: Empty without timestamps.
    """

    text: str
    chunks: tuple[tuple[int, ...], ...]
    words: tuple[Span, ...] = ()
    segments: tuple[Span, ...] = ()


def transcribe_like_nemo(
    model: LoadedModel, samples: Samples, prompt: Prompt, timestamps: bool, pieces: DecodingConfig = SCRIPT
) -> NemoTranscript:
    """Write down a recording.

    Args:
        model: Any checkpoint; which of NeMo's two ways is taken depends on its auxiliary model.
        samples: (N,) at the checkpoint's rate.
        prompt: What is asked.
        timestamps: Whether to find words and segments.
        pieces: How pieces without overlap are decoded. Overlapping windows are decoded as the checkpoint says.

    Raises:
        PromptError: The prompt leaves no room for a text.
    """
    samples = pad_to_minimum(samples, model.config.preprocessor.sample_rate)
    if model.aligner is None:
        return _in_pieces(model, samples, prompt, timestamps, pieces)
    step = HOUR * model.config.preprocessor.sample_rate
    # A rest that makes no frame after the last hour holds nothing.
    begins = range(0, len(samples) - model.config.preprocessor.hop_length, step)
    hours = [_overlapping(model, samples[i : i + step], prompt, timestamps) for i in begins]
    return hours[0] if len(hours) == 1 else _joined_hours(hours, _factor(model))


def nemo_segments(found: NemoTranscript, duration: float, keep_words: bool) -> tuple[Segment, ...]:
    """What NeMo returned as segments; one for all where there are no times."""
    if not found.segments:
        return (Segment(found.text.strip(), 0.0, duration),)
    words = spans_to_words(found.words, duration)
    return tuple(segment if keep_words else replace(segment, words=()) for segment in sentences(words))


def _overlapping(model: LoadedModel, samples: Samples, prompt: Prompt, timestamps: bool) -> NemoTranscript:
    """At most an hour, in windows of 30 to 40 s with a second of overlap."""
    plan = plan_chunks(len(samples), model.config.preprocessor.sample_rate)
    windows = [samples[start : start + length] for start, length in zip(plan.starts, plan.lengths, strict=True)]
    ids = encode_prompt(prompt, model.config.prompt.format, model.tokenizer)
    # The last window is padded to the others' length, which counts for the limit.
    n_frames = plan.chunk_size // model.config.preprocessor.hop_length
    limit = token_limit(model.config, n_frames, len(ids))
    options = _as_nemo(model.config.decoding)
    chunks, factor = _decode(model, model.preprocessor(windows), ids, limit, prompt, options), _factor(model)
    if not timestamps or model.aligner is None:
        return NemoTranscript(model.tokenizer.decode(merge_windows(chunks, factor)), tuple(map(tuple, chunks)))
    language = prompt.target_lang
    spans = [_token_times(model, model.aligner, w, tokens, language) for w, tokens in zip(windows, chunks, strict=True)]
    merged = merge_windows([[span.token_id for span in window] for window in spans], factor)
    lengths = [_encoded_length(model, len(window)) for window in windows]
    words = group_words(_on_one_clock(model, spans, lengths, merged))
    text = model.tokenizer.decode(merged)
    return NemoTranscript(text, tuple(map(tuple, chunks)), tuple(words), tuple(group_segments(words)))


def _decode(
    model: LoadedModel, features: Features, ids: list[int], limit: int, prompt: Prompt, options: DecodingOptions
) -> list[tuple[int, ...]]:
    """One window after the other, so that they need not all be held at once.

    NeMo's batch gives the same for a beam of one and for greedy search. Of several windows with several beams it mixes
    up what the decoder remembers; that is not repeated.
    """
    if limit < 1:
        raise PromptError("The prompt leaves no room for the text of a recording this short. Give less context.")
    decoder = Decoder(model.network, model.tokenizer, options)
    found = []
    for frames, length in zip(features.frames, features.lengths, strict=True):
        encoded = model.network.encode(Features(frames[None, :length], (length,)))
        ((best, *_),) = decoder(encoded, [ids], [limit], [prompt.target_lang], [prompt.pnc])
        found.append(best.tokens)
    return found


def _as_nemo(decoding: DecodingConfig) -> DecodingOptions:
    """How NeMo's transcribe() searches; a single beam is its beam search too, where no penalty changes anything."""
    if decoding.strategy != "beam":
        return DecodingOptions()
    penalty = decoding.length_penalty if decoding.beam_size > 1 else 0.0
    return DecodingOptions(beam_size=decoding.beam_size, length_penalty=penalty, nemo_faults=True)


def _token_times(
    model: LoadedModel, aligner: Aligner, samples: Samples, tokens: Sequence[int], language: str
) -> tuple[TokenSpan, ...]:
    log_probs, (n_frames,) = aligner.network(aligner.preprocessor([samples]))
    text = model.tokenizer.decode(tokens)
    frames, duration = np.array(log_probs[0, :n_frames]), aligner.frame_duration
    return align_ctc(text, frames, model.tokenizer, duration, whole=True, language=language).tokens


def _factor(model: LoadedModel) -> int:
    return model.config.encoder.subsampling_factor


def _encoded_length(model: LoadedModel, n_samples: int) -> int:
    return -(-(n_samples // model.config.preprocessor.hop_length) // _factor(model))


def _on_one_clock(
    model: LoadedModel, windows: Sequence[Sequence[TokenSpan]], lengths: Sequence[int], merged: Sequence[int]
) -> list[TokenSpan]:
    """The merged tokens with the times of the windows that they were found in, shifted to the recording's."""
    placed: list[TokenSpan] = []
    offset, factor = 0, _factor(model)
    stride = model.config.preprocessor.hop_length / model.config.preprocessor.sample_rate
    for n, window in enumerate(windows):
        offset += (factor * lengths[n - 1] - _OVERLAP_FRAMES) // factor if n else 0
        for span in window:
            if len(placed) < len(merged) and span.token_id == merged[len(placed)]:
                earliest = placed[-1].end_offset if placed else 0
                placed.append(_shifted(span, offset, earliest, stride, factor))
    return placed


def _shifted(span: TokenSpan, offset: int, earliest: int, stride: float, factor: int) -> TokenSpan:
    start = span.start_offset + offset if span.start_offset != -1 else -1
    end = span.end_offset + offset if span.end_offset != -1 else -1
    if start != -1 and start < earliest:
        start = end = earliest
    # In NeMo's order of multiplication, for the same last digit.
    seconds = [-1.0 if frame == -1 else frame * stride * factor for frame in (start, end)]
    return replace(span, start_offset=start, end_offset=end, start=seconds[0], end=seconds[1])


def _in_pieces(
    model: LoadedModel, samples: Samples, prompt: Prompt, timestamps: bool, decoding: DecodingConfig
) -> NemoTranscript:
    """Pieces of the mel frames of the whole recording, each normalised by itself with the population's deviation."""
    config = model.config.model_copy(update={"decoding": decoding})
    n_frames = len(samples) // model.config.preprocessor.hop_length
    log_mel = model.preprocessor.log_mel([samples])[:, :n_frames]
    size, frame = _TIMED_PIECE if timestamps else _PIECE, model.config.frame_duration
    ids = encode_prompt(replace(prompt, timestamp=timestamps), model.config.prompt.format, model.tokenizer)
    chunks, texts, words, segments = [], [], [], []
    for start in range(0, n_frames, size):
        piece = log_mel[:, start : start + size]
        length = piece.shape[1]
        features = Features(normalize(piece, [length], ddof=0), (length,))
        # A piece has no frame beyond the valid ones, as a whole recording has.
        limit = token_limit(config, length - 1, len(ids))
        (tokens,) = _decode(model, features, ids, limit, prompt, _as_nemo(decoding))
        text = model.tokenizer.decode(tokens)
        if timestamps:
            times = parse_inline(text, frame)
            text, offset = times.text, start // _factor(model)
            words += [_later(word, offset, frame) for word in times.words]
            segments += [_later(segment, offset, frame) for segment in times.segments]
        chunks.append(tokens)
        texts.append(text)
    return NemoTranscript(" ".join(texts), tuple(chunks), tuple(words), tuple(segments))


def _later(span: Span, offset: int, frame: float) -> Span:
    start, end = span.start_offset + offset, span.end_offset + offset
    return replace(span, start_offset=start, end_offset=end, start=start * frame, end=end * frame)


def _joined_hours(hours: Sequence[NemoTranscript], factor: int) -> NemoTranscript:
    """NeMo shifts the seconds of each hour by an hour, the offsets by its milliseconds over the encoder's factor."""

    def shifted(spans: Sequence[Span], n: int) -> list[Span]:
        seconds, offset = HOUR * n, int(HOUR * n * 1000 / factor)
        return [
            replace(
                s,
                start_offset=s.start_offset + offset,
                end_offset=s.end_offset + offset,
                start=s.start + seconds,
                end=s.end + seconds,
            )
            for s in spans
        ]

    return NemoTranscript(
        " ".join(hour.text.strip() for hour in hours),
        tuple(chunk for hour in hours for chunk in hour.chunks),
        tuple(span for n, hour in enumerate(hours) for span in shifted(hour.words, n)),
        tuple(span for n, hour in enumerate(hours) for span in shifted(hour.segments, n)),
    )
