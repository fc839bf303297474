"""The one door to MLX: every other module takes `mx` and `nn` from here."""

from __future__ import annotations

import os
import sys

from mlx_canary.errors import BackendError

# How many operations CUDA is given at once: MLX's own number for most cards. For the newest it is 100, with which an
# H200 took 2.5 ms for a token of one text instead of 1.4 to 1.9: it begins late. It must be there before MLX is.
if sys.platform != "darwin":
    os.environ.setdefault("MLX_MAX_OPS_PER_BUFFER", "20")

try:
    import mlx.core as mx
    import mlx.nn as nn
except ImportError as error:
    # What our extras install, so that it works wherever this package came from.
    command = "pip install mlx" if sys.platform == "darwin" else "pip install 'mlx[cpu]'"
    also = "" if sys.platform == "darwin" else " (or 'mlx[cuda13]' on an NVIDIA GPU)"
    raise BackendError(f"MLX has no backend on this machine ({error}). Install one with: {command}{also}.") from error

__all__ = ["leave_thread", "mx", "nn"]


def leave_thread() -> None:
    """The last thing that a thread other than the main one does with MLX.

    MLX 0.32 aborts the process at its end where the streams of a thread that is gone still exist. Older versions have
    no streams of threads.
    """
    if hasattr(mx, "clear_streams"):
        mx.clear_streams()
