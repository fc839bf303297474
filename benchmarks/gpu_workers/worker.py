"""What both programs' processes share: cases come in on standard input, one JSON line for each goes out.

Nothing here knows either program; numpy is all it needs.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "peers"))
from common import RATE, TOKENS_PER_SECOND, Samples

N_PROMPT = 10


class Subject(Protocol):
    """A model in memory."""

    def adjust(self, frames: int) -> None:
        """How many feature frames the encoder hears at once, 0 for the program's own choice."""

    def hear(self, batch: list[Samples], n_tokens: int, how: str) -> list[int]:
        """Samples in memory to token ids on the host: how many each window got."""

    def stages(self, batch: list[Samples], n_tokens: int) -> dict[str, float]:
        """Seconds of features, encoder and decoder, each waited for."""

    def peak_bytes(self) -> int:
        """Memory on the GPU since the last call."""


Load = Callable[[str, str], Subject]


def sound(seconds: int, n_windows: int) -> list[Samples]:
    """Noise that swells and pauses as syllables do, the same for everybody."""
    rng, at = np.random.default_rng(0), np.arange(seconds * RATE) / RATE
    loudness = 0.1 * np.abs(np.sin(2 * np.pi * 2 * at)) * (np.sin(2 * np.pi * at / 3) > -0.8)
    return [(rng.standard_normal(len(at), np.float32) * loudness).astype(np.float32) for _ in range(n_windows)]


def serve(load: Load, about: dict[str, Any]) -> None:
    """Do what the driver asks until it closes the pipe. What fails is an answer too: the table lists it."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever the libraries print is no answer
    print(json.dumps(about), file=answers)
    subject: Subject | None = None
    for line in sys.stdin:
        asked = json.loads(line)
        started = time.perf_counter()
        try:
            if "model" in asked:
                subject = None  # its memory first
                subject = load(asked["model"], asked["dtype"])
                answer: dict[str, Any] = {"load_seconds": time.perf_counter() - started}
            else:
                assert subject is not None
                answer = measure(subject, asked)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        print(json.dumps(answer | {"wall_seconds": time.perf_counter() - started}), file=answers)


def measure(subject: Subject, case: dict[str, Any]) -> dict[str, Any]:
    """One case: a pass to warm up, then as many as asked, fewer if they would take too long.

    Raises:
        ValueError: A window got another number of tokens than it should.
    """
    seconds, n_windows, how = case["seconds"], case["batch"], case["how"]
    batch, n_tokens = sound(seconds, n_windows), TOKENS_PER_SECOND * seconds
    subject.adjust(case["frames"])
    subject.peak_bytes()

    def once() -> float:
        started = time.perf_counter()
        counts = subject.hear(batch, n_tokens, how)
        passed = time.perf_counter() - started
        if counts != [n_tokens] * n_windows:
            raise ValueError(f"The windows have {sorted(set(counts))} tokens; each should have {n_tokens}.")
        return passed

    began = time.perf_counter()
    first = once()
    again = lambda: time.perf_counter() - began < case["most_seconds"]  # noqa: E731
    if again():
        once()
    times = [once()]
    while len(times) < case["repeats"] and again():
        times.append(once())
    passes = [subject.stages(batch, n_tokens)] if how == "direct" else []
    if passes and again():
        passes.append(subject.stages(batch, n_tokens))
    return {
        "first_seconds": first,
        "seconds": statistics.median(times),
        "least": min(times),
        "most": max(times),
        "repeats": len(times),
        "rtfx": seconds * n_windows / statistics.median(times),
        "stages": {name: min(one[name] for one in passes) for name in passes[0]} if passes else None,
        "peak_mb": round(subject.peak_bytes() / 1e6),
    }


def kernels(run: Callable[[], object], n_rows: int = 30) -> dict[str, Any]:
    """What a GPU does while something runs, by PyTorch's profiler: it sees every kernel of the process."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    on_gpu = torch.cuda.is_available()
    kind = ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU
    if on_gpu:
        torch.zeros(1, device="cuda")
    with profile(activities=[kind]) as seen:
        started = time.perf_counter()
        run()
        passed = time.perf_counter() - started
    rows = [
        (row.key, row.count, row.self_device_time_total if on_gpu else row.self_cpu_time_total)
        for row in seen.key_averages()
    ]
    rows.sort(key=lambda row: -row[2])
    return {
        "seconds": passed,
        "gpu_seconds": sum(row[2] for row in rows) / 1e6,
        "launches": sum(row[1] for row in rows),
        "kernels": [{"name": name[:110], "count": n, "ms": us / 1e3} for name, n, us in rows[:n_rows]],
    }
