"""The choice of OpenBLAS's kernels."""

import subprocess
import sys
from pathlib import Path

import pytest

from mlx_canary.backend import openblas, openblas_kernels

AVX512 = "avx512f avx512cd avx512bw avx512dq avx512vl"


def described(flags: str) -> str:
    return f"processor\t: 0\nmodel name\t: Some CPU (avx2)\nflags\t\t: fpu sse2 {flags}\nbugs\t\t:\n\nprocessor\t: 1\n"


@pytest.mark.parametrize(
    ("cpuinfo", "kernels"),
    [
        (described(f"fma avx2 {AVX512}"), "SkylakeX"),
        (described("fma avx2 avx512f"), "Haswell"),
        (described("fma avx2"), "Haswell"),
        (described("avx2"), None),
        (described(""), None),
        ("processor\t: 0\nFeatures\t: fp asimd\n", None),
        ("", None),
    ],
)
def test_kernels_follow_the_flags(cpuinfo, kernels):
    assert openblas_kernels(cpuinfo) == kernels


@pytest.mark.skipif(openblas is None, reason="OpenBLAS is not installed")
@pytest.mark.parametrize("asked", [None, "Prescott"])
def test_openblas_uses_them_unless_told_otherwise(asked, monkeypatch):
    """OpenBLAS 0.3.21 took an Emerald Rapids for a Prescott: the encoder needed twice the time."""
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    if asked:
        monkeypatch.setenv("OPENBLAS_CORETYPE", asked)
    code = "import os; from mlx_canary.doctor import openblas_core; "
    code += "print(openblas_core(), os.environ.get('OPENBLAS_CORETYPE'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    core, left = done.stdout.split()
    expected = asked or openblas_kernels(Path("/proc/cpuinfo").read_text())
    if expected is None:
        pytest.skip("OpenBLAS chooses for this CPU")
    assert (core, left) == (expected, str(asked))
