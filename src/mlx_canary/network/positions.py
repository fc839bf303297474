"""Relative positions as a layer's weights project them, kept: they depend on nothing that is heard.

An offset's row is the same for every length, so a table that reaches as far as the longest recording so far serves all
shorter ones.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

from mlx_canary.backend import mx

# Offsets that are projected at once: always the same ones together, so that a row's bits don't tell what came before.
_BLOCK = 64
# Offsets that are kept to each side, 41 s: 35 MB for canary-180m-flash in float32, 134 MB for canary-1b-flash.
_MOST_KEPT = 512


def relative_positions(first: int, last: int, d_model: int) -> mx.array:
    """Sines and cosines, interleaved, for the offsets first, first - 1, ... last: (first - last + 1, D) float32."""
    frequencies = mx.exp(mx.arange(0, d_model, 2, dtype=mx.float32) * (-math.log(10000.0) / d_model))
    angles = mx.arange(first, last - 1, -1, dtype=mx.float32)[:, None] * frequencies
    return mx.stack([mx.sin(angles), mx.cos(angles)], axis=-1).reshape(-1, d_model)


class ProjectedPositions:
    """The table of one layer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._weight: mx.array | None = None
        self._rows: mx.array | None = None
        self._reach = 0  # rows are of the offsets reach - 1, reach - 2, ... -reach

    def __call__(
        self, first: int, last: int, d_model: int, weight: mx.array, project: Callable[[mx.array], mx.array]
    ) -> mx.array:
        """The projected offsets first, first - 1, ... last: (first - last + 1, D).

        Args:
            first: At least 0.
            last: At most 0.
            d_model: Width of the positions.
            weight: What is kept belongs to it: another one's table is made anew.
            project: The layer, (N, D) -> (N, D).
        """
        reach = max(first, -last) + 1
        if reach > _MOST_KEPT:
            return project(relative_positions(first, last, d_model))
        with self._lock:
            if self._weight is not weight:
                self._weight, self._rows, self._reach = weight, None, 0
            while self._reach < reach:
                self._grow(d_model, project)
            assert self._rows is not None
            return self._rows[self._reach - 1 - first : self._reach - last]

    def _grow(self, d_model: int, project: Callable[[mx.array], mx.array]) -> None:
        near, far = self._reach, self._reach + _BLOCK
        before = project(relative_positions(far - 1, near, d_model))
        after = project(relative_positions(-near - 1, -far, d_model))
        self._rows = mx.concatenate([before, *([] if self._rows is None else [self._rows]), after])
        mx.eval(self._rows)  # for other threads, which cannot compute what this one has begun
        self._reach = far
