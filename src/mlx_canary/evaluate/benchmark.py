"""How fast a model works and how much memory it takes: a subject and a recording in, timings out.

MLX computes when a value is needed, not when it is written down, so every stage's result is computed before the clock
is read. Windows, batches and greedy search are those of transcription; guards and word times are left out.
"""

from __future__ import annotations

import io
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from mlx_canary.audio.features import pad_to_minimum
from mlx_canary.audio.load import iter_audio
from mlx_canary.audio.sources import AudioSource
from mlx_canary.backend import mx
from mlx_canary.decoding.greedy import decode_greedy
from mlx_canary.errors import EvaluationError
from mlx_canary.evaluate.memory import mlx_peak_bytes, process_peak_bytes, reset_peaks
from mlx_canary.evaluate.subjects import Subject
from mlx_canary.longform.windows import Window, cut_windows
from mlx_canary.requests import TranscriptionOptions, window_lengths

STAGES = ("audio", "features", "encoder", "decoder")
_SAMPLE_RATE = 16_000


@dataclass(frozen=True, slots=True)
class Run:
    """One pass over a recording.

    Attributes:
        seconds: Of the whole.
        stages: Seconds of each stage; together a little less than the whole.
        first_text: Seconds until the first batch had its text.
        audio_seconds: How much sound it was.
        n_windows, n_tokens: How many.
    """

    seconds: float
    stages: dict[str, float]
    first_text: float
    audio_seconds: float
    n_windows: int
    n_tokens: int


@dataclass(frozen=True, slots=True)
class Measured:
    """The same number of several passes."""

    median: float
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Peaks over all passes, in bytes; `weights` is what the weights alone take."""

    process: int
    mlx: int
    weights: int


@dataclass(frozen=True, slots=True)
class Case:
    """What was measured under one set of conditions.

    Attributes:
        recording: Which sound.
        dtype, bits, batch_size: The conditions.
        audio_seconds, n_windows, n_tokens: How much was done in each pass.
        rtfx: Seconds of sound in a second.
        tokens_per_second: Of the whole.
        decoder_tokens_per_second: Of the decoder alone.
        seconds: Of the whole ("total"), of each stage, and until the first text ("first_text").
        memory: What it took.
    """

    recording: str
    dtype: str
    bits: int | None
    batch_size: int
    audio_seconds: float
    n_windows: int
    n_tokens: int
    rtfx: Measured
    tokens_per_second: Measured
    decoder_tokens_per_second: Measured
    seconds: dict[str, Measured]
    memory: Memory


def measure(
    subject: Subject, recording: str, source: AudioSource, batch_size: int, repeats: int, done: Callable[[], None]
) -> Case:
    """Pass over a recording several times, and once before that to warm up.

    Args:
        subject: What is measured.
        recording: What to call the sound.
        source: The sound. If it has fewer windows than a batch takes, it is heard several times in each pass.
        batch_size: Windows decoded at once.
        repeats: Passes that count.
        done: Called after each pass.

    Raises:
        AudioError: The recording cannot be read.
        EvaluationError: There is nothing in it.
    """
    n_windows = sum(1 for _ in _windows(subject, source))
    if not n_windows:
        raise EvaluationError(f"There is no sound in {recording}, so there is nothing to measure.")
    n_copies = -(-batch_size // n_windows)
    reset_peaks()
    runs = []
    for n in range(repeats + 1):
        run = one_pass(subject, [source] * n_copies, batch_size)
        runs += [run] if n else []
        done()
    memory = Memory(process_peak_bytes(), mlx_peak_bytes(), subject.weight_bytes)
    return _case(subject, recording, batch_size, runs, memory)


def one_pass(subject: Subject, sources: Sequence[AudioSource], batch_size: int) -> Run:
    """Hear recordings once, with the clock read between the stages."""
    stages, clock = dict.fromkeys(STAGES, 0.0), _Clock()
    audio_seconds, first_text, n_windows, n_tokens = 0.0, 0.0, 0, 0
    windows = (window for source in sources for window in _windows(subject, source))
    while True:
        batch = list(islice(windows, batch_size))
        stages["audio"] += clock.lap()
        if not batch:
            break
        rate = subject.config.preprocessor.sample_rate
        features = subject.preprocessor([pad_to_minimum(window.samples, rate) for window in batch])
        mx.eval(features.frames)
        stages["features"] += clock.lap()
        encoded = subject.network.encode(features)
        mx.eval(encoded.states)
        stages["encoder"] += clock.lap()
        durations = [window.end - window.start for window in batch]
        limits = [subject.token_limit(d, n) for d, n in zip(durations, features.lengths, strict=True)]
        prompts = [subject.prompt] * len(batch)
        vocabulary = subject.config.tokenizer.size
        found = decode_greedy(subject.network, encoded, prompts, limits, subject.eos_id, vocabulary)
        mx.synchronize()  # the search issues a step beyond the last token
        stages["decoder"] += clock.lap()
        first_text = first_text or clock.total
        audio_seconds += sum(durations)
        n_windows += len(batch)
        n_tokens += sum(len(hypothesis.tokens) + hypothesis.finished for hypothesis in found)
    return Run(clock.total, stages, first_text, audio_seconds, n_windows, n_tokens)


def synthetic_speech(duration: float) -> bytes:
    """A WAV file of noise that swells and pauses as syllables do: 16 kHz, one channel, 16 bits."""
    n_samples = round(duration * _SAMPLE_RATE)
    noise = np.random.default_rng(0).standard_normal(n_samples, np.float32)
    time_axis = np.arange(n_samples) / _SAMPLE_RATE
    loudness = np.abs(np.sin(2 * np.pi * 2 * time_axis)) * (np.sin(2 * np.pi * time_axis / 3) > -0.8)
    samples = np.clip(noise * loudness * 3000, -32768, 32767).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(_SAMPLE_RATE)
        written.writeframes(samples.tobytes())
    return file.getvalue()


class _Clock:
    """Tells how long it was since it was last asked, and since the beginning."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()

    def lap(self) -> float:
        before, self._last = self._last, time.perf_counter()
        return self._last - before

    @property
    def total(self) -> float:
        return self._last - self._start


def _windows(subject: Subject, source: AudioSource) -> Iterator[Window]:
    rate = subject.config.preprocessor.sample_rate
    lengths = window_lengths(TranscriptionOptions(), subject.config)
    return cut_windows(iter_audio(source, sample_rate=rate), rate, *lengths)


def _case(subject: Subject, recording: str, batch_size: int, runs: Sequence[Run], memory: Memory) -> Case:
    last = runs[-1]
    seconds = {"total": _measured([run.seconds for run in runs])}
    seconds |= {stage: _measured([run.stages[stage] for run in runs]) for stage in STAGES}
    seconds["first_text"] = _measured([run.first_text for run in runs])
    return Case(
        recording=recording,
        dtype=subject.dtype,
        bits=subject.bits,
        batch_size=batch_size,
        audio_seconds=last.audio_seconds,
        n_windows=last.n_windows,
        n_tokens=last.n_tokens,
        rtfx=_measured([run.audio_seconds / run.seconds for run in runs]),
        tokens_per_second=_measured([run.n_tokens / run.seconds for run in runs]),
        decoder_tokens_per_second=_measured([run.n_tokens / run.stages["decoder"] for run in runs]),
        seconds=seconds,
        memory=memory,
    )


def _measured(values: Sequence[float]) -> Measured:
    return Measured(float(np.median(values)), min(values), max(values))
