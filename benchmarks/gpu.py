"""mlx-canary on MLX's default device beside NeMo on PyTorch: sound heard in a second, in turns on one GPU.

    python benchmarks/gpu.py run --json gpu.json --seconds-budget 150 --nemo /path/to/nemo/bin/python
    python benchmarks/gpu.py check --json check.json
    python benchmarks/gpu.py profile ours --model canary-180m-flash --batch 64 --json profile.json

`run` starts a process for each program (`ours`, `nemo`), for each brings its own CUDA libraries, and asks them for the
cases of the plan in turn. Weights are random, windows are alike, and each gets four tokens for each second of it. A row
is printed and the JSON is written after each case, so that a run may be cut off at any time. `check` compares the
demo model's texts with NeMo's. Without a GPU all of it runs on a CPU.
"""

from __future__ import annotations

import argparse
import json
import queue
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent / "gpu_workers"))

# The most telling first: what stands last is left out where time is short. After @ stand the feature frames that our
# encoder hears at once, where they are not the package's own choice.
PLAN = (
    "canary-180m-flash/bfloat16/10/1,32,128,128@50000,128@200000",
    "canary-1b-flash/bfloat16/10/1,32,128,128@50000,128@200000",
    "canary-180m-flash/bfloat16/10/8,256,256@200000,512,512@200000",
    "canary-180m-flash/bfloat16/30/1,32,128",
    "canary-1b-flash/bfloat16/10/8,256",
    "canary-1b-flash/bfloat16/30/32,64",
    "canary-1b-flash/float16/10/1,128",
    "canary-180m-flash/float16/10/1,128",
    "canary-180m-flash/float32/10/1,128",
    "canary-180m-flash/autocast/10/128",
    "canary-1b-flash/float32/10/1,128",
)
ONLY = {"autocast": "nemo", "float16": "ours"}
"""Ways that only one of the two has, or is measured in."""


@dataclass(frozen=True)
class Case:
    model: str
    dtype: str
    seconds: int
    batch: int
    frames: int


def cases(plan: list[str]) -> Iterator[Case]:
    for line in plan:
        model, dtype, seconds, batches = line.split("/")
        for batch in batches.split(","):
            n_windows, _, frames = batch.partition("@")
            yield Case(model, dtype, int(seconds), int(n_windows), int(frames or 0))


class Late(Exception):
    """There is no time left."""


@dataclass
class Worker:
    """A program's process, with one model in memory."""

    name: str
    command: list[str]
    log: Path
    about: dict[str, Any] = field(default_factory=dict)
    loaded: tuple[str, str] | None = None
    lines: queue.Queue[str] = field(default_factory=queue.Queue)

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log.open("a"),
            text=True,
            bufsize=1,
        )
        self.lines = queue.Queue()
        threading.Thread(target=self._read, args=(self.process, self.lines), daemon=True).start()

    @staticmethod
    def _read(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put("")

    def hello(self, deadline: float) -> None:
        self.about, self.loaded = self._answer(deadline), None

    def ask(self, what: dict[str, Any], deadline: float) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        return self._answer(deadline)

    def load(self, model: str, dtype: str, deadline: float) -> dict[str, Any]:
        """What the program said; nothing where the model is in memory already."""
        if self.loaded == (model, dtype):
            return {}
        self.loaded = None
        answer = self.ask({"model": model, "dtype": dtype}, deadline)
        if "error" not in answer:
            self.loaded = (model, dtype)
        return answer

    def _answer(self, deadline: float) -> dict[str, Any]:
        """Raises: Late, where it does not come in time; BrokenPipeError where the process is gone."""
        try:
            line = self.lines.get(timeout=max(0.1, deadline - time.perf_counter()))
        except queue.Empty:
            raise Late(f"{self.name} did not answer in time") from None
        if not line:
            raise BrokenPipeError(f"the process ended with {self.process.wait()}; see {self.log}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


HEADER = "model dtype window batch program how seconds (least..most) xRT features encoder decoder first peak_MB"


def print_row(row: dict[str, Any]) -> None:
    start = (
        f"{row['model']:18} {row['dtype']:9} {row['window']:3}s x{row['batch']:<4} {row['program']:5} {row['how']:10}"
    )
    if "error" in row:
        print(start, row["error"], flush=True)
        return
    stages = row["stages"] or {}
    times = " ".join(f"{stages.get(name, float('nan')):8.4f}" for name in ("features", "encoder", "decoder"))
    spread = f"{row['seconds']:8.4f} ({row['least']:.4f}..{row['most']:.4f})"
    print(f"{start} {spread} {row['rtfx']:9.1f} {times} {row['first_seconds']:7.2f} {row['peak_mb']:6}", flush=True)


def run(args: argparse.Namespace) -> None:
    deadline = time.perf_counter() + args.seconds_budget
    commands = {"ours": [*shlex.split(args.ours), str(HERE), "ours", "--memory-gb", str(args.memory_gb)]}
    if args.nemo:
        commands["nemo"] = [*shlex.split(args.nemo), str(HERE), "nemo"]
    workers = {name: Worker(name, command, Path(f"{args.json}.{name}.log")) for name, command in commands.items()}
    report: dict[str, Any] = {"rows": [], "about": {}}
    for worker in workers.values():
        worker.start()
    print(HEADER, flush=True)
    try:
        measure_all(args, workers, report, deadline)
    except Late as late:
        print(f"Stopped: {late}.", flush=True)
    finally:
        for worker in workers.values():
            worker.stop()
        args.json.write_text(json.dumps(report, indent=1))
    print_best(report["rows"])


def measure_all(args: argparse.Namespace, workers: dict[str, Worker], report: dict[str, Any], deadline: float) -> None:
    gone: set[str] = set()
    repeats = {"repeats": args.repeats, "most_seconds": args.most_seconds}
    for case in cases(args.plan or list(PLAN)):
        for name, worker in workers.items():
            if ONLY.get(case.dtype, name) != name or name in gone or (case.frames and name != "ours"):
                continue
            for how in ("direct", "transcribe") if name == "nemo" and args.transcribe else ("direct",):
                row = {"program": name, "how": how, "model": case.model, "dtype": case.dtype}
                row |= {"window": case.seconds, "batch": case.batch, "frames": case.frames}
                if time.perf_counter() > deadline:
                    raise Late("the time is used up")
                try:
                    if not worker.about:
                        worker.hello(deadline)
                        report["about"][name] = worker.about
                        print(json.dumps(worker.about), flush=True)
                    said = worker.load(case.model, case.dtype, deadline)
                    if "error" not in said:
                        asked = {"seconds": case.seconds, "batch": case.batch, "how": how, "frames": case.frames}
                        said |= worker.ask(asked | repeats, deadline)
                    row |= said
                except BrokenPipeError as error:
                    row["error"] = str(error)
                    if worker.about:  # it ran once: another case may do better
                        worker.about = {}
                        worker.start()
                    else:
                        gone.add(name)
                print_row(row)
                report["rows"].append(row)
                args.json.write_text(json.dumps(report, indent=1))


def print_best(rows: list[dict[str, Any]]) -> None:
    """The best throughput of each, whatever batch it took, and alone."""
    done = [row for row in rows if "error" not in row]
    for model, window in dict.fromkeys((row["model"], row["window"]) for row in done):
        for title, chosen in (("alone", [row for row in done if row["batch"] == 1]), ("best", done)):
            best: dict[str, dict[str, Any]] = {}
            for row in chosen:
                if (row["model"], row["window"]) == (model, window) and row["dtype"] != "float32":
                    best[row["program"]] = max(best.get(row["program"], row), row, key=lambda one: float(one["rtfx"]))
            if len(best) == 2:
                said = ", ".join(
                    f"{name} {row['rtfx']:.0f} ({row['dtype']} x{row['batch']} {row['how']})"
                    for name, row in best.items()
                )
                print(f"{model} {window} s {title}: {said}; ratio {best['ours']['rtfx'] / best['nemo']['rtfx']:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run")
    one.add_argument("--json", type=Path, required=True)
    one.add_argument("--seconds-budget", type=float, default=150)
    one.add_argument(
        "--plan", action="append", help="MODEL/DTYPE/SECONDS/BATCH[@FRAMES],...; may be given several times"
    )
    one.add_argument("--ours", default=shlex.quote(sys.executable), help="the command that starts our Python")
    one.add_argument("--nemo", help="the command that starts a Python with NeMo; without it only ours is measured")
    one.add_argument("--repeats", type=int, default=3)
    one.add_argument("--most-seconds", type=float, default=4, help="begin no further repeat of a case after so long")
    one.add_argument(
        "--no-transcribe", dest="transcribe", action="store_false", help="only NeMo's parts, not its method"
    )
    worker = commands.add_parser("ours")
    commands.add_parser("nemo")
    checked = commands.add_parser("check")
    checked.add_argument("--json", type=Path)
    checked.add_argument("--seconds-budget", type=float, default=60)
    checked.add_argument("--dtypes", type=lambda text: text.split(","), default=["float32", "bfloat16", "float16"])
    checked.add_argument("--samples", type=Path, help="what `samples` wrote")
    samples = commands.add_parser("samples")
    samples.add_argument("path", type=Path)
    profiled = commands.add_parser("profile")
    profiled.add_argument("program", choices=["ours", "nemo"])
    profiled.add_argument("--model", default="canary-180m-flash")
    profiled.add_argument("--dtype", default="bfloat16")
    profiled.add_argument("--seconds", type=int, default=10)
    profiled.add_argument("--batch", type=int, default=64)
    profiled.add_argument("--frames", type=int, default=0, help="that our encoder hears at once; 0 for its own choice")
    profiled.add_argument("--kernels", action="store_true", help="with PyTorch's profiler, if it is there")
    profiled.add_argument("--json", type=Path, required=True)
    for options in (one, worker, profiled):
        options.add_argument("--memory-gb", type=int, default=0, help="a limit for MLX; 0 for its own")
    args = parser.parse_args()
    if args.command == "run":
        run(args)
    elif args.command in ("check", "samples"):
        import check

        check.check(args) if args.command == "check" else check.save_samples(args.path)
    else:
        program = args.program if args.command == "profile" else args.command
        if program == "ours":
            import our_worker as chosen
        else:
            import nemo_worker as chosen  # type: ignore[no-redef]
        if args.command == "profile":
            found = chosen.profile(args)
            args.json.write_text(json.dumps(found, indent=1))
            print(json.dumps(found, indent=1))
        else:
            chosen.run(args)


if __name__ == "__main__":
    main()
