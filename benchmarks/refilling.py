"""How many steps a decoder takes with and without refilling, by simulation, where only their number counts.

python benchmarks/refilling.py
"""

from __future__ import annotations

import numpy as np

BATCH_SIZES, DEVIATIONS = (4, 8, 16, 64), (0.0, 0.1, 0.25, 0.4)
TOKENS_PER_SECOND, SECONDS, N_BATCHES, SEEDS = 3.6, (20.0, 32.0), 40, 6


def windows(batch_size: int, deviation: float, seed: int) -> list[int]:
    """Tokens of windows, in the order in which they are decoded: sorted by length within four batches."""
    random = np.random.default_rng(seed)
    seconds = np.sort(random.uniform(*SECONDS, (N_BATCHES // 4, 4 * batch_size)), axis=1).reshape(-1)
    tokens = TOKENS_PER_SECOND * seconds * (1 + deviation * random.standard_normal(len(seconds)))
    return [max(3, int(n)) for n in tokens]


def batched(tokens: list[int], batch_size: int) -> int:
    """A batch takes as long as its longest item, and reads its prompts."""
    return sum(max(tokens[start : start + batch_size]) + 1 for start in range(0, len(tokens), batch_size))


def refilled(tokens: list[int], batch_size: int) -> int:
    """An eighth of the places is filled as soon as it is free; reading the prompts is a step."""
    waiting, rows, n_steps = tokens[::-1], list[int](), 0
    while waiting or rows:
        if waiting and batch_size - len(rows) >= max(1, batch_size // 8):
            rows += [waiting.pop() for _ in range(min(len(waiting), batch_size - len(rows)))]
            n_steps += 1
        n_steps += 1
        rows = [n - 1 for n in rows if n > 1]
    return n_steps


def main() -> None:
    print("differ by  " + "".join(f"{f'batch {n}':>10}" for n in BATCH_SIZES))
    for deviation in DEVIATIONS:
        ratios = []
        for batch_size in BATCH_SIZES:
            runs = [windows(batch_size, deviation, seed) for seed in range(SEEDS)]
            ratios.append(np.mean([batched(run, batch_size) / refilled(run, batch_size) for run in runs]))
        print(f"{deviation:>8.0%}   " + "".join(f"{ratio:>10.2f}" for ratio in ratios))


if __name__ == "__main__":
    main()
