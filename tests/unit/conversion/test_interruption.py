"""Conversions that are killed, that run out of disk, that may not write; and how much memory one takes."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import variants as v
from conftest import without_privileges
from make_random_checkpoint import Sizes, write_checkpoint

from mlx_canary import CanaryModel, verify

SIZES = Sizes(2, 1024, 1, max_sequence_length=256, tokenizers={"spl_tokens": 1152, "en": 256})
LARGEST = 4 * 1024 * 1024 * 4  # bytes of a feed-forward matrix


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Iterator[Path]:
    """A checkpoint of some 300 MB, so that there is time to interrupt."""
    path = tmp_path_factory.mktemp("large") / "large.nemo"
    write_checkpoint(path, SIZES)
    assert path.stat().st_size > 250e6
    yield path
    path.unlink()


def interruptible() -> None:
    """Whoever runs the tests in the background may ignore interruptions, and the process would inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(
    nemo: Path, folder: Path, *options: str, before: Callable[[], None] | None = interruptible
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mlx_canary", "convert", str(nemo), "-o", str(folder), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=before)


def finish(nemo: Path, folder: Path) -> None:
    process = start(nemo, folder)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 0, said


def written(folder: Path) -> int:
    """Bytes of weights in the hidden folder beside the target; -1 before there is one."""
    hidden = list(folder.parent.glob(f".{folder.name}.*.partial"))
    if not hidden:
        return -1
    try:
        return (hidden[0] / "model.safetensors").stat().st_size
    except FileNotFoundError:
        return 0


def interrupt(process: subprocess.Popen[str], folder: Path, kind: int, moment: int) -> str:
    """Send a signal as soon as so many bytes are written; what it said."""
    while process.poll() is None and written(folder) < moment:
        time.sleep(0.001)
    process.send_signal(kind)
    return process.communicate(timeout=60)[1]


@pytest.mark.parametrize("moment", [0, 50_000_000, 200_000_000])
def test_killed_at_any_moment_nothing_looks_like_a_model(moment, large, tmp_path):
    """Only a hidden folder may stay; another conversion is not disturbed by it and clears it away."""
    process = start(large, tmp_path / "model")
    interrupt(process, tmp_path / "model", signal.SIGKILL, moment)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "model").exists()
    for left in tmp_path.iterdir():
        assert left.name.startswith(".model.")
        assert left.name.endswith(".partial")
        assert not (left / "config.json").exists()
    finish(v.MODELS / "canary2-flash.nemo", tmp_path / "model")
    assert CanaryModel.from_pretrained(tmp_path / "model").config.name == "canary2-flash"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("moment", [-1, 0, 50_000_000, 200_000_000])
def test_interrupted_by_the_user_nothing_stays(moment, large, tmp_path):
    process = start(large, tmp_path / "model")
    if moment < 0:
        time.sleep(0.5)  # while Python loads its modules
    said = interrupt(process, tmp_path / "model", signal.SIGINT, moment)
    assert list(tmp_path.iterdir()) == []
    assert process.returncode in (130, -signal.SIGINT)
    if moment >= 0:
        assert said.strip() == "Interrupted."


def test_an_interrupted_overwrite_keeps_the_earlier_conversion(large, tmp_path):
    nemo = v.MODELS / "canary2-flash.nemo"
    finish(nemo, tmp_path / "model")
    process = start(large, tmp_path / "model", "--overwrite")
    interrupt(process, tmp_path / "model", signal.SIGKILL, 50_000_000)
    assert all(check.passed for check in verify(tmp_path / "model", nemo))


def test_a_disk_that_fills_up_leaves_nothing(large, tmp_path):
    """A limit on the size of files stands for the disk: the write fails midway, for real."""
    limit = 100_000_000
    process = start(large, tmp_path / "model", before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert said == f"Error: Cannot write {tmp_path / 'model'}: File too large. Nothing was left behind.\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="drops Linux capabilities")
@pytest.mark.parametrize(
    ("mode", "message"), [(0o555, "Cannot write in {parent}: Permission denied."), (0o000, "Permission denied")]
)
def test_a_folder_that_may_not_be_written_to(mode, message, tmp_path):
    parent = tmp_path / "parent"
    parent.mkdir()
    parent.chmod(mode)
    process = start(v.MODELS / "canary2-flash.nemo", parent / "model", before=without_privileges)
    said = process.communicate(timeout=60)[1]
    parent.chmod(0o755)
    assert process.returncode == 1
    assert message.format(parent=parent) in said
    assert said.startswith("Error: ")
    assert said.count("\n") == 1
    assert list(parent.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="drops Linux capabilities")
@pytest.mark.parametrize("command", ["convert", "verify", "languages"])
def test_a_model_that_may_not_be_read(command, tmp_path):
    """Once a traceback: even asking whether a path exists may be forbidden."""
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0)
    arguments = {"convert": [], "verify": [], "languages": ["-m"]}[command]
    result = subprocess.run(
        [sys.executable, "-m", "mlx_canary", command, *arguments, str(closed / "x.nemo")],
        capture_output=True,
        text=True,
        preexec_fn=without_privileges,
        cwd=tmp_path,
        timeout=60,
    )
    assert result.returncode == 1
    assert "Permission denied" in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


def peak_memory(nemo: Path, folder: Path, *options: str) -> int:
    """Peak resident bytes of a conversion."""
    return peak_of(start(nemo, folder, *options))


def peak_of(process: subprocess.Popen) -> int:
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.communicate()
    assert process.returncode == 0
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@pytest.mark.parametrize("options", [(), ("--dtype", "bfloat16"), ("--bits", "4"), ("--preserve-keys",)])
def test_memory_stays_near_the_largest_tensor(options, large, tmp_path):
    """Of a file of some 300 MB no more than a few tensors of 17 MB are in memory at once."""
    base = peak_memory(v.MODELS / "canary2-flash.nemo", tmp_path / "small")
    peak = peak_memory(large, tmp_path / "large", *options)
    assert peak - base < 5 * LARGEST


def test_a_loaded_checkpoint_takes_its_weights_memory(large):
    """And not once more that of the file that they were read from."""
    command = "import sys; from mlx_canary import CanaryModel; CanaryModel.from_pretrained(sys.argv[1])"
    base, peak = (
        peak_of(subprocess.Popen([sys.executable, "-c", command, path]))
        for path in (v.MODELS / "canary2-flash.nemo", large)
    )
    assert peak - base < large.stat().st_size + 5 * LARGEST
