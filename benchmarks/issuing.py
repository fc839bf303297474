"""How long Python takes to issue a step of the decoder, plain and compiled. Nothing is computed: any machine can tell.

python benchmarks/issuing.py
"""

from __future__ import annotations

import time

import numpy as np

from mlx_canary.backend import mx
from mlx_canary.evaluate.subjects import random_subject
from mlx_canary.network import decoder
from mlx_canary.types import EncoderOutput

MODELS, N_ROWS, N_FRAMES, N_TOKENS, ROUNDS = ("canary-180m-flash", "canary-1b-v2"), 8, 376, 70, 200


def main() -> None:
    print(f"milliseconds to issue a step of {N_ROWS} rows, median (least) of {ROUNDS}")
    for name in MODELS:
        found = milliseconds(name)
        print(name, *(f"{what} {np.median(times):.3f} ({min(times):.3f})" for what, times in found.items()))


def milliseconds(name: str) -> dict[str, list[float]]:
    """Plain and compiled, in turn. In half precision, which is MLX's own on a CPU too."""
    network = random_subject(name, "bfloat16").network
    states = mx.zeros((N_ROWS, N_FRAMES, network.decoder.embedding.position.shape[1]), mx.bfloat16)
    cache = network.start(EncoderOutput(states, (N_FRAMES,) * N_ROWS), [0] * N_ROWS)
    mx.eval(network.step(mx.zeros((N_ROWS, N_TOKENS), mx.int32), cache))
    ids = mx.zeros((N_ROWS, 1), mx.int32)
    found: dict[str, list[float]] = {"plain": [], "compiled": []}
    for _ in range(ROUNDS + 1):
        for what, times in found.items():
            decoder.compiling_pays = lambda what=what: what == "compiled"  # type: ignore[assignment, misc]
            cache.rewind(N_TOKENS)
            start = time.perf_counter()
            network.step(ids, cache)
            times.append(1e3 * (time.perf_counter() - start))
    return {what: times[1:] for what, times in found.items()}  # the first compiles


if __name__ == "__main__":
    main()
