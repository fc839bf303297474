"""The one door to MLX: every other module takes `mx` and `nn` from here.

On Linux, MLX's CPU wheel carries an unoptimised BLAS. An OpenBLAS that is already in the global symbol scope when MLX
is first loaded takes its place (matrix products some 30 times faster on two cores), so it is loaded here, before MLX.
OpenBLAS chooses its kernels by the CPU's model number; for a CPU newer than itself it takes those that any x86-64 can
run, several times slower. So they are chosen here, by what the CPU says it can do.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from pathlib import Path

from mlx_canary.errors import BackendError

_OPENBLAS_NAMES = ("libopenblas.so.0", "libopenblasp.so.0", "libopenblas.so")
_CORETYPE = "OPENBLAS_CORETYPE"
# OpenBLAS's kernels, best first, and the CPU's flags that they need.
_KERNELS = (
    ("SkylakeX", {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}),
    ("Haswell", {"avx2", "fma"}),
)


def openblas_kernels(cpuinfo: str) -> str | None:
    """The kernels for a CPU that /proc/cpuinfo describes; None to leave the choice to OpenBLAS."""
    line = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    flags = set(line[1].split()) if line else set()
    return next((name for name, needed in _KERNELS if needed <= flags), None)


def _load_openblas() -> str | None:
    """Put OpenBLAS into the global symbol scope; its name, or None where there is none or it came too late."""
    if sys.platform != "linux" or "mlx.core" in sys.modules or os.environ.get("MLX_CANARY_BLAS") == "bundled":
        return None
    chosen = None if _CORETYPE in os.environ else _kernels_here()
    if chosen is not None:
        os.environ[_CORETYPE] = chosen
    try:
        return _load_first(_OPENBLAS_NAMES)
    finally:
        if chosen is not None:
            del os.environ[_CORETYPE]  # other libraries' OpenBLAS and other programs choose for themselves


def _kernels_here() -> str | None:
    try:
        return openblas_kernels(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None


def _load_first(names: tuple[str, ...]) -> str | None:
    for name in names:
        try:
            ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
        except OSError:
            continue
        return name
    return None


openblas = _load_openblas()

try:
    import mlx.core as mx
    import mlx.nn as nn
except ImportError as error:
    # What our extras install, so that it works wherever this package came from.
    command = "pip install mlx" if sys.platform == "darwin" else "pip install 'mlx[cpu]'"
    also = "" if sys.platform == "darwin" else " (or 'mlx[cuda13]' on an NVIDIA GPU)"
    raise BackendError(f"MLX has no backend on this machine ({error}). Install one with: {command}{also}.") from error

__all__ = ["leave_thread", "mx", "nn", "openblas", "openblas_kernels"]


def leave_thread() -> None:
    """The last thing that a thread other than the main one does with MLX.

    MLX 0.32 aborts the process at its end where the streams of a thread that is gone still exist. Older versions have
    no streams of threads.
    """
    if hasattr(mx, "clear_streams"):
        mx.clear_streams()
