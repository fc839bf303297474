"""Memory on a Mac, which its GPU shares with everything else."""

from __future__ import annotations

import logging
import threading
from typing import cast

from mlx_canary.backend import mx

_log = logging.getLogger(__name__)
_MOST_KEPT = 2 << 30
_chosen = threading.Event()


def limit_memory(limit: int | None, kept: int | None) -> None:
    """Tell MLX how many bytes it should take, and how many of them it may keep for later use; None for its own limits.

    The first is a guideline: MLX waits or frees what it kept before it takes more. On a CPU it does neither.
    """
    if limit is not None:
        mx.set_memory_limit(limit)
        if mx.default_device().type == mx.cpu:
            _log.warning("--memory-limit has no effect on a CPU: MLX takes what it needs there.")
    if kept is not None:
        mx.set_cache_limit(kept)
        _chosen.set()


def bound_cache() -> None:
    """On a Mac let MLX keep at most 2 GB of what it got back, or an eighth of what its GPU should use; once is enough.

    MLX gives a kept buffer only to an array of nearly the same size, and by default keeps nearly all memory. Windows
    have dozens of lengths, and live sound another one every second. A limit by `limit_memory` stays, and so does one
    that is lower than what the GPU should use.
    """
    if _chosen.is_set() or not mx.metal.is_available():
        return
    usable = _usable()
    before = mx.set_cache_limit(min(_MOST_KEPT, usable // 8))
    if before < usable:  # MLX's own is higher
        mx.set_cache_limit(before)


def warn_of_size(n_bytes: int, dtype: mx.Dtype) -> None:
    """Say so where float32 weights fill a Mac."""
    if mx.metal.is_available() and dtype == mx.float32 and n_bytes > _usable() // 2:
        _log.warning(
            "The weights take %.1f GB in float32, and this Mac's GPU should use %.1f GB at most. "
            "--dtype float16, in Python dtype='float16', halves them.",
            n_bytes / 1e9,
            _usable() / 1e9,
        )


def _usable() -> int:
    # Before 0.30.4 it belonged to Metal.
    info = mx.device_info(mx.Device(mx.gpu)) if hasattr(mx, "device_info") else mx.metal.device_info()
    return cast(int, info["max_recommended_working_set_size"])
