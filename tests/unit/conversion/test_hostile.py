"""Hostile files are refused in words, and nothing else happens. The cases are in hostile.py."""

import contextlib
import gzip
import pickle
import tracemalloc
from pathlib import Path

import builders as b
import pytest
from hostile import CASES, SENTINEL, Case
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlx_canary.conversion.nemo import open_nemo
from mlx_canary.errors import ConversionError


def everything_below(folder: Path) -> dict[str, object]:
    return {str(path): path.is_file() and path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_refused_in_words_with_no_effect(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is executed, nothing is written, and no memory is taken because a header says so."""
    (tmp_path / "in").mkdir()
    path = case.build(tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    before = everything_below(tmp_path)
    tracemalloc.start()
    with pytest.raises(ConversionError, match=case.words):
        open_nemo(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert everything_below(tmp_path) == before
    assert peak < 64 << 20


def test_the_attacks_are_live(tmp_path: Path) -> None:
    """The same payload does act in the standard library's unpickler, so refusing it means something."""
    target = tmp_path / SENTINEL
    pickle.loads(b"\x80\x02" + b.call(b.named("os", "mkdir"), b.text(str(target))) + b".")
    assert target.exists()


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    """A download can stop anywhere. Only the padding after the end mark may be missing."""
    whole = b.tar(b.members())
    for length in range(0, len(whole.rstrip(b"\0")), 97):
        (tmp_path / "cut.nemo").write_bytes(whole[:length])
        with pytest.raises(ConversionError):
            open_nemo(tmp_path / "cut.nemo")


def test_every_truncated_gzip_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(b.tar(b.members()), mtime=0)
    for length in range(0, len(whole), 41):
        (tmp_path / "cut.nemo").write_bytes(whole[:length])
        with pytest.raises(ConversionError):
            open_nemo(tmp_path / "cut.nemo")


WHOLE = b.tar(b.members())
# Where every byte matters: the tar headers, the configuration, and the zip with its pickle.
POSITIONS = st.integers(0, len(WHOLE.rstrip(b"\0")) - 1)
FLIPS = st.lists(st.tuples(POSITIONS, st.integers(0, 255)), min_size=1, max_size=4)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FLIPS)
def test_damage_gives_a_checkpoint_or_a_conversion_error(tmp_path: Path, flips: list[tuple[int, int]]) -> None:
    """Whatever bytes change, nothing but ConversionError comes out, in reading the tensors too."""
    damaged = bytearray(WHOLE)
    for position, value in flips:
        damaged[position] = value
    open_and_read(tmp_path, bytes(damaged))


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(2, len(b.simple_pickle()) - 1), st.integers(0, 255)), max_size=6))
def test_damaged_pickles_give_tensors_or_a_conversion_error(tmp_path: Path, flips: list[tuple[int, int]]) -> None:
    """The same inside the pickle, where the sums of the archives would hide most damage."""
    pickled = bytearray(b.simple_pickle())
    for position, value in flips:
        pickled[position] = value
    open_and_read(tmp_path, b.tar(b.members(weights=b.torch_zip(bytes(pickled)))))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text("ab:-[]{}&*!|>'\"#%@`?, \n${}.0123456789e", max_size=200))
def test_odd_configurations_give_a_conversion_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConversionError):
        open_nemo(b.nemo(tmp_path / "odd.nemo", config=text.encode()))


def open_and_read(folder: Path, content: bytes) -> None:
    path = folder / "damaged.nemo"
    # Bytes of an earlier example may still be mapped: a new file, not a new content.
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    with contextlib.suppress(ConversionError), open_nemo(path) as checkpoint:
        for tensor in checkpoint.tensors.values():
            assert tensor.read().shape == tensor.shape
