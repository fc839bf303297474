"""Peak memory of this process and of MLX in it. Knows nothing about what is measured."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from mlx_canary.backend import mx

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reset_peaks() -> None:
    """Begin anew. Only Linux lets a process forget its own peak; elsewhere that one counts from the process's start."""
    mx.clear_cache()
    mx.reset_peak_memory()
    try:
        _CLEAR.write_text("5", encoding="ascii")
    except OSError:
        return


def process_peak_bytes() -> int:
    """Most memory that the process held."""
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def mlx_peak_bytes() -> int:
    """Most memory that MLX's arrays held."""
    return int(mx.get_peak_memory())
