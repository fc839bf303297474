"""What the peers' scripts share: cases come in on standard input, one JSON line for each goes out.

A script says which packages it needs (`REQUIREMENTS`), makes the checkpoint fit for its peer (`prepare`) and loads it
(`load`), which gives a function that hears a batch. Needs nothing but numpy: it runs in every peer's own environment.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
import time
import wave
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
Hear = Callable[[list[Samples], int], list[int]]
"""A batch of windows of one length and the number of tokens that each gets in; how many each got out."""

RATE = 16_000
TOKENS_PER_SECOND = 4
NEVER = -3e4
"""A head's bias far below any logit, and still a number in float16: special tokens have it, so that no text ends."""


def n_threads() -> int:
    """How many threads a peer may use: the driver says."""
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)


def read_wav(path: Path) -> Samples:
    """16-bit samples of one channel as (N,) float32."""
    with wave.open(str(path), "rb") as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768


def main(
    prepare: Callable[[Path, Path], None] | None, load: Callable[[Path, str], Hear], packages: Sequence[str]
) -> None:
    """`SCRIPT prepare CHECKPOINT FOLDER` or `SCRIPT run FOLDER PRECISION`, with cases on standard input."""
    if sys.argv[1] == "prepare":
        assert prepare is not None
        prepare(Path(sys.argv[2]), Path(sys.argv[3]))
        return
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever the peer prints is no answer
    # A peer that fails is a row of the table: what it says about it is the result.
    try:
        started = time.perf_counter()
        hear = load(Path(sys.argv[2]), sys.argv[3])
        print(json.dumps(about(packages) | {"load_seconds": time.perf_counter() - started}), file=answers)
        for line in sys.stdin:
            print(json.dumps(one_case(hear, json.loads(line))), file=answers)
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=answers)
        raise


def about(packages: Sequence[str]) -> dict[str, Any]:
    versions = {name: version(name) for name in packages}
    return {"versions": versions, "python": platform.python_version(), "threads": n_threads()}


def one_case(hear: Hear, case: dict[str, Any]) -> dict[str, Any]:
    """Hear all windows once, in batches, from samples in memory to texts.

    Raises:
        ValueError: A window got another number of tokens than the case says.
    """
    windows, size, counts = [read_wav(Path(path)) for path in case["windows"]], case["batch_size"], []
    started = time.perf_counter()
    for n in range(0, len(windows), size):
        counts += hear(windows[n : n + size], case["n_tokens"])
    seconds = time.perf_counter() - started
    if counts != [case["n_tokens"]] * len(windows):
        raise ValueError(f"The windows have {counts} tokens; each should have {case['n_tokens']}.")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"seconds": seconds, "peak_mb": round(peak / 1e6)}
