"""The one door to MLX: every other module takes `mx` and `nn` from here.

On Linux, MLX's CPU wheel carries an unoptimised BLAS. An OpenBLAS that is already in the global symbol scope when MLX
is first loaded takes its place (matrix products some 30 times faster on two cores), so it is loaded here, before MLX.
"""

from __future__ import annotations

import ctypes
import os
import sys

from mlx_canary.errors import BackendError

_OPENBLAS_NAMES = ("libopenblas.so.0", "libopenblasp.so.0", "libopenblas.so")


def _load_openblas() -> str | None:
    """Put OpenBLAS into the global symbol scope; its name, or None where there is none or it came too late."""
    if sys.platform != "linux" or "mlx.core" in sys.modules or os.environ.get("MLX_CANARY_BLAS") == "bundled":
        return None
    for name in _OPENBLAS_NAMES:
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

__all__ = ["leave_thread", "mx", "nn", "openblas"]


def leave_thread() -> None:
    """The last thing that a thread other than the main one does with MLX.

    MLX 0.32 aborts the process at its end where the streams of a thread that is gone still exist. Older versions have
    no streams of threads.
    """
    if hasattr(mx, "clear_streams"):
        mx.clear_streams()
