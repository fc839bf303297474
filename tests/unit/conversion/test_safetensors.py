"""Safetensors: what is written is read, and a header that lies is found out before it is believed."""

import json
import tracemalloc

import numpy as np
import pytest

from mlx_canary.backend import mx
from mlx_canary.conversion import safetensors
from mlx_canary.errors import CheckpointError


def packed(header, contents=b"\0" * 16, length=None):
    """A file with a header of our choice."""
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(encoded) if length is None else length).to_bytes(8, "little") + encoded + contents


def entry(dtype="F32", shape=(2, 2), data_offsets=(0, 16), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(data_offsets), **more}


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.bfloat16, mx.uint32])
def test_what_is_written_is_read(dtype, tmp_path):
    """By ourselves and by MLX, empty and odd shapes included."""
    arrays = {
        "matrix": mx.array(np.arange(6).reshape(2, 3)).astype(dtype),
        "odd": mx.array([1, 2, 3]).astype(dtype),
        "ünï.codé \"'\\": mx.array(7).astype(dtype),
    }
    layout = {name: (array.shape, dtype) for name, array in arrays.items()}
    safetensors.write(tmp_path / "x.safetensors", iter(arrays.items()), layout)
    read, by_mlx = safetensors.read(tmp_path / "x.safetensors"), mx.load(str(tmp_path / "x.safetensors"))
    assert set(read) == set(by_mlx) == set(arrays)
    for name, array in arrays.items():
        assert mx.array_equal(by_mlx[name], array).item()
        assert by_mlx[name].dtype == dtype
        np.testing.assert_array_equal(read[name].read(), np.array(array.astype(mx.float32)))


def test_tensors_start_at_multiples_of_eight(tmp_path):
    """So that maps of the file give aligned numbers, whatever the length of the header."""
    for n in range(9):
        name = "n" * (n + 1)
        safetensors.write(tmp_path / "x", iter([(name, mx.zeros(2))]), {name: ((2,), mx.float32)})
        assert int.from_bytes((tmp_path / "x").read_bytes()[:8], "little") % 8 == 0


def test_the_layout_is_binding(tmp_path):
    with pytest.raises((AssertionError, ValueError)):
        safetensors.write(tmp_path / "x", iter([("b", mx.zeros(2))]), {"a": ((2,), mx.float32)})
    with pytest.raises((AssertionError, ValueError)):
        safetensors.write(tmp_path / "x", iter([]), {"a": ((2,), mx.float32)})


HOSTILE = {
    "empty": b"",
    "seven bytes": b"\0" * 7,
    "no header": (0).to_bytes(8, "little"),
    "cut off in the header": packed({"a": entry()})[:20],
    "cut off in the data": packed({"a": entry()})[:-1],
    "a header longer than the file": packed({"a": entry()}, length=1 << 20),
    "a header of exabytes": packed({"a": entry()}, length=(1 << 63) + 5),
    "no JSON": packed(b"{'a': 1}"),
    "no UTF-8": packed(b'{"\xff": 1}'),
    "a bomb of brackets": packed(b"[" * 100_000),
    "a list": packed([1, 2]),
    "a number": packed(b"12"),
    "null": packed(b"null"),
    "NaN": packed(b'{"a": NaN}'),
    "a digit bomb": packed(b'{"a": {"dtype":"F32","data_offsets":[0,16],"shape":[' + b"9" * 5000 + b"]}}"),
    "an entry that is none": packed({"a": 5}),
    "an entry that is a list": packed({"a": [1]}),
    "an entry without a type": packed({"a": {"shape": [1], "data_offsets": [0, 4]}}),
    "an unknown type": packed({"a": entry("F8_E4M3", (16,))}),
    "a type that is a list": packed({"a": entry(["F32"])}),
    "text for a shape": packed({"a": {**entry(), "shape": "22"}}),
    "a shape of text": packed({"a": entry(shape=("2", "2"))}),
    "a fraction": packed({"a": entry(shape=(2.0, 2))}),
    "truth for a size": packed({"a": entry("F32", (True, 4))}),
    "a negative size": packed({"a": entry(shape=(-2, -2))}),
    "sizes whose product wraps round": packed({"a": entry(shape=(1 << 33, 1 << 33))}),
    "a huge size": packed({"a": entry(shape=(1 << 60,))}),
    "sizes times nothing": packed({"a": entry(shape=(1 << 62, 0), data_offsets=(0, 0))}),
    "more than there is": packed({"a": entry(shape=(8,), data_offsets=(0, 32))}),
    "fewer bytes than the shape says": packed({"a": entry(data_offsets=(0, 8))}),
    "an end before the start": packed({"a": entry(data_offsets=(16, 0))}),
    "a negative start": packed({"a": entry(data_offsets=(-16, 0))}),
    "one offset": packed({"a": {**entry(), "data_offsets": [0]}}),
    "three offsets": packed({"a": entry(data_offsets=(0, 8, 16))}),
    "two tensors in one place": packed({"a": entry(), "b": entry()}),
    "tensors that overlap": packed({"a": entry(shape=(3,), data_offsets=(0, 12)), "b": entry("F16", (4,), (8, 16))}),
    "one name twice": packed(b'{"a": %s, "a": %s}' % ((json.dumps(entry()).encode(),) * 2)),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_refused(what, tmp_path):
    """In words, and without memory for what it claims."""
    (tmp_path / "x.safetensors").write_bytes(HOSTILE[what])
    tracemalloc.start()
    with pytest.raises(CheckpointError, match=r"x\.safetensors"):
        safetensors.read(tmp_path / "x.safetensors")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20


def test_the_metadata_is_not_a_tensor(tmp_path):
    (tmp_path / "x").write_bytes(packed({"__metadata__": {"format": "pt"}, "a": entry()}))
    assert list(safetensors.read(tmp_path / "x")) == ["a"]
