"""How MLX is told to work, which it reads once: each case is a process of its own."""

import os
import subprocess
import sys

import pytest

NAMES = ("MLX_MAX_OPS_PER_BUFFER", "MLX_MAX_MB_PER_BUFFER")
PROGRAM = f"import mlx_canary.backend, os; print(*(os.environ.get(name) for name in {NAMES}))"


def limits(**given: str) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if name not in NAMES} | given
    return subprocess.check_output([sys.executable, "-c", PROGRAM], env=environment, text=True).split()


@pytest.mark.skipif(sys.platform == "darwin", reason="Metal's own numbers stay")
def test_work_is_given_in_small_lots():
    assert limits() == ["20", "4000"]


def test_what_a_person_has_set_stays():
    assert limits(MLX_MAX_OPS_PER_BUFFER="7", MLX_MAX_MB_PER_BUFFER="99") == ["7", "99"]
