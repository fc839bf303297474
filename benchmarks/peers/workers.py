"""A peer's environment, its checkpoint, and its process: made if need be, and asked for times.

What a peer says when it cannot is a `Failed`; the table lists it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

from peers import PEERS, Peer

HERE = Path(__file__).resolve().parent
AVX512 = {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}


class Failed(Exception):
    """A peer cannot go on, and why."""


def python_of(environment: Path) -> Path:
    return environment / "bin" / "python"


def installed(peer: Peer, args: argparse.Namespace) -> Path:
    """The interpreter of the peer's environment, made if need be.

    Raises:
        Failed: pip's last words.
    """
    requirements = importlib.import_module(peer.script).REQUIREMENTS
    if not requirements:
        return Path(sys.executable)
    name = peer.script.removeprefix("peer_")
    if name in args.env:
        return python_of(args.env[name])
    folder = args.work / "environments" / name
    done = folder / "installed.json"
    if not done.exists() or json.loads(done.read_text()) != requirements:
        shutil.rmtree(folder, ignore_errors=True)
        say(f"installing {', '.join(requirements)}")
        checked([sys.executable, "-m", "venv", str(folder)])
        checked([str(python_of(folder)), "-m", "pip", "install", "--quiet", *requirements])
        done.write_text(json.dumps(requirements))
    return python_of(folder)


def checked(command: list[str], environment: dict[str, str] | None = None) -> None:
    finished = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if finished.returncode:
        raise Failed(last_words(finished.stderr) or f"{command[0]} ended with {finished.returncode}")


def last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def prepared(peer: Peer, args: argparse.Namespace) -> Path:
    """A folder with the checkpoint as the peer reads it.

    Raises:
        Failed: What stood in the way.
    """
    own = installed(peer, args)
    folder: Path = args.work / "checkpoints" / args.model / (peer.script if peer.prepared_by else "nemo")
    done, source = folder / "prepared", args.work / "checkpoints" / args.model / "nemo" / "model.nemo"
    script = (HERE / f"{peer.script}.py").read_text()
    if not peer.prepared_by or (done.exists() and done.read_text() == script):
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    say(f"preparing {args.model} for {peer.name}")
    nemo = next(other for other in PEERS if other.script == "peer_nemo")
    interpreter = {"ours": Path(sys.executable), "own": own}.get(peer.prepared_by) or installed(nemo, args)
    checked([str(interpreter), str(HERE / f"{peer.script}.py"), "prepare", str(source), str(folder)], variables(args))
    done.write_text(script)
    return folder


def make_checkpoint(args: argparse.Namespace) -> None:
    path: Path = args.work / "checkpoints" / args.model / "nemo" / "model.nemo"
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    if args.model == "demo":
        from importlib.resources import files

        shutil.copy(str(files("mlx_canary") / "demo" / "demo.nemo"), unfinished)
    else:
        from make_random_checkpoint import MODELS, write_checkpoint

        write_checkpoint(unfinished, MODELS[args.model])
    unfinished.rename(path)


def variables(args: argparse.Namespace, more: dict[str, str] | None = None) -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return os.environ | dict.fromkeys(names, str(args.threads)) | {"HF_HUB_OFFLINE": "1"} | (more or {})


class Worker:
    """A peer's process with the model in memory, waiting for cases; with --one-at-a-time, a new one for each."""

    def __init__(self, peer: Peer, args: argparse.Namespace) -> None:
        self.peer, self.args = peer, args
        self._start()
        if args.one_at_a_time:
            self.close()

    def _start(self) -> None:
        peer, args = self.peer, self.args
        folder = prepared(peer, args)
        log = args.work / "logs" / f"{peer.key}.txt"
        log.parent.mkdir(exist_ok=True)
        self._log: IO[str] = log.open("w")
        say(f"loading {peer.key}")
        script = [str(installed(peer, args)), str(HERE / f"{peer.script}.py"), "run", str(folder), peer.precision]
        self._process = subprocess.Popen(
            script,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            bufsize=1,
            env=variables(args, blas_variables(peer)),
        )
        self.about = self._answer()

    def run(self, case: dict[str, Any]) -> dict[str, Any]:
        """Hear a case once.

        Raises:
            Failed: The peer could not.
        """
        if not self.args.one_at_a_time:
            return self._ask(case)
        self._start()
        self._ask(case | {"windows": case["windows"][: case["batch_size"]]})  # to warm up
        answer = self._ask(case)
        self.close()
        return answer

    def _ask(self, case: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(case) + "\n")
        return self._answer()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._log.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Failed(f"The process ended with {self._process.wait()}.")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer


def blas_variables(peer: Peer) -> dict[str, str]:
    """An OpenBLAS older than the CPU would take its oldest kernels: it is told which to take."""
    flags = set(Path("/proc/cpuinfo").read_text(errors="replace").split()) if peer.environment else set()
    return peer.environment | ({"OPENBLAS_CORETYPE": "SkylakeX"} if flags >= AVX512 else {})


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
