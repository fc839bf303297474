"""A live session between two threads: sound and commands from the server in, events from the worker out.

The server's thread puts things to do in a line; in its turns the worker does them in order. Every item is a stretch of
sound with its text: it ends at a pause, or where the client says so.
"""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mlx_canary.errors import CanaryError
from mlx_canary.model import CanaryModel
from mlx_canary.serve.failures import FAULT
from mlx_canary.serve.realtime_events import (
    Session,
    TurnDetection,
    committed,
    completed,
    delta,
    draft,
    failed,
)
from mlx_canary.streaming.options import StreamingOptions
from mlx_canary.streaming.session import StreamingSession, Update
from mlx_canary.types import Audio

Tell = Callable[[dict[str, Any]], None]

_MOST_AT_ONCE = 1.0  # seconds of sound in one turn: others wait meanwhile


@dataclass(frozen=True, slots=True)
class Sound:
    """Samples (N,) float32 with their rate in Hz."""

    samples: npt.NDArray[np.float32]
    rate: int

    @property
    def seconds(self) -> float:
        """Their length."""
        return len(self.samples) / self.rate


@dataclass(frozen=True, slots=True)
class Configure:
    """Settings that were checked; if they are other ones, what is said until now is an item of its own."""

    session: Session
    answer: str


@dataclass(frozen=True, slots=True)
class Commit:
    """The item ends here."""

    event_id: str | None


@dataclass(frozen=True, slots=True)
class Clear:
    """Forget the sound since the last item."""


@dataclass(frozen=True, slots=True)
class Finish:
    """There is no more sound."""


Order = Sound | Configure | Commit | Clear | Finish


class LiveSession:
    """One session.

    Args:
        language: Spoken, where the client does not say.
        session: Its first settings.
        tell: Told of every event, on the worker's thread; an empty event after `Finish`.
    """

    def __init__(self, language: str | None, session: Session, tell: Tell) -> None:
        self._language, self._session, self._tell = language, session, tell
        self._orders: deque[Order] = deque()
        self._lock = threading.Lock()
        self._seconds = 0.0
        self._stream: StreamingSession | None = None
        self._begun = 0.0  # seconds of the session before the stream
        self._heard = 0.0  # seconds of the stream
        self._n_ended = 0  # segments of the stream that belong to items that have ended
        self._item: str | None = None
        self._previous: str | None = None
        self._told, self._draft = "", ""

    def put(self, order: Order) -> None:
        """Something to do; any thread."""
        with self._lock:
            self._orders.append(order)
            self._seconds += order.seconds if isinstance(order, Sound) else 0.0

    @property
    def waiting(self) -> bool:
        """Whether there is something to do."""
        return bool(self._orders)

    @property
    def n_waiting(self) -> int:
        """How many things there are to do."""
        return len(self._orders)

    @property
    def seconds_waiting(self) -> float:
        """Sound that was not heard yet."""
        return self._seconds

    def turn(self, model: CanaryModel) -> None:
        """Do what is first in the line, up to the next sound and with a second of it; on the worker's thread."""
        while self._orders:
            order = self._next()
            self._do(model, order)
            if isinstance(order, Sound):
                return

    def _do(self, model: CanaryModel, order: Order) -> None:
        try:
            if isinstance(order, Sound):
                self._hear(model, order)
            elif isinstance(order, Configure):
                self._configure(order)
            elif isinstance(order, Commit):
                self._commit(order)
            elif isinstance(order, Clear):
                self._drop()
                self._tell({"type": "input_audio_buffer.cleared"})
            else:
                self._end_stream()
                self._tell({})
        except CanaryError as error:
            self._tell(failed("invalid_option", str(error), getattr(order, "event_id", None)))

    def fail(self) -> None:
        """The session cannot go on."""
        self._tell(failed("internal_error", FAULT))
        self._tell({})

    def _next(self) -> Order:
        with self._lock:
            order = self._orders.popleft()
            if isinstance(order, Sound):
                order = self._joined(order)
                self._seconds -= order.seconds
            return order

    def _joined(self, first: Sound) -> Sound:
        """With the sound that follows it, up to as much as is heard in a turn: clients send it in small pieces."""
        parts, left = [first.samples], round(_MOST_AT_ONCE * first.rate) - len(first.samples)
        while left > 0 and self._orders:
            following = self._orders[0]
            if not isinstance(following, Sound) or following.rate != first.rate:
                break
            parts.append(following.samples)
            left -= len(following.samples)
            self._orders.popleft()
        samples = np.concatenate(parts)
        if left < 0:
            self._orders.appendleft(replace(first, samples=samples[left:]))
            samples = samples[:left]
        return replace(first, samples=samples)

    def _hear(self, model: CanaryModel, sound: Sound) -> None:
        if self._stream is None:
            self._stream = self._open(model, self._session)
        self._heard += sound.seconds
        self._report(self._stream.add_audio(Audio(sound.samples, sound.rate)))

    def check(self, model: CanaryModel, session: Session) -> None:
        """Refuse settings that the model cannot follow; any thread, because nothing is computed.

        Raises:
            PromptError: It does not have that language or option, or the prompt is too long.
        """
        self._open(model, session)

    def _open(self, model: CanaryModel, session: Session) -> StreamingSession:
        asked, detection = session.audio.input.transcription, session.audio.input.turn_detection
        options = StreamingOptions() if detection is None else StreamingOptions(pause=_pause(detection))
        return model.stream(
            language=asked.language or self._language,
            target_lang=asked.target_language or None,
            pnc=asked.pnc,
            itn=asked.itn,
            context=asked.prompt,
            options=options,
        )

    def _configure(self, order: Configure) -> None:
        if self._heard and order.session != self._session:
            self._end_stream()
        self._session = order.session
        self._tell({"type": order.answer, "session": order.session.model_dump()})

    def _commit(self, order: Commit) -> None:
        if not self._heard:
            code = "input_audio_buffer_commit_empty"
            self._tell(failed(code, "There is no sound since the last commit. Append some first.", order.event_id))
            return
        self._end_stream(always=True)

    def _drop(self) -> None:
        self._begun += self._heard
        self._stream, self._heard, self._n_ended = None, 0.0, 0
        self._item, self._told, self._draft = None, "", ""

    def _end_stream(self, always: bool = False) -> None:
        """The whole text of what was heard; an item even without a text, if somebody waits for one."""
        if self._stream is not None:
            transcript = self._stream.finish()
            before = self._previous
            self._report(Update(transcript.text, ""))
            if self._session.audio.input.turn_detection is None and (transcript.text or always):
                self._complete(transcript.text, 0.0, transcript.duration)
            elif always and self._previous == before:
                self._complete("", 0.0, transcript.duration)
        self._drop()

    def _report(self, update: Update) -> None:
        """Tell what is new, items that have ended first."""
        assert self._stream is not None
        text = update.committed
        if self._session.audio.input.turn_detection is not None:
            ended = self._stream.segments
            for segment in ended[self._n_ended :]:
                self._complete(segment.text, segment.start, segment.end)
            self._n_ended = len(ended)
            text = text[len(" ".join(segment.text for segment in ended)) :].strip()
        self._tell_text(text, update.draft)

    def _tell_text(self, text: str, uncertain: str) -> None:
        if not text and not uncertain and not self._draft:
            return
        item = self._begin_item()
        if len(text) > len(self._told):
            self._tell(delta(item, text[len(self._told) :]))
            self._told = text
        if uncertain != self._draft:
            self._tell(draft(item, uncertain))
            self._draft = uncertain

    def _begin_item(self) -> str:
        if self._item is None:
            self._item = f"item_{secrets.token_hex(10)}"
        return self._item

    def _complete(self, text: str, start: float, end: float) -> None:
        item = self._begin_item()
        self._tell(committed(item, self._previous))
        self._tell_text(text, "")
        self._tell(completed(item, text, self._begun + start, self._begun + end))
        self._item, self._previous, self._told, self._draft = None, item, "", ""


def _pause(detection: TurnDetection) -> float:
    return detection.silence_duration_ms / 1000
