"""What a benchmark ran on: numbers without it mean little."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version

from mlx_canary import blas
from mlx_canary.backend import mx
from mlx_canary.version import __version__


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine with its versions.

    Attributes:
        mlx_canary, mlx, python: Versions.
        system: Operating system and processor kind.
        n_cpus: Processors that this process may use.
        device: Where MLX computes, by name.
        blas: NumPy's, which makes the matrix products on a CPU.
    """

    mlx_canary: str
    mlx: str
    python: str
    system: str
    n_cpus: int
    device: str
    blas: str


def this_machine() -> Machine:
    """The one that this runs on."""
    device_info = getattr(mx, "device_info", None)  # newer than the oldest MLX that will do
    info = device_info() if device_info else {}
    affinity = getattr(os, "sched_getaffinity", None)
    return Machine(
        mlx_canary=__version__,
        mlx=version("mlx"),
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        n_cpus=len(affinity(0)) if affinity else os.cpu_count() or 1,
        device=str(info.get("device_name", mx.default_device())),
        blas=blas.name(),
    )
