"""What beams cost against greedy search, in one interleaved run.

    python benchmarks/search.py [--batch-size 1] [--steps 60] [--json FILE]

A decoder of canary-180m-flash's sizes with random weights takes the same number of steps in every way of searching; ten
seconds of encoder states. The best of several interleaved runs counts, since other work on the machine only slows down.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

from mlx_canary.backend import mx, nn
from mlx_canary.config import DecoderConfig
from mlx_canary.decoding.beam import Beam
from mlx_canary.decoding.greedy import Greedy
from mlx_canary.decoding.search import Symbols, search
from mlx_canary.network.canary import CanaryNetwork
from mlx_canary.network.decoder import TransformerDecoder
from mlx_canary.types import EncoderOutput

VOCABULARY, N_FRAMES, N_PROMPT, REPEATS = 5248, 125, 9, 7


class DecoderOnly(CanaryNetwork):
    """The decoder and head; searching needs no encoder."""

    def __init__(self, config: DecoderConfig) -> None:
        nn.Module.__init__(self)
        self.decoder = TransformerDecoder(config)
        self.head_bias = mx.zeros((config.output_size,))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    network = decoder()
    encoded = EncoderOutput(mx.random.normal((args.batch_size, N_FRAMES, 1024)), (N_FRAMES,) * args.batch_size)
    prompts = [list(range(N_PROMPT))] * args.batch_size
    symbols = Symbols(VOCABULARY - 1, VOCABULARY)
    ways = {"greedy": Greedy(), "beam 2": Beam(2), "beam 4": Beam(4), "beam 8": Beam(8)}
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(REPEATS):
        for name, way in ways.items():
            started = time.perf_counter()
            search(network, encoded, prompts, [args.steps] * args.batch_size, symbols, way)
            best[name] = min(best[name], time.perf_counter() - started)
    rows = [
        {"way": name, "ms_per_step": seconds / args.steps * 1e3, "times_greedy": seconds / best["greedy"]}
        for name, seconds in best.items()
    ]
    for row in rows:
        print(f"{row['way']:8} {row['ms_per_step']:7.1f} ms a step, {row['times_greedy']:.2f} x greedy")
    if args.json:
        record = {"batch_size": args.batch_size, "steps": args.steps, "system": platform.platform(), "rows": rows}
        args.json.write_text(json.dumps(record, indent=2) + "\n")


def decoder() -> DecoderOnly:
    config = DecoderConfig(
        n_layers=4,
        hidden_size=1024,
        inner_size=4096,
        n_heads=8,
        max_sequence_length=1024,
        hidden_act="relu",
        final_layer_norm=True,
        learned_positions=False,
        output_size=VOCABULARY,
    )
    mx.random.seed(0)
    network = DecoderOnly(config)
    network.head_bias[VOCABULARY - 1] = -1e9  # the end never comes, so that all take the same steps
    mx.eval(network.parameters())
    return network


if __name__ == "__main__":
    main()
