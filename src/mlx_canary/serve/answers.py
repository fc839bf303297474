"""A transcript in, the body of an answer out: OpenAI's shapes, and events while the text is being found."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from typing import Any

from fastapi import Response
from fastapi.responses import JSONResponse, PlainTextResponse

from mlx_canary.serve.forms import TranscriptionForm
from mlx_canary.text.languages import LANGUAGE_NAMES
from mlx_canary.types import Segment, Transcript
from mlx_canary.writers import render

_SUBTITLES = {"srt": "application/x-subrip", "vtt": "text/vtt"}
_SEEK = 100  # Whisper's frames in a second; `seek` counts them


def answer(transcript: Transcript, form: TranscriptionForm) -> Response:
    """The answer in the form's format."""
    if form.response_format == "text":
        return PlainTextResponse(f"{transcript.text}\n")
    if form.response_format in _SUBTITLES:
        text = render(transcript, form.response_format)
        return Response(text, media_type=f"{_SUBTITLES[form.response_format]}; charset=utf-8")
    return JSONResponse(body(transcript, form))


def body(transcript: Transcript, form: TranscriptionForm) -> dict[str, Any]:
    """The answer's JSON."""
    usage = {"type": "duration", "seconds": round(transcript.duration, 3)}
    short: dict[str, Any] = {"text": transcript.text, "usage": usage}
    if transcript.warnings:
        short["warnings"] = transcript.warnings
    return short if form.response_format != "verbose_json" else {**short, **_details(transcript, form)}


def _details(transcript: Transcript, form: TranscriptionForm) -> dict[str, Any]:
    spoken, written = transcript.source_lang, transcript.target_lang
    details: dict[str, Any] = {
        "task": "transcribe" if spoken == written else "translate",
        "language": LANGUAGE_NAMES.get(written, written).lower(),  # of the text, by the name that OpenAI's API has
        "duration": transcript.duration,
        "source_language": spoken,
        "target_language": written,
    }
    wanted = form.timestamp_granularities or ["segment"]
    if "segment" in wanted:
        details["segments"] = [
            _segment(number, segment, form.temperature) for number, segment in enumerate(_spoken(transcript.segments))
        ]
    if "word" in wanted:
        details["words"] = [{"word": w.text, "start": w.start, "end": w.end} for w in transcript.words]
    return details


def _spoken(segments: Iterable[Segment]) -> list[Segment]:
    """Those with a text: a silent window has none."""
    return [segment for segment in segments if segment.text]


def _segment(number: int, segment: Segment, temperature: float) -> dict[str, Any]:
    """A segment in Whisper's shape, whose clients take no null: what is not known is 0."""
    text = segment.text.encode()
    return {
        "id": number,
        "seek": round(segment.start * _SEEK),
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "tokens": list(segment.tokens),
        "temperature": temperature,
        "avg_logprob": segment.avg_logprob or 0.0,
        "compression_ratio": round(len(text) / len(zlib.compress(text)), 3),
        "no_speech_prob": segment.no_speech_prob or 0.0,
        "flags": list(segment.flags),
    }


def delta(segment: Segment, is_first: bool) -> dict[str, Any] | None:
    """The event that brings a segment's text; all deltas together are the text. None for a silent one."""
    if not segment.text:
        return None
    return {
        "type": "transcript.text.delta",
        "delta": segment.text if is_first else f" {segment.text}",
        "start": segment.start,
        "end": segment.end,
    }


def done(transcript: Transcript, form: TranscriptionForm) -> dict[str, Any]:
    """The last event."""
    return {"type": "transcript.text.done", **body(transcript, form)}


def as_event(data: dict[str, Any]) -> bytes:
    """A server-sent event."""
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
