"""Whether a second of sound costs the same in a clip and in a day's recording, and in one file and in hundreds.

    python benchmarks/scale.py --model demo --manifest tests/data/demo/clips.jsonl --seconds 10 600 36000 --files 1 100

Clips are joined to recordings of these lengths, and the first one is heard as so many files. Each case runs in a
process of its own, after a clip to warm up. Peak memory is the process's. Prints a table; --json writes the figures.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from longform import joined, print_row, transcribed_clips

from mlx_canary import CanaryModel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--manifest", type=Path, required=True, help="JSON lines with audio_filepath and lang")
    parser.add_argument("--language", default="en")
    parser.add_argument("--seconds", type=float, nargs="+", default=[10.0, 60.0, 600.0, 3600.0, 36000.0])
    parser.add_argument("--files", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)  # a recording and how often, in a process of its own
    args = parser.parse_args()
    if args.run:
        print(json.dumps(one_run(args, Path(args.run[0]), int(args.run[1]))))
        return
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        clips = transcribed_clips(args)
        cases = [(seconds, 1) for seconds in args.seconds] + [(args.seconds[0], n) for n in args.files]
        for seconds, n_files in dict.fromkeys(cases):
            path = Path(folder) / f"{seconds:g}.wav"
            if not path.exists():
                joined(clips, seconds / 60, path)
            rows.append({"seconds": seconds, "files": n_files} | in_own_process(args, path, n_files))
            print_row(rows[-1], header=len(rows) == 1)
    if args.json:
        machine = {"system": platform.platform(), "python": platform.python_version()}
        args.json.write_text(json.dumps({"model": args.model, "machine": machine, "rows": rows}, indent=2) + "\n")


def in_own_process(args: argparse.Namespace, path: Path, n_files: int) -> dict[str, Any]:
    """So that one run's memory does not count for the next."""
    command = [sys.executable, __file__, "--model", args.model, "--manifest", str(args.manifest)]
    command += ["--language", args.language, "--batch-size", str(args.batch_size), "--run", str(path), str(n_files)]
    finished = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(finished.stdout)
    return result


def one_run(args: argparse.Namespace, path: Path, n_files: int) -> dict[str, Any]:
    model = CanaryModel.from_pretrained(args.model)
    first = json.loads(args.manifest.read_text(encoding="utf-8").splitlines()[0])
    model.transcribe(args.manifest.parent / first["audio_filepath"], language=args.language)
    began, cpu = time.perf_counter(), time.process_time()
    found = model.transcribe_batch([path] * n_files, language=args.language, batch_size=args.batch_size)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    heard = sum(transcript.duration for transcript in found)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1 / 1024)
    return {
        "words": sum(len(transcript.text.split()) for transcript in found),
        "work": round(seconds, 2),
        "times_real_time": round(heard / seconds, 1),
        "cpu_ms_a_second": round(1000 * cpu_seconds / heard, 1),
        "peak_mib": round(peak / 2**20),
    }


if __name__ == "__main__":
    main()
