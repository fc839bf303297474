"""How MLX is told to work, which it reads once: each case is a process of its own."""

import os
import subprocess
import sys

import pytest

NAME = "MLX_MAX_OPS_PER_BUFFER"
PROGRAM = f"import mlx_canary.backend, os; print(os.environ.get('{NAME}'))"


def limit(**given: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != NAME} | given
    return subprocess.check_output([sys.executable, "-c", PROGRAM], env=environment, text=True).strip()


@pytest.mark.skipif(sys.platform == "darwin", reason="Metal's own number stays")
def test_work_is_given_in_small_lots():
    assert limit() == "20"


def test_what_a_person_has_set_stays():
    assert limit(MLX_MAX_OPS_PER_BUFFER="7") == "7"
