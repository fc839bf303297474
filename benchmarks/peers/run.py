"""Our speed beside other programs' on this machine: the same weights, windows and numbers of tokens, in one run.

    python benchmarks/peers/run.py --work /somewhere/with/space [--model canary-180m-flash] [--json FILE]

Every peer gets an environment of its own under --work, where pip installs it, and the checkpoint in its own format. The
peers then take turns, round after round, so that whatever else the machine does meets all alike. A peer that cannot do
it is listed with what it said. Environments, checkpoints and sound are kept for the next run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tools")]

import recordings  # noqa: E402
import table  # noqa: E402
from peers import NOT_HERE, PEERS, Peer  # noqa: E402
from workers import Failed, Worker, make_checkpoint, say  # noqa: E402


class Measurement:
    """Workers, and the rows that they fill."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.workers: dict[str, Worker] = {}
        self.rows: list[dict[str, Any]] = []

    def start(self, peers: list[Peer]) -> list[Peer]:
        """The peers that could be started; the others become rows."""
        for peer in peers:
            if peer.environment and sys.platform != "linux":
                continue
            try:
                self.workers[peer.key] = Worker(peer, self.args)
            except Failed as failure:
                self._failed(self._row(peer, "all", 1, 0.0), failure)
        return [peer for peer in peers if peer.key in self.workers]

    def rounds(self, peers: list[Peer], seconds: int, repeats: int, batches: dict[str, list[int]], warm: bool) -> None:
        """Each peer in turn with each of its batch sizes, `repeats` times, and once before to warm up."""
        case = recordings.case(seconds, self.args.work / "audio")
        rows = [self._row(p, name_of(seconds), size, seconds) for p in peers for size in batches[p.key]]
        for n in range(repeats + warm):
            for row in rows:
                self._pass(row, case, counts=n >= warm)
        self.rows += rows

    def _pass(self, row: dict[str, Any], case: dict[str, Any], counts: bool) -> None:
        worker = self.workers.get(row["key"])
        if worker is None or "error" in row:
            return
        copies = -(-row["batch_size"] // len(case["windows"]))
        try:
            answer = worker.run(case | {"windows": case["windows"] * copies, "batch_size": row["batch_size"]})
        except Failed as failure:
            self._failed(row, failure)
            del self.workers[row["key"]]
            return
        row["audio_seconds"] = row["recording_seconds"] * copies
        row["peak_mb"] = answer["peak_mb"]
        row["all_seconds"] += [answer["seconds"]] if counts else []
        say(f"{row['key']}, {row['case']}, batches of {row['batch_size']}: {answer['seconds']:.2f} s")

    def _failed(self, row: dict[str, Any], failure: Failed) -> None:
        row["error"] = str(failure)
        row.pop("all_seconds")
        if row["case"] == "all":
            self.rows.append(row)
        say(f"{row['key']}: {failure}")

    def _row(self, peer: Peer, case: str, batch_size: int, seconds: float) -> dict[str, Any]:
        about = self.workers[peer.key].about if peer.key in self.workers else {}
        row = {"peer": peer.name, "precision": peer.precision, "key": peer.key, "case": case, "batch_size": batch_size}
        return row | {"recording_seconds": seconds, "all_seconds": [], "note": peer.note, **about}


def name_of(seconds: int) -> str:
    return f"{seconds} s" if seconds < 120 else f"{seconds / 60:g} min"


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    chosen = [peer for peer in PEERS if not args.peers or peer.name in args.peers or peer.key in args.peers]
    make_checkpoint(args)
    measurement = Measurement(args)
    peers = measurement.start(chosen)
    if args.prepare_only:
        return measurement.rows
    batches = {peer.key: [size for size in args.batch_sizes if size <= peer.max_batch] for peer in peers}
    measurement.rounds(peers, args.seconds, args.repeats, batches, warm=True)
    if args.long_seconds:
        long = [peer for peer in peers if peer.long and peer.key in measurement.workers]
        best = {p.key: [table.best_batch(measurement.rows, p.name, p.precision)] for p in long}
        measurement.rounds(long, args.long_seconds, args.long_repeats, best, warm=False)
    for worker in measurement.workers.values():
        worker.close()
    return measurement.rows


def machine(args: argparse.Namespace) -> dict[str, Any]:
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "system": f"{platform.system()} {platform.release()} on {platform.machine()}",
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": args.threads,
        "load_average": [round(load, 1) for load in os.getloadavg()],
    }


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--work", type=Path, required=True, help="folder for environments and checkpoints, some 20 GB")
    made.add_argument("--model", default="canary-180m-flash", choices=["demo", "canary-180m-flash", "canary-1b-flash"])
    made.add_argument("--peers", nargs="+", help="names from the table, such as NeMo or 'NeMo bfloat16'; otherwise all")
    made.add_argument("--seconds", type=int, default=10, help="length of the short recording")
    made.add_argument("--repeats", type=int, default=3)
    made.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 4], help="for the short recording")
    made.add_argument("--long-seconds", type=int, default=600, help="length of the long recording, 0 for none")
    made.add_argument("--long-repeats", type=int, default=1)
    made.add_argument("--one-at-a-time", action="store_true",
                      help="load a peer for each pass, where memory does not hold all of them")  # fmt: skip
    made.add_argument("--threads", type=int, default=os.cpu_count())
    made.add_argument("--env", nargs=2, action="append", default=[], metavar=("SCRIPT", "FOLDER"),
                      help="an environment that exists, such as: nemo /path/to/venv")  # fmt: skip
    made.add_argument("--prepare-only", action="store_true", help="install, convert and load, but measure nothing")
    made.add_argument("--json", type=Path, help="write all figures here")
    return made


def main() -> None:
    args = parser().parse_args()
    args.work = args.work.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    args.env = {name: Path(folder) for name, folder in args.env}
    before = machine(args)
    rows = table.summarised(measure(args))
    if args.json:
        report = {"model": args.model, "machine": before, "rows": rows, "not_here": NOT_HERE}
        args.json.write_text(json.dumps(report, indent=2) + "\n")
    print(table.markdown(rows), end="")
    for name, why in NOT_HERE.items():
        print(f"- {name}: not run. {why}")


if __name__ == "__main__":
    main()
