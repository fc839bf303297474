"""NVIDIA's Canary speech models on MLX.

    from mlx_canary import CanaryModel

    model = CanaryModel.from_pretrained("my-canary")
    print(model.transcribe("interview.m4a", language="en"))

Names are loaded when they are first used, so that the command line starts without MLX.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mlx_canary.errors import (
    AlignmentError,
    AudioError,
    BackendError,
    CanaryError,
    CheckpointError,
    ConversionError,
    EvaluationError,
    ModelNotFoundError,
    PromptError,
    ServerError,
)
from mlx_canary.version import __version__

if TYPE_CHECKING:
    from mlx_canary.audio.load import iter_audio, load_audio
    from mlx_canary.conversion.config import ConversionConfig
    from mlx_canary.conversion.converter import ConversionReport, convert
    from mlx_canary.decoding.boosting import Phrase, read_phrases
    from mlx_canary.decoding.confidence import ConfidenceMethod
    from mlx_canary.decoding.language import LanguageGuess
    from mlx_canary.decoding.options import Boosting, DecodingOptions, LanguageModel
    from mlx_canary.model import CanaryModel, Outcome
    from mlx_canary.registry import CANARY_MODELS
    from mlx_canary.requests import TranscriptionOptions
    from mlx_canary.streaming.options import StreamingOptions
    from mlx_canary.streaming.session import StreamingSession, Update
    from mlx_canary.text.prompt import Prompt
    from mlx_canary.text.tokenizer import CanaryTokenizer
    from mlx_canary.turns import TranscriptionQueue
    from mlx_canary.types import Alternative, Audio, EncoderOutput, Features, Hypothesis, Segment, Transcript, Word
    from mlx_canary.verification import verify
    from mlx_canary.writers import (
        OutputError,
        OutputTarget,
        Provenance,
        SubtitleOptions,
        read_json,
        render,
        write_outputs,
    )

_HOMES = {
    "CANARY_MODELS": "registry",
    "Alternative": "types",
    "Audio": "types",
    "Boosting": "decoding.options",
    "CanaryModel": "model",
    "CanaryTokenizer": "text.tokenizer",
    "ConfidenceMethod": "decoding.confidence",
    "ConversionConfig": "conversion.config",
    "ConversionReport": "conversion.converter",
    "DecodingOptions": "decoding.options",
    "EncoderOutput": "types",
    "Features": "types",
    "Hypothesis": "types",
    "LanguageGuess": "decoding.language",
    "LanguageModel": "decoding.options",
    "Outcome": "model",
    "Phrase": "decoding.boosting",
    "Prompt": "text.prompt",
    "Provenance": "writers",
    "Segment": "types",
    "StreamingOptions": "streaming.options",
    "StreamingSession": "streaming.session",
    "OutputError": "writers",
    "OutputTarget": "writers",
    "SubtitleOptions": "writers",
    "Transcript": "types",
    "TranscriptionOptions": "requests",
    "TranscriptionQueue": "turns",
    "Update": "streaming.session",
    "Word": "types",
    "convert": "conversion.converter",
    "iter_audio": "audio.load",
    "load_audio": "audio.load",
    "read_json": "writers",
    "read_phrases": "decoding.boosting",
    "render": "writers",
    "verify": "verification",
    "write_outputs": "writers",
}

__all__ = [
    "CANARY_MODELS",
    "AlignmentError",
    "Alternative",
    "Audio",
    "AudioError",
    "BackendError",
    "Boosting",
    "CanaryError",
    "CanaryModel",
    "CanaryTokenizer",
    "CheckpointError",
    "ConfidenceMethod",
    "ConversionConfig",
    "ConversionError",
    "ConversionReport",
    "DecodingOptions",
    "EncoderOutput",
    "EvaluationError",
    "Features",
    "Hypothesis",
    "LanguageGuess",
    "LanguageModel",
    "ModelNotFoundError",
    "Outcome",
    "OutputError",
    "OutputTarget",
    "Phrase",
    "Prompt",
    "PromptError",
    "Provenance",
    "Segment",
    "ServerError",
    "StreamingOptions",
    "StreamingSession",
    "SubtitleOptions",
    "Transcript",
    "TranscriptionOptions",
    "TranscriptionQueue",
    "Update",
    "Word",
    "__version__",
    "convert",
    "iter_audio",
    "load_audio",
    "read_json",
    "read_phrases",
    "render",
    "verify",
    "write_outputs",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mlx_canary' has no attribute {name!r}")
    return getattr(importlib.import_module(f"mlx_canary.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
