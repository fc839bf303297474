"""CanaryModel: the object that users hold. It joins the stages and is changed by none of them.

Knows nothing about output formats, the command line or servers. MLX is not made for several threads at once: let one
thread own a model's work.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from mlx_canary.audio.features import pad_to_minimum
from mlx_canary.audio.load import iter_audio
from mlx_canary.audio.samples import from_array
from mlx_canary.audio.sources import AudioSource
from mlx_canary.audio.sources import describe as describe_source
from mlx_canary.config import Dtype, ModelConfig
from mlx_canary.decoding.greedy import decode_greedy
from mlx_canary.decoding.language import LanguageGuess
from mlx_canary.decoding.limits import token_limit
from mlx_canary.errors import AudioError, PromptError
from mlx_canary.forced_alignment import align_recording
from mlx_canary.load_models import LoadedModel, choose_dtype, load_model
from mlx_canary.longform.activity import is_silent
from mlx_canary.longform.assembly import Assembly, Outcome, transcript_of
from mlx_canary.longform.journal import Journal
from mlx_canary.longform.windows import cut_windows
from mlx_canary.network.build import fingerprint
from mlx_canary.reading import Reader
from mlx_canary.requests import TranscriptionOptions, prompts_for
from mlx_canary.scheduler import Scheduler
from mlx_canary.streaming.options import PolicyName, StreamingOptions
from mlx_canary.streaming.session import StreamingSession
from mlx_canary.text.prompt import Prompt, Task, encode_prompt
from mlx_canary.text.tokenizer import CanaryTokenizer
from mlx_canary.transcriber import Timestamps, Transcriber
from mlx_canary.turns import TranscriptionQueue
from mlx_canary.types import Audio, EncoderOutput, Features, Hypothesis, Segment, Transcript

__all__ = ["CanaryModel", "Outcome", "TranscriptionOptions"]

_log = logging.getLogger(__name__)


class CanaryModel:
    """A loaded checkpoint."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self._fingerprint = fingerprint(loaded.network)
        self._transcriber = Transcriber(loaded)
        self._reader = Reader(loaded, self._transcriber)
        self._scheduler = Scheduler(self._reader, self._transcriber)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        dtype: Dtype | None = None,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> CanaryModel:
        """Load a checkpoint.

        Args:
            source: The folder of a converted checkpoint, a `.nemo` file or a folder that holds one (converted in
                memory), "demo" for the small model in the package, a published name such as "canary-1b-v2", or a
                repository `owner/name` on the Hugging Face hub; the last two perhaps with `@revision`. A model from the
                hub is downloaded and converted once, and found in the cache afterwards.
            dtype: What to compute in. None for what the checkpoint is stored in, but on a CPU, where half precision and
                quantized matrices are slow, for float32 with the matrices unpacked; naming a type keeps them packed.
                An aligner gets it on a GPU only.
            progress: Called while a model is downloaded and converted: what is being done, bytes done, bytes in all.

        Raises:
            PromptError: No such dtype.
            ModelNotFoundError: Nothing goes by that name, or it cannot be downloaded.
            CheckpointError: The folder is damaged or not a converted checkpoint.
            ConversionError: The `.nemo` cannot be read.
        """
        if dtype not in (None, *get_args(Dtype)):
            raise PromptError(f"dtype={dtype!r} is not one of: {', '.join(get_args(Dtype))}.")
        loaded = load_model(source, progress)
        choose_dtype(loaded, dtype)
        return cls(loaded)

    @property
    def config(self) -> ModelConfig:
        """What the checkpoint says about itself."""
        return self._loaded.config

    @property
    def fingerprint(self) -> str:
        """Tells models of the same configuration apart, such as the states of a training: 16 digits."""
        return self._fingerprint

    @property
    def tokenizer(self) -> CanaryTokenizer:
        """The checkpoint's tokenizer."""
        return self._loaded.tokenizer

    def transcribe(
        self,
        audio: AudioSource,
        *,
        language: str | None = None,
        task: Task = "transcribe",
        target_lang: str | None = None,
        timestamps: Timestamps | None = None,
        pnc: bool = True,
        itn: bool = False,
        context: str = "",
        options: TranscriptionOptions | None = None,
        batch_size: int = 8,
        on_segment: Callable[[Segment], None] | None = None,
    ) -> Transcript:
        """Write down what a recording says.

        Recordings of any length: a long one is read as a stream and cut at quiet places into windows of up to 35 s.

        Args:
            audio: A path, bytes, a binary file, "-" for standard input, an http(s) address, or `Audio`.
            language: The language spoken, such as "en"; None for the checkpoint's default.
            task: "translate" writes it down in `target_lang` instead.
            target_lang: The language of a translation, English if not said.
            timestamps: "word" for times of words and sentences, "segment" for sentences only.
            pnc: Punctuation and capitals.
            itn: Numbers as digits, where the checkpoint learned that.
            context: Text that came before, or that holds names to expect; `canary2` checkpoints only.
            options: All of the above and more as one value, instead of them.
            batch_size: How many windows are decoded at once.
            on_segment: Called with each segment as soon as it is known, in order.

        Returns:
            The transcript; an empty or silent recording gives an empty one.

        Raises:
            AudioError: The recording cannot be read.
            PromptError: The checkpoint does not have that language, task or option.
        """
        asked = TranscriptionOptions(
            language=language,
            task=task,
            target_lang=target_lang,
            timestamps=timestamps,
            pnc=pnc,
            itn=itn,
            context=context,
        )
        if options is not None:
            if asked != TranscriptionOptions():
                raise PromptError("Give either options or single keywords, not both.")
            asked = options
        (outcome,) = self.transcribe_each([(audio, asked)], batch_size=batch_size, on_segment=on_segment)
        return transcript_of(outcome)

    def translate(
        self,
        audio: AudioSource,
        *,
        source_lang: str,
        target_lang: str = "en",
        timestamps: Timestamps | None = None,
        pnc: bool = True,
        itn: bool = False,
        context: str = "",
        batch_size: int = 8,
        on_segment: Callable[[Segment], None] | None = None,
    ) -> Transcript:
        """Write down what a recording says in another language. Arguments and errors as for `transcribe`."""
        return self.transcribe(
            audio,
            language=source_lang,
            task="translate",
            target_lang=target_lang,
            timestamps=timestamps,
            pnc=pnc,
            itn=itn,
            context=context,
            batch_size=batch_size,
            on_segment=on_segment,
        )

    def transcribe_batch(
        self,
        audio: Sequence[AudioSource],
        options: TranscriptionOptions | Sequence[TranscriptionOptions] | None = None,
        *,
        language: str | None = None,
        batch_size: int = 8,
    ) -> list[Transcript]:
        """Write down what several recordings say, decoded together; each as it would be alone.

        Args:
            audio: As for `transcribe`, each.
            options: The same for all, or one for each.
            language: Spoken in all of them, where nothing else is to be said.
            batch_size: How many windows are decoded at once, whichever recording they are of.

        Raises:
            AudioError: A recording cannot be read; `transcribe_each` goes on with the others.
            PromptError: As for `transcribe`.
        """
        if options is not None and language is not None:
            raise PromptError("Give either options or language, not both.")
        if not isinstance(audio, Sequence) or isinstance(audio, str | bytes):
            raise PromptError(f"The recordings are a {type(audio).__name__}; give a list of them, or use transcribe.")
        same = TranscriptionOptions(language=language) if options is None else options
        each = [same] * len(audio) if isinstance(same, TranscriptionOptions) else list(same)
        if len(each) != len(audio):
            raise PromptError(f"There are {len(audio)} recordings but {len(each)} options; give one, or one for each.")
        outcomes = self.transcribe_each(list(zip(audio, each, strict=True)), batch_size=batch_size)
        return [transcript_of(outcome) for outcome in outcomes]

    def transcribe_each(
        self,
        requests: Sequence[tuple[AudioSource, TranscriptionOptions]],
        *,
        batch_size: int = 8,
        on_segment: Callable[[Segment], None] | None = None,
        journals: Sequence[Journal] | None = None,
    ) -> Iterator[Outcome]:
        """Write down several recordings, one outcome each, in order, as soon as it is known.

        A recording that fails does not stop the others. Not more than a few windows of sound are in memory.

        Args:
            requests: Recordings with what is wanted of each.
            batch_size: How many windows are decoded at once, whichever recording they are of.
            on_segment: Called with each segment as soon as it is known, in the order of its recording.
            journals: One for each recording: finished windows are taken from it, and noted in it; not with longform
                "nemo".
        """
        if not isinstance(requests, Sequence) or not all(isinstance(r, tuple) and len(r) == 2 for r in requests):
            raise PromptError("The requests are not a list of pairs; give (recording, TranscriptionOptions) for each.")
        if journals is not None and len(journals) != len(requests):
            raise PromptError(f"There are {len(requests)} recordings but {len(journals)} journals; give one for each.")
        assembly = Assembly(len(requests), on_segment, lambda index, warning: _warn(requests[index][0], warning))
        for _ in self._scheduler.run(requests, assembly, batch_size, journals):
            yield from assembly.outcomes()
        yield from assembly.outcomes()

    def transcribe_segments(
        self, audio: AudioSource, options: TranscriptionOptions | None = None, *, batch_size: int = 8
    ) -> Iterator[Segment]:
        """The segments of a recording one after the other, as soon as each is known. Errors as for `transcribe`."""
        told: list[Segment] = []
        assembly = Assembly(1, told.append, lambda _, warning: _warn(audio, warning))
        for _ in self._scheduler.run([(audio, options or TranscriptionOptions())], assembly, batch_size, None):
            yield from told
            told.clear()
        yield from told
        for outcome in assembly.outcomes():
            transcript_of(outcome)

    def queue(self, *, batch_size: int = 8) -> TranscriptionQueue:
        """Recordings that come and go, such as a server's: they are decoded together, and each has its turn.

        Args:
            batch_size: How many windows are decoded at once, whichever recording they are of.

        Returns:
            A queue to which recordings can be added at any time; each of its steps decodes a batch.
        """
        return TranscriptionQueue(self._reader, self._transcriber, batch_size)

    def stream(
        self,
        *,
        language: str | None = None,
        target_lang: str | None = None,
        pnc: bool = True,
        itn: bool = False,
        context: str = "",
        policy: PolicyName | None = None,
        options: StreamingOptions | None = None,
    ) -> StreamingSession:
        """Write down sound while it is being spoken.

        Args:
            language: The language spoken; None for the checkpoint's default.
            target_lang: Another language to write it down in.
            pnc: Punctuation and capitals.
            itn: Numbers as digits, where the checkpoint learned that.
            context: Text that came before, or that holds names to expect; `canary2` checkpoints only.
            policy: When text is written: "windowed" (ours, the default), "alignatt" or "waitk" (NeMo's).
            options: The policy and more as one value, instead of it.

        Returns:
            A session that takes blocks of samples. Any number of them can be open at once.

        Raises:
            PromptError: The checkpoint does not have that language or option.
        """
        if options is not None and policy is not None:
            raise PromptError("Give either options or policy, not both.")
        if not isinstance(options, StreamingOptions | None):
            raise PromptError(f"options is a {type(options).__name__}; expected StreamingOptions.")
        asked = TranscriptionOptions(language=language, pnc=pnc, itn=itn, context=context)
        spoken = self.prompt(asked).source_lang
        if target_lang not in (None, spoken):
            asked = replace(asked, task="translate", target_lang=target_lang)
        settings = options or StreamingOptions(policy=policy or "windowed")
        return StreamingSession(self._loaded, self.prompt(asked), settings)

    def check(self, options: TranscriptionOptions) -> None:
        """Refuse what the checkpoint cannot be asked, before there is any sound; computes nothing.

        Raises:
            PromptError: The checkpoint does not have that language or task, or its prompt no place for something.
        """
        self._reader.check_prompts(options)

    def prompt(self, options: TranscriptionOptions) -> Prompt:
        """What is asked of the network for these options; the language spoken must be known.

        Raises:
            PromptError: The checkpoint does not have that language, task or option.
        """
        return prompts_for(options, self.config, self.tokenizer)[0]

    def detect_language(self, audio: AudioSource) -> LanguageGuess:
        """Compare the checkpoint's languages on the first half minute of a recording in which something is heard.

        Raises:
            AudioError: The recording cannot be read.
            PromptError: The recording is silent, or the checkpoint does not say which languages it knows.
        """
        rate = self.config.preprocessor.sample_rate
        for window in cut_windows(iter_audio(audio, sample_rate=rate), rate):
            if not is_silent(window.samples):
                return self._reader.guess(window)
        raise PromptError("Nothing is heard in the recording, so its language cannot be found out.")

    def align(self, audio: AudioSource, text: str, *, language: str | None = None) -> Transcript:
        """Find when the words of a text that is already known are spoken.

        Args:
            audio: As for `transcribe`: with an auxiliary CTC model (canary-1b-v2) up to about an hour, otherwise 40 s.
            text: What is said in it.
            language: The language spoken; None for the checkpoint's default.

        Returns:
            A transcript with word times, whose text is the given one. Without a CTC model its `warnings` say so where
            the model finds it unlikely that this is said.

        Raises:
            AudioError: The recording cannot be read.
            AlignmentError: The text does not fit the recording.
        """
        blocks = iter_audio(audio, sample_rate=self.config.preprocessor.sample_rate)
        prompt = self.prompt(TranscriptionOptions(language=language))
        transcript = align_recording(self._loaded, blocks, text, prompt)
        for warning in transcript.warnings:
            _warn(audio, warning)
        return transcript

    def generate(self, audio: Sequence[Audio], prompts: Sequence[Prompt]) -> list[Hypothesis]:
        """Decode a batch of short recordings in one pass, each with its prompt.

        Args:
            audio: At the checkpoint's sample rate, up to 40 s each; shorter than a second is padded, as NeMo does.
            prompts: One for each.

        Raises:
            AudioError: Another sample rate, or not one channel of sound.
            PromptError: Not one prompt for each recording, or one that leaves no room for an answer.
        """
        if len(audio) != len(prompts):
            raise PromptError(f"There are {len(audio)} recordings but {len(prompts)} prompts; give one for each.")
        if not audio:
            return []
        ids = [encode_prompt(prompt, self.config.prompt.format, self.tokenizer) for prompt in prompts]
        features = self._features(audio)
        limits = [token_limit(self.config, n, len(p)) for n, p in zip(features.lengths, ids, strict=True)]
        if min(limits) < 1:
            raise PromptError("A prompt leaves no room for the text of a recording this short. Give less context.")
        return self.decode_greedy(self._loaded.network.encode(features), ids, limits)

    def encode(self, audio: Sequence[Audio]) -> EncoderOutput:
        """Encoder states of a batch of short recordings, as `decode_greedy` takes them. Arguments as for `generate`."""
        return self._loaded.network.encode(self._features(audio))

    def decode_greedy(
        self, encoded: EncoderOutput, prompts: Sequence[Sequence[int]], limits: Sequence[int]
    ) -> list[Hypothesis]:
        """Greedy search over encoder states (B, S, W).

        Args:
            encoded: From the network's encoder.
            prompts: Token ids for each item.
            limits: Tokens that each item may have at most.
        """
        tokenizer = self.tokenizer
        return decode_greedy(self._loaded.network, encoded, prompts, limits, tokenizer.eos_id, tokenizer.size)

    def _features(self, audio: Sequence[Audio]) -> Features:
        rate, signals = self.config.preprocessor.sample_rate, []
        for item in audio:
            if not isinstance(item, Audio):
                raise AudioError(f"Here a recording is Audio, not a {type(item).__name__}; use load_audio.")
            if item.sample_rate != rate:
                raise AudioError(f"The checkpoint needs {rate} Hz, this Audio has {item.sample_rate}; use load_audio.")
            signals.append(pad_to_minimum(from_array(item, "The array").samples, rate))
        return self._loaded.preprocessor(signals)


def _warn(audio: AudioSource, warning: str) -> None:
    _log.warning("%s: %s", describe_source(audio), warning)
