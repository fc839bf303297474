"""Small checkpoints made by hand: tars, torch zips and pickles, honest or not.

Pickles are written opcode by opcode, so that a test can say what no torch would.
"""

import io
import struct
import tarfile
import zlib
from pathlib import Path

CONFIG = b"""\
target: nemo.collections.asr.models.aed_multitask_models.EncDecMultiTaskModel
prompt_format: canary2
preprocessor: {sample_rate: 16000}
tokenizer: {type: bpe, model_path: nemo:0123456789abcdef0123456789abcdef_tokenizer.model}
encoder: {d_model: 2}
transf_decoder: {config_dict: {}}
head: {num_classes: 2}
"""
TOKENIZER = "0123456789abcdef0123456789abcdef_tokenizer.model"


# Pickles. Each function returns the opcodes that leave one value on the stack.


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def integer(value: int) -> bytes:
    if 0 <= value < 256:
        return b"K" + bytes([value])
    n_bytes = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([n_bytes]) + value.to_bytes(n_bytes, "little", signed=True)


def boolean(value: bool) -> bytes:
    return b"\x88" if value else b"\x89"


def tuple_of(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def integers(values: tuple[int, ...]) -> bytes:
    return tuple_of(*map(integer, values))


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + tuple_of(*arguments) + b"R"


def storage(key: str, n_items: int, kind: str = "FloatStorage", module: str = "torch") -> bytes:
    return tuple_of(text("storage"), named(module, kind), text(key), text("cpu"), integer(n_items)) + b"Q"


def tensor(source: bytes, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0, *more: bytes) -> bytes:
    layout = (integer(offset), integers(shape), integers(strides), boolean(False), b"}")
    return call(named("torch._utils", "_rebuild_tensor_v2"), source, *layout, *more)


def state_dict(items: dict[str, bytes]) -> bytes:
    """A whole pickle: an OrderedDict with the attribute that torch adds."""
    pairs = b"".join(text(name) + value for name, value in items.items())
    metadata = b"}" + text("_metadata") + b"}s"
    return b"\x80\x02" + call(named("collections", "OrderedDict")) + b"(" + pairs + b"u" + metadata + b"b."


def simple_pickle() -> bytes:
    return state_dict({"weight": tensor(storage("0", 6), (2, 3), (3, 1))})


SIMPLE_STORAGES = {"0": struct.pack("<6f", *range(6))}


# Zips. Entries are stored and aligned through the local header's extra field, as torch does it.


def zip_entry(name: str, body: bytes, offset: int, *, method: int = 0, flags: int = 0) -> tuple[bytes, bytes]:
    """A local header with its bytes, and the directory's entry for it."""
    raw, crc, padding = name.encode(), zlib.crc32(body), -(offset + 30 + len(name) + 4) % 64
    extra = struct.pack("<2H", 0x4246, padding) + b"Z" * padding
    common = (0, flags, method, 0, 0, crc, len(body), len(body), len(raw))
    local = b"PK\x03\x04" + struct.pack("<5H3I2H", *common, len(extra)) + raw + extra + body
    central = b"PK\x01\x02" + struct.pack("<6H3I5H2I", 0, *common, 0, 0, 0, 0, 0, offset) + raw
    return local, central


def zip_end(n_entries: int, size: int, start: int) -> bytes:
    return struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, n_entries, n_entries, size, start, 0)


def torch_zip(
    pickled: bytes | None = None,
    storages: dict[str, bytes] | None = None,
    *,
    top: str = "model_weights",
    more: dict[str, bytes] | None = None,
    method: int = 0,
    flags: int = 0,
) -> bytes:
    """A checkpoint as torch writes it; without arguments, one 2 x 3 tensor `weight`."""
    entries = {f"{top}/data.pkl": simple_pickle() if pickled is None else pickled}
    entries |= {f"{top}/data/{key}": body for key, body in (storages or SIMPLE_STORAGES).items()}
    entries |= more or {}
    body, directory = b"", b""
    for name, content in entries.items():
        local, central = zip_entry(name, content, len(body), method=method, flags=flags)
        body, directory = body + local, directory + central
    return body + directory + zip_end(len(entries), len(directory), len(body))


# Tars.


def tar(members: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    return tar_of([(plain_member(name, len(body)), body) for name, body in members.items()], form)


def plain_member(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    return info


def special_member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def tar_of(members: list[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        archive.addfile(special_member("./", tarfile.DIRTYPE))
        for info, body in members:
            archive.addfile(info, io.BytesIO(body) if info.isreg() else None)
    return buffer.getvalue()


def members(config: bytes = CONFIG, weights: bytes | None = None) -> dict[str, bytes]:
    """What a `.nemo` holds at least."""
    return {
        f"./{TOKENIZER}": b"a tokenizer",
        "./model_config.yaml": config,
        "./model_weights.ckpt": torch_zip() if weights is None else weights,
    }


def nemo(path: Path, **contents: bytes) -> Path:
    """Write a small `.nemo`, with another config or other weights."""
    path.write_bytes(tar(members(**contents)))
    return path
