"""The events of a live session as values: what a client may send, checked, and what it is sent.

The shapes are those of OpenAI's Realtime API for transcription, both of its versions; the draft is ours.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

RATE = 24_000
"""Samples a second of OpenAI's pcm16."""

_PREFIX = "conversation.item.input_audio_transcription"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Transcription(_Part):
    """What is wanted of the text."""

    model: str | None = Field(default=None, max_length=256)
    language: str | None = Field(default=None, max_length=32)
    prompt: str = Field(default="", max_length=4000)
    target_language: str | None = Field(default=None, max_length=32)
    pnc: bool = True
    itn: bool = False


class TurnDetection(_Part):
    """When an item ends by itself. How loud speech is, is found out: the last two have OpenAI's values."""

    type: Literal["server_vad"] = "server_vad"
    silence_duration_ms: int = Field(default=600, ge=100, le=60_000)
    threshold: float | None = Field(default=None, ge=0.5, le=0.5)
    prefix_padding_ms: int | None = Field(default=None, ge=300, le=300)


class AudioFormat(_Part):
    """Samples of 16 bits, little-endian, one channel."""

    type: Literal["audio/pcm"] = "audio/pcm"
    rate: int = Field(default=RATE, ge=8_000, le=96_000)


class _Input(_Part):
    format: AudioFormat = AudioFormat()
    transcription: Transcription = Transcription()
    turn_detection: TurnDetection | None = TurnDetection()
    noise_reduction: None = None


class _Audio(_Part):
    input: _Input = _Input()


class Session(_Part):
    """A session's settings, in the newer shape."""

    type: Literal["transcription"] = "transcription"
    audio: _Audio = _Audio()
    include: list[str] = Field(default_factory=list, max_length=0)


class _OldSession(_Part):
    input_audio_format: Literal["pcm16"] = "pcm16"
    input_audio_transcription: Transcription = Transcription()
    turn_detection: TurnDetection | None = TurnDetection()
    input_audio_noise_reduction: None = None
    include: list[str] = Field(default_factory=list, max_length=0)


class _Event(_Part):
    event_id: str | None = Field(default=None, max_length=512)


class SessionUpdate(_Event):
    """Settings for what comes; those that are not named stay as they are."""

    type: Literal["session.update"]
    session: Session


class OldSessionUpdate(_Event):
    """The same in the older shape."""

    type: Literal["transcription_session.update"]
    session: _OldSession


class Append(_Event):
    """More sound, base64."""

    type: Literal["input_audio_buffer.append"]
    audio: str


class Commit(_Event):
    """The item ends here."""

    type: Literal["input_audio_buffer.commit"]


class Clear(_Event):
    """The sound since the last item is to be forgotten."""

    type: Literal["input_audio_buffer.clear"]


ClientEvent = SessionUpdate | OldSessionUpdate | Append | Commit | Clear
CLIENT_EVENT: TypeAdapter[ClientEvent] = TypeAdapter(Annotated[ClientEvent, Field(discriminator="type")])


def merged(before: Session, event: SessionUpdate | OldSessionUpdate) -> Session:
    """The settings after an event: what it does not name stays as it was."""
    given = event.session.model_dump(exclude_unset=True)
    if isinstance(event, OldSessionUpdate):
        given = _new_shape(given)
    return Session.model_validate(_with(before.model_dump(), given))


def _with(before: Any, given: Any) -> Any:
    """A value after another was given for it; of two objects, name by name."""
    if not (isinstance(before, dict) and isinstance(given, dict)):
        return given
    return {**before, **{name: _with(before.get(name), value) for name, value in given.items()}}


def _new_shape(old: dict[str, Any]) -> dict[str, Any]:
    """Settings of the older shape in the newer one."""
    names = {"input_audio_transcription": "transcription", "turn_detection": "turn_detection"}
    settings = {new: old[name] for name, new in names.items() if name in old}
    if "input_audio_format" in old:
        settings["format"] = AudioFormat().model_dump()
    return {"audio": {"input": settings}}


def delta(item_id: str, text: str) -> dict[str, Any]:
    """Text that will not change, following the deltas before it."""
    return {"type": f"{_PREFIX}.delta", "item_id": item_id, "content_index": 0, "delta": text}


def draft(item_id: str, text: str) -> dict[str, Any]:
    """Ours: what follows the deltas for the moment; every draft takes the place of the one before."""
    return {"type": f"{_PREFIX}.draft", "item_id": item_id, "content_index": 0, "draft": text}


def committed(item_id: str, previous: str | None) -> dict[str, Any]:
    """An item has ended."""
    return {"type": "input_audio_buffer.committed", "item_id": item_id, "previous_item_id": previous}


def completed(item_id: str, text: str, start: float, end: float) -> dict[str, Any]:
    """The whole text of an item; its times count from the session's beginning, and are ours."""
    return {
        "type": f"{_PREFIX}.completed",
        "item_id": item_id,
        "content_index": 0,
        "transcript": text,
        "start": start,
        "end": end,
        "usage": {"type": "duration", "seconds": round(end - start, 3)},
    }


def failed(code: str, message: str, event_id: str | None = None, param: str | None = None) -> dict[str, Any]:
    """Something was wrong; the session goes on."""
    kind = "server_error" if code == "internal_error" else "invalid_request_error"
    error = {"type": kind, "code": code, "message": message, "param": param, "event_id": event_id}
    return {"type": "error", "error": error}
