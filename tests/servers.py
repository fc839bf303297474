"""A server in a process of its own, as `mlx-canary serve` starts it, for the tests that talk to one."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import threading
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from mlx_canary import load_audio

ROOT = Path(__file__).resolve().parents[1]
CLIPS = ROOT / "src/mlx_canary/demo/clips"
_PATIENCE = 300  # seconds for a server to start or to end


def spoken(seconds: float) -> bytes:
    """The long clip, over and over, as a WAV file."""
    audio, file = load_audio(CLIPS / "en_long.opus"), io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setparams((1, 2, audio.sample_rate, 0, "NONE", ""))
        samples = np.resize(audio.samples, round(seconds * audio.sample_rate))
        wav.writeframes(np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()


class Server:
    """One that runs.

    Attributes:
        url: Where.
        port: There.
        lines: What it wrote to stderr.
        process: Itself.
    """

    def __init__(self, *arguments: str, model: str = "demo", **environment: str) -> None:
        command = [sys.executable, "-m", "mlx_canary", "serve", "-m", model, "--port", "0", *arguments]
        variables = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **environment}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=variables)
        self.lines: list[str] = []
        self.url = ""
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._ready.wait(_PATIENCE), "the server did not start"
        assert self.url, "".join(self.lines)
        self.port = int(self.url.rpartition(":")[2])

    def _read(self) -> None:
        for line in self.process.stderr:
            self.lines.append(line)
            if found := re.search(r"Serving .* at (http://[\w.:\[\]]+)", line):
                self.url = found[1]
                self._ready.set()
        self._ready.set()

    def ask(self) -> None:
        """Ask it to end."""
        self.process.send_signal(signal.SIGTERM)

    def ended(self) -> int:
        """Wait for its end; its exit code."""
        code = self.process.wait(_PATIENCE)
        self._reader.join(_PATIENCE)
        self.process.stderr.close()
        return code


@contextmanager
def running(*arguments: str, **environment: str) -> Iterator[Server]:
    """A server for a while."""
    server = Server(*arguments, **environment)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
        server.ended()
