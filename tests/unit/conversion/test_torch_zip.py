"""Torch checkpoints: every type and layout comes out as torch would have it."""

import struct

import builders as b
import numpy as np
import pytest

from mlx_canary.conversion.tensors import LazyTensor
from mlx_canary.conversion.torch_zip import read_state_dict
from mlx_canary.errors import ConversionError


def read(pickled: bytes, storages: dict[str, bytes], **options: object) -> dict[str, LazyTensor]:
    return read_state_dict(memoryview(b.torch_zip(pickled, storages, **options)))  # type: ignore[arg-type]


def one(value: bytes, storages: dict[str, bytes]) -> LazyTensor:
    return read(b.state_dict({"x": value}), storages)["x"]


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("DoubleStorage", "float64"),
        ("FloatStorage", "float32"),
        ("HalfStorage", "float16"),
        ("LongStorage", "int64"),
        ("IntStorage", "int32"),
        ("ShortStorage", "int16"),
        ("CharStorage", "int8"),
        ("ByteStorage", "uint8"),
    ],
)
def test_every_type_keeps_its_bits(kind: str, dtype: str) -> None:
    values = np.array([0, 1, 2, 100], dtype)
    tensor = one(b.tensor(b.storage("0", 4, kind), (2, 2), (2, 1)), {"0": values.tobytes()})
    assert (tensor.dtype, tensor.shape, tensor.n_bytes) == (dtype, (2, 2), values.nbytes)
    assert tensor.read().dtype == values.dtype
    np.testing.assert_array_equal(tensor.read(), values.reshape(2, 2))


def test_bfloat16_is_widened_without_a_change() -> None:
    """All 65,536 of them, infinities and NaN payloads too: a bfloat16 is the upper half of a float32."""
    bits = np.arange(1 << 16, dtype=np.uint16)
    tensor = one(b.tensor(b.storage("0", 1 << 16, "BFloat16Storage"), (1 << 16,), (1,)), {"0": bits.tobytes()})
    assert (tensor.dtype, tensor.n_bytes) == ("bfloat16", 2 << 16)
    assert tensor.read().dtype == np.float32
    np.testing.assert_array_equal(tensor.read().view(np.uint32) >> 16, bits)


def test_a_single_bfloat16_keeps_its_shape() -> None:
    tensor = one(b.tensor(b.storage("0", 1, "BFloat16Storage"), (), ()), {"0": b"\x80\x3f"})
    assert tensor.read().shape == ()
    assert tensor.read() == 1.0


def test_bools_are_true_or_false_whatever_the_byte() -> None:
    tensor = one(b.tensor(b.storage("0", 3, "BoolStorage"), (3,), (1,)), {"0": b"\0\1\x80"})
    assert tensor.read().tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((4, 6), (6, 1), 0),
        ((6, 4), (1, 6), 0),
        ((2, 3), (12, 2), 1),
        ((24,), (1,), 0),
        ((), (), 23),
        ((0, 5), (5, 1), 0),
        ((1, 1, 24), (99, 7, 1), 0),
        ((4, 3), (0, 1), 0),
        ((2, 2, 2), (1, 1, 1), 3),
    ],
)
def test_layouts_follow_the_strides(shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> None:
    """Element (i, j, ...) is at offset + sum of index times stride, in elements."""
    flat = np.arange(24, dtype=np.float32)
    tensor = one(b.tensor(b.storage("0", 24), shape, strides, offset), {"0": flat.tobytes()})
    expected = np.zeros(shape, np.float32)
    for index in np.ndindex(*shape):
        expected[index] = flat[offset + sum(i * step for i, step in zip(index, strides, strict=True))]
    np.testing.assert_array_equal(tensor.read(), expected)
    assert tensor.read().shape == shape


def test_contiguous_tensors_are_views_of_the_file() -> None:
    """Reading must not copy: the file is larger than anybody's memory."""
    data = b.torch_zip()
    values = read_state_dict(memoryview(data))["weight"].read()
    assert np.shares_memory(values, np.frombuffer(data, np.uint8))
    assert not values.flags.writeable
    assert values.flags.aligned


def test_shared_storages_are_visible() -> None:
    """NeMo ties the embedding and the head; the converter loads such a pair once."""
    both = {name: b.tensor(b.storage("0", 6), (2, 3), (3, 1)) for name in ("embedding", "head")}
    other = {"other": b.tensor(b.storage("1", 6), (2, 3), (3, 1))}
    content = b.SIMPLE_STORAGES["0"]
    tensors = read(b.state_dict({**both, **other}), {"0": content, "1": content})
    assert list(tensors) == ["embedding", "head", "other"]
    assert tensors["embedding"].storage_key == tensors["head"].storage_key != tensors["other"].storage_key


def test_parameters_are_tensors() -> None:
    value = b.call(
        b.named("torch._utils", "_rebuild_parameter"),
        b.tensor(b.storage("0", 6), (6,), (1,)),
        b.boolean(True),
        b"}",
    )
    assert one(value, b.SIMPLE_STORAGES).read().tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("module", ["torch", "torch.storage"])
def test_untyped_storages_count_bytes(module: str) -> None:
    layout = (b.integer(1), b.integers((5,)), b.integers((1,)), b.boolean(False), b"}")
    source = b.storage("0", 24, "UntypedStorage", module)
    dtype = b.named("torch", "float32")
    value = b.call(b.named("torch._utils", "_rebuild_tensor_v3"), source, *layout, dtype)
    assert one(value, b.SIMPLE_STORAGES).read().tolist() == [1, 2, 3, 4, 5]


def test_an_untyped_storage_needs_a_type() -> None:
    with pytest.raises(ConversionError, match="unexpected values"):
        one(b.tensor(b.storage("0", 24, "UntypedStorage"), (6,), (1,)), b.SIMPLE_STORAGES)


@pytest.mark.parametrize("top", ["model_weights", "archive", "a.b/c"])
def test_the_top_folder_may_have_any_name(top: str) -> None:
    assert list(read(b.simple_pickle(), b.SIMPLE_STORAGES, top=top)) == ["weight"]


def test_entries_of_newer_torch_are_ignored() -> None:
    names = ("byteorder", "version", ".format_version", ".storage_alignment", ".data/serialization_id")
    more = {f"model_weights/{name}": b"little" for name in names}
    assert list(read(b.simple_pickle(), b.SIMPLE_STORAGES, more=more)) == ["weight"]


def test_protocol_4_is_read() -> None:
    """FRAME, SHORT_BINUNICODE, MEMOIZE and STACK_GLOBAL instead of the older opcodes."""
    short = b"\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94\x93\x94)R\x94"
    pickled = b"\x80\x04\x95" + struct.pack("<Q", len(short)) + short + b"h\0h\1\x93)R."
    assert read(pickled, b.SIMPLE_STORAGES) == {}


def test_zip64_is_read() -> None:
    """Files over 4 GiB have their sizes elsewhere; here they are small, and there all the same."""
    local, central = b.zip_entry("m/data.pkl", b.state_dict({}), 0)
    size = len(b.state_dict({}))
    extra = struct.pack("<2H3Q", 1, 24, size, size, 0)
    wide = central[:20] + b"\xff" * 8 + central[28:30] + struct.pack("<H", len(extra)) + central[32:42]
    directory = wide + b"\xff" * 4 + central[46:] + extra
    end64 = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(directory), len(local))
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, len(local) + len(directory), 1)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    assert read_state_dict(memoryview(local + directory + end64 + locator + end)) == {}


def test_a_flipped_bit_in_the_weights_is_found_by_the_checksum() -> None:
    data = bytearray(b.torch_zip())
    data[data.index(b.SIMPLE_STORAGES["0"]) + 7] ^= 1
    tensor = read_state_dict(memoryview(bytes(data)))["weight"]
    with pytest.raises(ConversionError, match="'weight' do not match their checksum"):
        tensor.check()
    read_state_dict(memoryview(b.torch_zip()))["weight"].check()
