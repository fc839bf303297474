"""Archives: the same members from a tar, a gzip tar and a folder, without loading them."""

import gc
import gzip
import os
import tarfile
from pathlib import Path

import builders as b
import numpy as np
import pytest

from mlx_canary.conversion import gunzip
from mlx_canary.conversion.archive import open_archive
from mlx_canary.errors import ConversionError, ModelNotFoundError

NAMES = [b.TOKENIZER, "model_config.yaml", "model_weights.ckpt"]


def test_a_tar_a_gzip_and_a_folder_hold_the_same(tmp_path: Path) -> None:
    content = b.tar(b.members())
    (tmp_path / "plain.nemo").write_bytes(content)
    (tmp_path / "packed.nemo").write_bytes(gzip.compress(content))
    (tmp_path / "folder").mkdir()
    for name, body in b.members().items():
        (tmp_path / "folder" / name).write_bytes(body)
    for name in ("plain.nemo", "packed.nemo", "folder"):
        with open_archive(tmp_path / name) as archive:
            assert sorted(archive.names) == NAMES
            assert archive.read_bytes("model_config.yaml", 10_000) == b.CONFIG
            assert bytes(archive.map("model_weights.ckpt")) == b.torch_zip()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_tar_format_is_read(tmp_path: Path, form: int) -> None:
    """Long names take three different roads in these formats."""
    long = f"{'d' * 90}/{'n' * 90}.txt"
    (tmp_path / "x.nemo").write_bytes(b.tar({f"./{long}": b"long", "short": b""}, form))
    with open_archive(tmp_path / "x.nemo") as archive:
        assert archive.names == [long, "short"]
        assert archive.read_bytes(long, 10) == b"long"
        assert archive.read_bytes("short", 10) == b""


def test_sizes_and_unicode_names_in_pax_headers_are_read(tmp_path: Path) -> None:
    info = b.plain_member("ключ.txt", 5)
    info.pax_headers = {"size": "5", "comment": "not used"}
    (tmp_path / "x.nemo").write_bytes(b.tar_of([(info, b"hello")]))
    with open_archive(tmp_path / "x.nemo") as archive:
        assert archive.read_bytes("ключ.txt", 5) == b"hello"


def test_members_over_8_gib_have_binary_sizes(tmp_path: Path) -> None:
    """The file is sparse: 9 GiB on paper, some kilobytes on disk, and no more in memory."""
    path, size = tmp_path / "big.nemo", 9 << 30
    with path.open("wb") as file:
        file.write(b.plain_member("big", size).tobuf(tarfile.GNU_FORMAT))
        file.truncate(512 + size + 1024)
    with open_archive(path) as archive:
        assert len(archive.map("big")) == size
        with pytest.raises(ConversionError, match="more than 100 make no sense"):
            archive.read_bytes("big", 100)


def test_a_missing_path_is_not_a_conversion_error(tmp_path: Path) -> None:
    for name in ("nothing.nemo", "zero\0byte", "x" * 300):
        with pytest.raises((ModelNotFoundError, ConversionError), match=r"no file or folder|File name too long"):
            open_archive(tmp_path / name)


def test_a_missing_member_is_named(tmp_path: Path) -> None:
    with open_archive(b.nemo(tmp_path / "x.nemo")) as archive, pytest.raises(ConversionError, match=r"'y\.txt'"):
        archive.map("y.txt")


def test_a_gzip_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    (tmp_path / "x.nemo").write_bytes(gzip.compress(b.tar(b.members())))
    with open_archive(tmp_path / "x.nemo") as archive:
        assert not list((tmp_path / "temporary").iterdir())
        assert bytes(archive.map("model_weights.ckpt")) == b.torch_zip()


def test_a_full_disk_is_said_before_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gunzip, "_DISK_RESERVE", 1 << 62)
    (tmp_path / "x.nemo").write_bytes(gzip.compress(b.tar(b.members())))
    with pytest.raises(ConversionError, match="set TMPDIR"):
        open_archive(tmp_path / "x.nemo")


def test_a_hugging_face_snapshot_may_link_to_its_blobs(tmp_path: Path) -> None:
    """The hub's cache keeps contents in `blobs` and puts links into `snapshots/REVISION`."""
    blobs, snapshot = tmp_path / "repo/blobs", tmp_path / "repo/snapshots/abc"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, (name, body) in enumerate(b.members().items()):
        (blobs / str(number)).write_bytes(body)
        (snapshot / name).symlink_to(Path("../../blobs") / str(number))
    with open_archive(snapshot) as archive:
        assert archive.read_bytes("model_config.yaml", 10_000) == b.CONFIG
    (snapshot / "evil").symlink_to(tmp_path / "repo/refs")
    (tmp_path / "repo/refs").write_bytes(b"")
    with pytest.raises(ConversionError, match="outside the model's folder"):
        open_archive(snapshot)


def test_arrays_outlive_the_archive(tmp_path: Path) -> None:
    """The map ends with its last user, not with `close`: no dangling memory, no error at exit."""
    with open_archive(b.nemo(tmp_path / "x.nemo")) as archive:
        array = np.frombuffer(archive.map("model_config.yaml"), np.uint8)
        archive.release_pages()
    assert array.tobytes() == b.CONFIG
    assert not array.flags.writeable


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors through /proc")
def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    gc.collect()  # what other tests left behind must not vanish in between
    before = len(os.listdir("/proc/self/fd"))
    for content in (b.tar(b.members()), gzip.compress(b.tar(b.members())), gzip.compress(b"no tar")):
        (tmp_path / "x.nemo").unlink(missing_ok=True)
        (tmp_path / "x.nemo").write_bytes(content)
        try:
            with open_archive(tmp_path / "x.nemo") as archive:
                archive.map("model_config.yaml")
        except ConversionError:
            pass
    assert len(os.listdir("/proc/self/fd")) == before
