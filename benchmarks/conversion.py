"""Measure conversions: wall time, peak memory, size, next to a plain copy of the same file.

    python benchmarks/conversion.py CHECKPOINT.nemo SCRATCH_FOLDER [RUNS] > benchmarks/conversion.json

The checkpoint is put out of the operating system's cache before every run, so that the disk takes part,
as after a download. Medians of RUNS runs (3).
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

SETTINGS = {
    "float32": [],
    "float16": ["--dtype", "float16"],
    "bfloat16": ["--dtype", "bfloat16"],
    "8 bits": ["--dtype", "float16", "--bits", "8"],
    "4 bits": ["--dtype", "float16", "--bits", "4"],
    "float32, --preserve-keys": ["--preserve-keys"],
    "float32, --no-checksums": ["--no-checksums"],
}


def measure(command: list[str]) -> tuple[float, float, float]:
    """Seconds, seconds of processor time and peak resident memory in MB of a command that has to succeed."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} ended with status {status}")
    return time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def forget(path: Path) -> None:
    """Put a file, or a folder's files, out of the cache."""
    os.sync()
    for file in [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]:
        with file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def size(path: Path) -> int:
    return sum(p.stat().st_size for p in ([path] if path.is_file() else path.rglob("*")) if p.is_file())


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def median(name: str, command: list[str], source: Path, output: Path | None, runs: int, read: int) -> dict[str, Any]:
    """One line of the table."""
    measured = []
    for _ in range(runs):
        if output is not None:
            remove(output)
        forget(source)
        measured.append(measure(command))
    seconds, processor, memory = zip(*measured, strict=True)
    middle = statistics.median(seconds)
    row = {
        "what": name,
        "seconds": round(middle, 1),
        "all_seconds": [round(s, 1) for s in seconds],
        "cpu_seconds": round(statistics.median(processor), 1),
        "peak_mb": round(statistics.median(memory)),
        "read_mb_per_s": round(read / 1e6 / middle),
        "output_mb": None if output is None else round(size(output) / 1e6, 1),
    }
    print(row, file=sys.stderr)
    return row


def main(checkpoint: Path, scratch: Path, runs: int) -> None:
    n_bytes, output, copy, folder = size(checkpoint), scratch / "converted", scratch / "copy", scratch / "unpacked"
    mlx_canary = str(Path(sys.executable).parent / "mlx-canary")
    convert = [mlx_canary, "convert", str(checkpoint), "-o", str(output)]
    rows = [median("cp", ["cp", str(checkpoint), str(copy)], checkpoint, copy, runs, n_bytes)]
    remove(copy)
    idle = [sys.executable, "-c", "import mlx_canary.conversion.converter"]
    rows.append(median("load the program and end", idle, checkpoint, None, runs, 0))
    for name, options in SETTINGS.items():
        rows.append(median(f"convert {name}", [*convert, *options], checkpoint, output, runs, n_bytes))
        if name in ("float32", "4 bits"):
            verify = [mlx_canary, "verify", str(output), str(checkpoint)]
            rows.append(median(f"verify {name} against the source", verify, checkpoint, None, runs, n_bytes))
    folder.mkdir()
    subprocess.run(["tar", "-xf", checkpoint, "-C", folder], check=True)
    unpacked = [mlx_canary, "convert", str(folder), "-o", str(output)]
    rows.append(median("convert float32, unpacked folder", unpacked, folder, output, runs, n_bytes))
    remove(folder)
    remove(output)
    print(json.dumps({**machine(), "checkpoint_bytes": n_bytes, "runs": runs, "rows": rows}, indent=2))


def machine() -> dict[str, Any]:
    return {
        "date": time.strftime("%Y-%m-%d"),
        "system": f"{platform.system()} {platform.release()} on {platform.machine()}",
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "python": platform.python_version(),
        "packages": {name: version(name) for name in ("mlx-canary", "mlx", "numpy")},
    }


if __name__ == "__main__":
    if not 3 <= len(sys.argv) <= 4:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) == 4 else 3)
