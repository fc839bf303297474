"""What the parts of one running server share."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import cast

from starlette.requests import HTTPConnection

from mlx_canary.errors import PromptError
from mlx_canary.model import CanaryModel
from mlx_canary.requests import default_language
from mlx_canary.serve.admission import Admission
from mlx_canary.serve.metrics import Metrics
from mlx_canary.serve.settings import Settings
from mlx_canary.serve.sound import SoundReader
from mlx_canary.serve.worker import Worker


@dataclass(eq=False)
class State:
    """The parts.

    Attributes:
        settings: As the server was set up.
        model: Of which only configuration, fingerprint and tokenizer may be used outside the worker's thread.
        worker: Its thread.
        sound: Decodes uploads.
        requests: Requests in work or waiting.
        lives: Live sessions.
        metrics: What is counted.
        stopping: Set when the server is about to end.
        started: When the server was, in seconds since 1970.
    """

    settings: Settings
    model: CanaryModel
    worker: Worker
    sound: SoundReader
    requests: Admission
    lives: Admission
    metrics: Metrics
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    started: float = field(default_factory=time.time)

    @property
    def model_id(self) -> str:
        """The name that requests call the model by."""
        return self.model.config.name

    @property
    def default_language(self) -> str | None:
        """The language that is spoken where a request does not say; None where the model has several and no default."""
        try:
            return self.settings.language or default_language(self.model.config)
        except PromptError:
            return None


def state_of(connection: HTTPConnection) -> State:
    """The state of the server that a request came to."""
    return cast(State, connection.app.state.canary)
