"""Hostile and broken checkpoints, and the words that each must get.

Run as a program, this prints the table of cases and errors that docs/conversion.md shows.
"""

import gzip
import io
import os
import struct
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import builders as b

from mlx_canary.conversion.nemo import open_nemo
from mlx_canary.errors import ConversionError

SENTINEL = "executed"


class Case(NamedTuple):
    """A file that must be refused with a message that contains `words`."""

    name: str
    build: Callable[[Path], Path]
    words: str


def _file(folder: Path, content: bytes) -> Path:
    path = folder / "model.nemo"
    path.write_bytes(content)
    return path


def _raw(content: bytes) -> Callable[[Path], Path]:
    return lambda folder: _file(folder, content)


def _weights(content: bytes) -> Callable[[Path], Path]:
    return _raw(b.tar(b.members(weights=content)))


def _config(content: bytes) -> Callable[[Path], Path]:
    return _raw(b.tar(b.members(config=content)))


def _pickle(pickled: bytes) -> Callable[[Path], Path]:
    return _weights(b.torch_zip(pickled))


def _attack(make: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    """A pickle that would create a folder; `make` gets the opcodes of its name."""

    def build(folder: Path) -> Path:
        return _pickle(b"\x80\x02" + make(b.text(str(folder / SENTINEL))) + b".")(folder)

    return build


def _tensor(source: bytes, *layout: object) -> Callable[[Path], Path]:
    return _pickle(b.state_dict({"weight": b.tensor(source, *layout)}))  # type: ignore[arg-type]


def _simple(*layout: object) -> Callable[[Path], Path]:
    return _tensor(b.storage("0", 6), *layout)


def _with(*extra: tuple[tarfile.TarInfo, bytes]) -> Callable[[Path], Path]:
    honest = [(b.plain_member(name, len(body)), body) for name, body in b.members().items()]
    return _raw(b.tar_of([*honest, *extra]))


def _named(name: str) -> Callable[[Path], Path]:
    return _with((b.plain_member(name, 4), b"evil"))


def _special(kind: bytes, target: str = "") -> Callable[[Path], Path]:
    return _with((b.special_member("./extra", kind, target), b""))


def _without(name: str) -> Callable[[Path], Path]:
    return _raw(b.tar({key: body for key, body in b.members().items() if key != name}))


def _patched_header(position: int, field: bytes) -> Callable[[Path], Path]:
    """A tar whose first file header says something else, under a checksum that is right."""
    raw = bytearray(b.tar(b.members()))
    header = raw[512:1024]
    header[position : position + len(field)] = field
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return _raw(bytes(raw[:512] + header + raw[1024:]))


def _long_pax() -> bytes:
    raw = b.tar({"a": b"x" * 100_000})
    header = raw[512:1024].replace(b"0" + b"\0" * 100, b"x" + b"\0" * 100, 1)
    summed = header[:148] + b" " * 8 + header[156:]
    return raw[:512] + header[:148] + b"%06o\0 " % sum(summed) + header[156:] + raw[1024:]


def _many(folder: Path) -> Path:
    return _file(folder, b.tar({f"m{n}": b"" for n in range(20_000)}))


def _truncated(keep: float) -> Callable[[Path], Path]:
    raw = b.tar(b.members())
    return _raw(raw[: int(len(raw.rstrip(b"\0")) * keep)])


def _folder(change: Callable[[Path], object]) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        model = folder / "model"
        model.mkdir()
        for name, body in b.members().items():
            (model / name).write_bytes(body)
        change(model)
        return model

    return build


def _flat(entries: dict[str, bytes]) -> Callable[[Path], Path]:
    return _raw(b.tar(entries))


def _overlapping() -> bytes:
    """Two entries of the directory that claim the same bytes."""
    first, central = b.zip_entry("m/data.pkl", b.simple_pickle(), 0)
    second, twin = b.zip_entry("m/data/0", first, 0)
    # The second entry is where the first begins and has it as its content.
    _, inner = b.zip_entry("m/data.pkl", b.simple_pickle(), len(second) - len(first))
    body, directory = second, twin + inner[:42] + struct.pack("<I", len(second) - len(first)) + inner[46:]
    return body + directory + b.zip_end(2, len(directory), len(body))


def _zip_patch(find: bytes, offset: int, value: bytes) -> bytes:
    """Change a field at an offset from the last place where `find` stands."""
    raw = bytearray(b.torch_zip())
    at = raw.rindex(find) + offset
    raw[at : at + len(value)] = value
    return bytes(raw)


def _laughs() -> bytes:
    lines = [b"a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 12):
        lines.append(b"a%d: &a%d [%s]" % (level, level, b", ".join([b"*a%d" % (level - 1)] * 10)))
    return b.CONFIG + b"\n".join(lines) + b"\n"


def _self_reference() -> bytes:
    levels = [b"i%d: ['${i%d}'%s]" % (n, n + 1, b", '${i%d}'" % (n + 1) * 9) for n in range(9)]
    return b.CONFIG + b"\n".join([*levels, b"i9: [x]"]) + b"\n"


def _aliases() -> bytes:
    """Nine names for the same bytes: a tied pair is normal, this multiplies what a converter writes."""
    alias = b.tensor(b.storage("0", 15_000), (15_000,), (1,))
    return b.torch_zip(b.state_dict({f"w{n}": alias for n in range(9)}), {"0": bytes(60_000)})


def _gzip(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)


def _gzip_bomb(folder: Path) -> Path:
    path = folder / "model.nemo"
    with gzip.open(path, "wb", 1) as file:
        for _ in range(66):
            file.write(bytes(1 << 20))
    return path


def _fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def _link(path: Path, target: str) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _wrap(path: Path) -> None:
    _empty(path)
    (path / "model.safetensors").write_bytes(b"")
    (path / "original").mkdir()
    (path / "original/canary.nemo").write_bytes(b.tar(b.members()))


def _two(path: Path) -> None:
    _empty(path)
    for name in ("one.nemo", "two.nemo"):
        (path / name).write_bytes(b.tar(b.members()))


def _linked(path: Path) -> None:
    _empty(path)
    _link(path / "canary.nemo", "/etc/hostname")


def _empty(path: Path) -> None:
    for name in b.members():
        (path / name).unlink()


def _doubled() -> bytes:
    buffer = io.BytesIO(b.tar(b.members()))
    with tarfile.open(fileobj=buffer, mode="a") as archive:
        archive.addfile(b.plain_member("model_config.yaml", 2), io.BytesIO(b"{}"))
    return buffer.getvalue()


_MKDIR = b.named("os", "mkdir")
_EVAL = b.text("__import__('os').mkdir('executed')")
_HUGE = 1 << 61

TAR_CASES = (
    Case("tar: a name with ..", _named("../evil"), "points outside the archive"),
    Case("tar: a name with .. inside", _named("./a/../../evil"), "points outside the archive"),
    Case("tar: an absolute name", _named("/tmp/evil"), "points outside the archive"),
    Case("tar: a Windows drive", _named("C:evil"), "points outside the archive"),
    Case("tar: a backslash", _named("..\\evil"), "points outside the archive"),
    Case("tar: a symbolic link", _special(tarfile.SYMTYPE, "/etc/passwd"), "is a symbolic link"),
    Case("tar: a hard link", _special(tarfile.LNKTYPE, "./model_config.yaml"), "is a hard link"),
    Case("tar: a character device", _special(tarfile.CHRTYPE), "is a character device"),
    Case("tar: a block device", _special(tarfile.BLKTYPE), "is a block device"),
    Case("tar: a named pipe", _special(tarfile.FIFOTYPE), "is a named pipe"),
    Case("tar: a sparse file", _patched_header(156, b"S"), "is a sparse file"),
    Case("tar: an unknown member type", _patched_header(156, b"Q"), "unknown type b'Q'"),
    Case("tar: a size beyond the file", _patched_header(124, b"77777777777\0"), "is truncated: a member"),
    Case("tar: a size of 2**80", _patched_header(124, b"\x80" + b"\0" + b"\xff" * 10), "is truncated: a member"),
    Case("tar: a negative size", _patched_header(124, b"\xff" * 12), "where a number belongs"),
    Case("tar: a size that is no number", _patched_header(124, b"9" * 11 + b"\0"), "where a number belongs"),
    Case("tar: a damaged PAX header", _patched_header(156, b"x"), "PAX header that cannot be read"),
    Case("tar: a PAX header of 100 kB", _raw(_long_pax()), "100000-byte PAX header"),
    Case("tar: a member twice", _raw(_doubled()), "twice"),
    Case("tar: 20,000 members", _many, "more than 10000 members"),
    Case("tar: a damaged header", _raw(b"x" + b.tar(b.members())[1:]), "wrong checksum"),
    Case("tar: cut in the weights", _truncated(0.9), "is truncated"),
    Case("tar: cut in the first header", _truncated(0.02), "not a .nemo file"),
    Case("tar: cut at the end mark", _raw(b.tar(b.members()).rstrip(b"\0") + bytes(22)), "is truncated"),
)

FILE_CASES = (
    Case("file: empty", _raw(b""), "looks like an empty file"),
    Case("file: zeros", _raw(bytes(4096)), "interrupted download"),
    Case("file: a web page", _raw(b"<!DOCTYPE html><html>Not found</html>"), "a web page"),
    Case("file: a Git LFS pointer", _raw(b"version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    Case("file: safetensors", _raw(struct.pack("<Q", 2) + b"{}"), "a safetensors file"),
    Case("file: a bare torch checkpoint", _raw(b.torch_zip()), "a bare torch checkpoint"),
    Case("file: a bare pickle", _raw(b"\x80\x04N."), "a bare pickle"),
    Case("file: encrypted", _raw(b"Salted__" + bytes(range(256))), "encrypted with openssl"),
    Case("file: noise", _raw(bytes(range(128, 256)) * 8), "unknown or encrypted kind"),
    Case("gzip: of something else", _raw(_gzip(b"hello")), "a text file"),
    Case("gzip: truncated", _raw(_gzip(b.tar(b.members()))[:200]), "damaged gzip"),
    Case("gzip: damaged", _raw(_gzip(b.tar(b.members()))[:-8] + b"\0" * 8), "damaged gzip"),
    Case("gzip: a bomb", _gzip_bomb, "expands to more than"),
    Case("file: a named pipe", lambda folder: _fifo(folder / "model.nemo"), "neither a plain file"),
    Case("folder: a link out of it", _folder(lambda m: _link(m / "model_config.yaml", "/etc/hostname")), "outside"),
    Case("folder: a link to nothing", _folder(lambda m: _link(m / "x", "nowhere")), "cannot be read"),
    Case("folder: a link to itself", _folder(lambda m: _link(m / "x", "x")), "cannot be read"),
    Case("folder: a linked folder", _folder(lambda m: _link(m / "x", "/etc")), "outside the model's folder"),
    Case("folder: a named pipe", _folder(lambda m: _fifo(m / "x")), "not a plain file"),
)

MEMBER_CASES = (
    Case("nemo: no configuration", _without("./model_config.yaml"), "has no model_config.yaml"),
    Case("nemo: no weights", _without("./model_weights.ckpt"), "has no model_weights.ckpt"),
    Case("nemo: an empty tar", _flat({}), "has no model_config.yaml and no model_weights.ckpt"),
    Case("nemo: sharded", _flat({"model_config.yaml": b.CONFIG, "model_weights/x.distcp": b""}), "sharded"),
    Case("nemo: model parallel", _flat({"mp_rank_00/model_weights.ckpt": b""}), "split over devices"),
    Case("nemo: safetensors instead", _flat({"model.safetensors": b"", "config.json": b""}), "has safetensors"),
    Case("nemo: in a subfolder", _folder(_wrap), "Name that file instead"),
    Case("nemo: two in a folder", _folder(_two), "holds 2 .nemo files"),
    Case("nemo: a link out of its folder", _folder(_linked), "outside the model's folder"),
    Case("nemo: a CTC model", _config(b"target: a.EncDecCTCModelBPE\nencoder: {a: 1}\n"), "EncDecCTCModelBPE"),
    Case("nemo: canary-qwen", _config(b"perception: {}\nprompt_format: qwen\n"), "no Canary"),
)

YAML_CASES = (
    Case("yaml: a tag that calls", _config(b"a: !!python/object/apply:os.mkdir [executed]\n"), "YAML tag"),
    Case("yaml: a tag that imports", _config(b"!!python/name:os.system\n"), "YAML tag"),
    Case("yaml: a tag of its own", _config(b"a: !evil {b: c}\n"), "YAML tag"),
    Case("yaml: an alias bomb", _config(_laughs()), "expands to more than"),
    Case("yaml: an alias of itself", _config(b"a: &a [*a]\n"), "inside itself"),
    Case("yaml: an unknown alias", _config(b"a: *a\n"), "not valid YAML"),
    Case("yaml: 100,000 levels", _config(b"a: " + b"[" * 100_000), "nested more than"),
    Case("yaml: 2,000 levels in blocks", _config(b"".join(b" " * n + b"a:\n" for n in range(2000))), "nested"),
    Case("yaml: a key twice", _config(b.CONFIG + b"prompt_format: canary\n"), "occurs twice"),
    Case("yaml: a list as key", _config(b"? [a]\n: b\n"), "not valid YAML"),
    Case("yaml: not UTF-8", _config(b"a: \xff\n"), "not valid YAML"),
    Case("yaml: a zero byte", _config(b"a: \0\n"), "not valid YAML"),
    Case("yaml: cut short", _config(b"a: [1, 2\n"), "not valid YAML"),
    Case("yaml: a list", _config(b"- a\n"), "holds a list"),
    Case("yaml: empty", _config(b""), "holds a NoneType"),
    Case("yaml: 5 MB", _config(b"#" * (5 << 20)), "make no sense"),
    Case("yaml: a number of 60,000 digits", _config(b"a: " + b"9" * 60_000 + b"\n"), "not valid YAML|no Canary"),
    Case("yaml: a number of 6,000 hexadecimal digits", _config(b"a: 0x" + b"f" * 6000), "more than 64 bits"),
    Case("yaml: a value of 1 MB", _config(b"a: " + b"x" * (1 << 20) + b"\n"), "has a value of"),
    Case("yaml: interpolations that multiply", _config(_self_reference()), "refers to itself too often"),
)

ZIP_CASES = (
    Case("weights: empty", _weights(b""), "an empty file"),
    Case("weights: safetensors", _weights(struct.pack("<Q", 2) + b"{}"), "a safetensors file"),
    Case("weights: a web page", _weights(b"<html>"), "a web page"),
    Case(
        "weights: torch before 1.6",
        _weights(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."),
        "old format",
    ),
    Case("zip: truncated", _weights(b.torch_zip()[:-1]), "is truncated"),
    Case("zip: a compressed entry", _weights(b.torch_zip(method=8)), "is compressed"),
    Case("zip: an encrypted entry", _weights(b.torch_zip(flags=1)), "is encrypted"),
    Case("zip: no pickle", _weights(b.torch_zip(top="x").replace(b"data.pkl", b"data.pkk")), "0 entries called"),
    Case("zip: two pickles", _weights(b.torch_zip(more={"evil/data.pkl": b"N."})), "2 entries called"),
    Case("zip: TorchScript", _weights(b.torch_zip(more={"model_weights/constants.pkl": b"N."})), "TorchScript"),
    Case("zip: big-endian", _weights(b.torch_zip(more={"model_weights/byteorder": b"big"})), "byte order b'big'"),
    Case("zip: an entry twice", _weights(b.torch_zip(more={"x1": b"", "x2": b""}).replace(b"x2", b"x1")), "twice"),
    Case("zip: overlapping entries", _weights(_overlapping()), "overlap"),
    Case("zip: a size beyond the file", _weights(_zip_patch(b"PK\1\2", 20, b"\xf0\xff\xff\x7f" * 2)), "ends outside"),
    Case("zip: an offset beyond the file", _weights(_zip_patch(b"PK\1\2", 42, b"\xf0\xff\xff\x7f")), "not where"),
    Case("zip: two sizes", _weights(_zip_patch(b"PK\1\2", 24, b"\x01\0\0\0")), "is damaged"),
    Case("zip: ZIP64 without sizes", _weights(_zip_patch(b"PK\1\2", 20, b"\xff\xff\xff\xff")), "ZIP64 sizes"),
    Case("zip: a lying directory size", _weights(_zip_patch(b"PK\5\6", 12, b"\xff\xff\xff\x7f")), "end record"),
    Case("zip: a lying entry count", _weights(_zip_patch(b"PK\5\6", 8, b"\xff\xff\xff\xff")), "end record"),
    Case("zip: another name in the local header", _weights(_zip_patch(b"PK\3\4", 30, b"evil_")), "is damaged"),
    Case("zip: 3 MB of pickle", _pickle(b"\x80\x02" + b"N" * (3 << 20) + b"."), "bytes of pickle"),
)

PICKLE_CASES = (
    Case("pickle: os.mkdir by REDUCE", _attack(lambda p: b.call(_MKDIR, p)), "names 'os.mkdir'"),
    Case("pickle: posix.system", _attack(lambda p: b.call(b.named("posix", "system"), p)), "'posix.system'"),
    Case("pickle: eval", _attack(lambda p: b.call(b.named("builtins", "eval"), _EVAL)), "'builtins.eval'"),
    Case(
        "pickle: getattr of an allowed name",
        _attack(lambda p: b.call(b.named("builtins", "getattr"), b.named("torch", "FloatStorage"), p)),
        "'builtins.getattr'",
    ),
    Case(
        "pickle: a dotted name through STACK_GLOBAL",
        _attack(lambda p: b.text("collections") + b.text("OrderedDict.__init__.__globals__") + b"\x93"),
        "OrderedDict.__init__",
    ),
    Case("pickle: torch.load", _attack(lambda p: b.call(b.named("torch", "load"), p)), "'torch.load'"),
    Case("pickle: INST", _attack(lambda p: b"(" + p + b"ios\nmkdir\n"), "opcode INST"),
    Case("pickle: OBJ", _attack(lambda p: b"(" + b"N" + p + b"o"), "opcode OBJ"),
    Case("pickle: NEWOBJ", _attack(lambda p: b"N" + b.tuple_of(p) + b"\x81"), "opcode NEWOBJ"),
    Case("pickle: NEWOBJ_EX", _attack(lambda p: b"N" + b.tuple_of(p) + b"}\x92"), "opcode NEWOBJ_EX"),
    Case("pickle: an extension code", _attack(lambda p: b"\x82\x01"), "opcode EXT1"),
    Case(
        "pickle: BUILD on a storage class",
        _attack(lambda p: b.named("torch", "FloatStorage") + b"}" + p + p + b"sb"),
        "sets attributes",
    ),
    Case("pickle: a call of a storage class", _attack(lambda p: b.call(b.named("torch", "FloatStorage"), p)), "calls"),
    Case("pickle: a call of a text", _attack(lambda p: b.call(p, p)), "calls something that is no function"),
    Case("pickle: OrderedDict of pairs", _attack(lambda p: b.call(b.named("collections", "OrderedDict"), p)), "builds"),
    Case("pickle: a text as persistent id", _attack(lambda p: p + b"Q"), "refers to a storage in an unknown way"),
    Case("pickle: PERSID", _attack(lambda p: b"Pevil\n"), "opcode PERSID"),
    Case("pickle: protocol 200", _pickle(b"\x80\xc8N."), "protocol 200"),
    Case("pickle: cut short", _pickle(b.simple_pickle()[:-9]), "makes no sense"),
    Case("pickle: a text of 4 GB", _pickle(b"\x80\x02X\xff\xff\xff\xff."), "makes no sense"),
    Case("pickle: bytes of 2**60", _pickle(b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"."), "nothing that torch"),
    Case("pickle: a memo of 2**32", _pickle(b"\x80\x02Nr\xff\xff\xff\xff."), "holds a NoneType"),
    Case("pickle: a memo that is empty", _pickle(b"\x80\x02h\x07."), "makes no sense"),
    Case("pickle: an empty stack", _pickle(b"\x80\x02."), "makes no sense"),
    Case("pickle: no mark", _pickle(b"\x80\x02NNt."), "makes no sense"),
    Case("pickle: 200,000 levels", _pickle(b"\x80\x02)" + b"\x85" * 200_000 + b"."), "holds a tuple"),
    Case("pickle: a million lists", _pickle(b"\x80\x02" + b"]" * 1_000_000 + b"."), "more than 400000 instructions"),
    Case(
        "pickle: 2 MB for 600 empty storages",
        _weights(b.torch_zip(b"\x80\x02" + b"]" * (2 << 20) + b".", {str(i): b"" for i in range(600)})),
        "bytes of pickle for 601 entries",
    ),
    Case("pickle: doubling tuples", _pickle(b"\x80\x02)" + b"q\0h\0\x86" * 9000 + b"."), "holds a tuple"),
    Case(
        "pickle: doubling tuples as a key",
        _pickle(b"\x80\x02})" + b"q\0h\0\x86" * 9000 + b"Ns."),
        "dict key of type tuple",
    ),
    Case("pickle: a list", _pickle(b"\x80\x02]."), "holds a list"),
    Case("pickle: a training checkpoint", _pickle(b.state_dict({"state_dict": b"}"})), "'state_dict'"),
)

TENSOR_CASES = (
    Case("tensor: more elements than bytes", _tensor(b.storage("0", 7), (7,), (1,)), "28 bytes, but it has 24"),
    Case("tensor: 2**61 elements", _tensor(b.storage("0", _HUGE), (6,), (1,)), "but it has 24"),
    Case("tensor: a negative count", _tensor(b.storage("0", -6), (6,), (1,)), "but it has 24"),
    Case("tensor: an unknown storage", _tensor(b.storage("9", 6), (6,), (1,)), "'9', which is missing"),
    Case("tensor: a storage outside", _tensor(b.storage("../data.pkl", 6), (6,), (1,)), "which is missing"),
    Case("tensor: an unknown type", _tensor(b.storage("0", 6, "QInt8Storage"), (6,), (1,)), "torch.QInt8Storage"),
    Case("tensor: a shape beyond its storage", _simple((3, 3), (3, 1)), "does not fit"),
    Case("tensor: strides beyond its storage", _simple((2, 3), (4, 1)), "does not fit"),
    Case("tensor: an offset beyond its storage", _simple((2, 3), (3, 1), 1), "does not fit"),
    Case("tensor: a negative offset", _simple((2, 3), (3, 1), -1), "does not fit"),
    Case("tensor: a negative size", _simple((-2, -3), (3, 1)), "whole numbers from 0"),
    Case("tensor: a negative stride", _simple((2, 3), (-3, 1), 3), "whole numbers from 0"),
    Case("tensor: a size of 2**61", _simple((_HUGE,), (1,)), "does not fit"),
    Case("tensor: sizes that overflow 64 bits", _simple((1 << 32, 1 << 32), (0, 0)), "does not fit"),
    Case("tensor: huge and empty", _simple((_HUGE, _HUGE, 0), (0, 0, 0)), "does not fit"),
    Case("tensor: zero strides that amplify", _simple((1 << 20, 1 << 18), (0, 0)), "does not fit"),
    Case("tensor: one dimension without stride", _simple((2, 3), (1,)), "2 dimensions with 1 strides"),
    Case("tensor: 60 dimensions", _simple((1,) * 60, (1,) * 60), "60 dimensions"),
    Case(
        "tensor: a size that is true",
        _pickle(b.state_dict({"w": b.tensor(b.storage("0", 6), (), ()).replace(b"(t(t", b"(\x88t(K\x01t")})),
        "whole numbers from 0",
    ),
    Case(
        "tensor: a size that is infinite",
        _pickle(
            b.state_dict(
                {
                    "w": b.tensor(b.storage("0", 6), (), ()).replace(
                        b"(t(t", b"(G" + struct.pack(">d", float("inf")) + b"t(K\x01t"
                    )
                }
            )
        ),
        "whole numbers from 0",
    ),
    Case("tensor: lazily negated", _simple((6,), (1,), 0, b"}" + b.text("neg") + b"\x88s"), "lazily negated"),
    Case("tensor: one storage many times", _weights(_aliases()), "repeat"),
)

CASES = TAR_CASES + FILE_CASES + MEMBER_CASES + YAML_CASES + ZIP_CASES + PICKLE_CASES + TENSOR_CASES


def sentence(case: Case, folder: Path) -> str:
    """What a person reads who opens this file."""
    try:
        open_nemo(case.build(folder))
    except ConversionError as error:
        return str(error).replace(str(folder), "FOLDER")
    return "(accepted)"


if __name__ == "__main__":
    print("| case | what it gets |\n|---|---|")
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            print(f"| {case.name} | {sentence(case, Path(folder))} |".replace("\n", " "))
