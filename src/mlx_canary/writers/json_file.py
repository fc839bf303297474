"""JSON: a Transcript in, a document of a known schema out, and back.

The schema is transcript.schema.json beside this file; docs/json.md explains it.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from os import PathLike, fspath
from typing import Any

from mlx_canary.types import Alternative, Segment, Transcript, Word
from mlx_canary.version import __version__
from mlx_canary.writers.errors import OutputError
from mlx_canary.writers.options import Provenance

SCHEMA_VERSION = 1
"""Raised when a document that an older reader would misread becomes possible; new keys alone do not raise it."""


def write_json(transcript: Transcript, provenance: Provenance) -> str:
    """The whole text in one language, keys always in the same order. Translations are documents of their own.

    Raises:
        OutputError: A time is not finite, or an option is nothing that JSON can hold.
    """
    return json.dumps(_document(transcript, provenance), ensure_ascii=False, allow_nan=False, indent=2) + "\n"


def read_json(text: str) -> Transcript:
    """The Transcript that `write_json` wrote, without translations; keys it does not know are passed over.

    Raises:
        OutputError: The text is not such a document, or of a newer schema.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise OutputError(f"This is not JSON ({error}). A file that the json format wrote is needed.") from error
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version != SCHEMA_VERSION:
        raise OutputError(
            f"schema_version is {version!r}, expected {SCHEMA_VERSION}. Another program or version wrote it."
        )
    try:
        return _read(document)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise OutputError(f"The JSON transcript is incomplete or damaged ({type(error).__name__}: {error}).") from error


def _document(transcript: Transcript, provenance: Provenance) -> dict[str, object]:
    return {
        "schema_version": SCHEMA_VERSION,
        "generator": {"name": "mlx-canary", "version": __version__},
        "model": provenance.model,
        "options": _plain(provenance.options, "options"),
        "source_lang": transcript.source_lang,
        "target_lang": transcript.target_lang,
        "duration": _number(transcript.duration, "duration"),
        "warnings": [*provenance.warnings, *transcript.warnings],
        "text": transcript.text,
        "segments": [_segment(segment, f"segments[{n}]") for n, segment in enumerate(transcript.segments)],
    }


def _segment(segment: Segment, where: str) -> dict[str, object]:
    return {
        **_span(segment, where),
        "flags": list(segment.flags),
        "tokens": list(segment.tokens),
        "avg_logprob": _finite(segment.avg_logprob),
        "no_speech_prob": _finite(segment.no_speech_prob),
        "n_best": [
            {"text": one.text, "score": _number(one.score, f"{where}.n_best[{n}].score")}
            for n, one in enumerate(segment.n_best)
        ],
        "words": [_span(word, f"{where}.words[{n}]") for n, word in enumerate(segment.words)],
    }


def _span(span: Segment | Word, where: str) -> dict[str, object]:
    return {
        "start": _number(span.start, f"{where}.start"),
        "end": _number(span.end, f"{where}.end"),
        "text": span.text,
        "confidence": _confidence(span.confidence),
    }


def _confidence(value: float | None) -> float | None:
    """From 0 to 1 whatever rounding left; what is no number is not known, and no reason to lose a transcript."""
    return None if value is None or math.isnan(value) else min(max(float(value), 0.0), 1.0)


def _finite(value: float | None) -> float | None:
    """What is no number is not known, as above."""
    return float(value) if value is not None and math.isfinite(value) else None


def _number(value: float, where: str) -> float:
    """A plain number: NumPy's are not for JSON, and neither are NaN and infinity."""
    if not math.isfinite(value):
        raise OutputError(f"{where} is {value!r}. JSON holds finite numbers only.")
    return float(value)


def _plain(value: object, where: str) -> object:
    """Options as JSON holds them."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Real):  # also NumPy's numbers
        return int(value) if isinstance(value, Integral) else _number(float(value), where)
    if isinstance(value, PathLike):
        return str(fspath(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name), f"{where}.{field.name}")
            for field in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, bytes):
        items = value if isinstance(value, Sequence) else sorted(value, key=str)
        return [_plain(item, f"{where}[{n}]") for n, item in enumerate(items)]
    raise OutputError(f"{where} is a {type(value).__name__}, which JSON cannot hold.")


def _read(document: Mapping[str, Any]) -> Transcript:
    segments = tuple(
        Segment(
            words=tuple(Word(**_fields(word)) for word in segment["words"]),
            flags=tuple(segment["flags"]),
            tokens=tuple(map(int, segment["tokens"])),
            avg_logprob=_float(segment["avg_logprob"]),
            no_speech_prob=_float(segment["no_speech_prob"]),
            n_best=tuple(Alternative(str(one["text"]), float(one["score"])) for one in segment["n_best"]),
            **_fields(segment),
        )
        for segment in document["segments"]
    )
    return Transcript(
        segments,
        document["source_lang"],
        document["target_lang"],
        float(document["duration"]),
        warnings=tuple(map(str, document["warnings"])),
    )


def _fields(span: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "text": str(span["text"]),
        "start": float(span["start"]),
        "end": float(span["end"]),
        "confidence": _float(span["confidence"]),
    }


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)
