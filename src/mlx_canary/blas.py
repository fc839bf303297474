"""NumPy's BLAS: which one it is, how many threads it has, and what it does with few rows."""

from __future__ import annotations

from functools import cache

import numpy as np
from threadpoolctl import ThreadpoolController

# OpenBLAS's kernels that multiply small matrices where they lie, without copying them into blocks, are for AVX-512.
_WITH_SMALL_PRODUCTS = {"SkylakeX", "Cooperlake", "SapphireRapids"}


def name() -> str:
    """Its name and version."""
    found = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{found['name']} {found['version']}"


def n_threads() -> int:
    """How many threads it uses for a product; `OPENBLAS_NUM_THREADS` in the environment limits them."""
    return max((library["num_threads"] for library in controller().info()), default=1)


@cache
def multiplies_small_in_place() -> bool:
    """Whether it reads a small matrix where it lies, and only once."""
    return any(library.get("architecture") in _WITH_SMALL_PRODUCTS for library in controller().info())


@cache
def controller() -> ThreadpoolController:
    """Reads and limits its threads."""
    return ThreadpoolController().select(user_api="blas")
