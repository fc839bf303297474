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
from dataclasses import dataclass, field
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

PROGRAM = "import mlx_canary.conversion.converter"


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


@dataclass
class Row:
    """One line of the table.

    Attributes:
        what: Its name.
        command: What is measured.
        source: What is put out of the cache before.
        output: What it makes, removed before; None if it makes nothing.
        runs: Seconds, seconds of processor time and peak MB of each run.
        output_bytes: Size of what it made.
    """

    what: str
    command: list[str]
    source: Path
    output: Path | None
    runs: list[tuple[float, float, float]] = field(default_factory=list)
    output_bytes: int = 0

    def run(self) -> None:
        if self.output is not None:
            remove(self.output)
        forget(self.source)
        self.runs.append(measure(self.command))
        if self.output is not None:
            self.output_bytes = size(self.output)

    def result(self, n_bytes: int) -> dict[str, Any]:
        seconds, processor, memory = zip(*self.runs, strict=True)
        middle = statistics.median(seconds)
        return {
            "what": self.what,
            "seconds": round(middle, 1),
            "all_seconds": [round(s, 1) for s in seconds],
            "cpu_seconds": round(statistics.median(processor), 1),
            "peak_mb": round(statistics.median(memory)),
            "source_mb_per_s": round(n_bytes / 1e6 / middle),
            "output_mb": round(self.output_bytes / 1e6, 1),
        }


def rows(checkpoint: Path, folder: Path, scratch: Path) -> list[Row]:
    """What is measured, in the order of a round."""
    mlx_canary, output = str(Path(sys.executable).parent / "mlx-canary"), scratch / "converted"

    def convert(source: Path, *options: str) -> list[str]:
        return [mlx_canary, "convert", str(source), "-o", str(output), *options]

    verify = [mlx_canary, "verify", str(output), str(checkpoint)]
    made = [
        Row("cp", ["cp", str(checkpoint), str(scratch / "copy")], checkpoint, scratch / "copy"),
        Row("load the program and end", [sys.executable, "-c", PROGRAM], checkpoint, None),
    ]
    for name, options in SETTINGS.items():
        made.append(Row(f"convert {name}", convert(checkpoint, *options), checkpoint, output))
        if name in ("float32", "4 bits"):
            made.append(Row(f"verify {name} against the source", verify, checkpoint, None))
    return [*made, Row("convert float32, unpacked folder", convert(folder), folder, output)]


def main(checkpoint: Path, scratch: Path, runs: int) -> None:
    folder = scratch / "unpacked"
    folder.mkdir()
    subprocess.run(["tar", "-xf", checkpoint, "-C", folder], check=True)
    table = rows(checkpoint, folder, scratch)
    for _ in range(runs):  # round after round, so that whatever else the machine does meets all alike
        for row in table:
            row.run()
            print(row.what, row.runs[-1], file=sys.stderr)
        remove(scratch / "copy")
    remove(folder)
    remove(scratch / "converted")
    n_bytes = size(checkpoint)
    results = [row.result(n_bytes) for row in table]
    print(json.dumps({**machine(), "checkpoint_bytes": n_bytes, "runs": runs, "rows": results}, indent=2))


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
