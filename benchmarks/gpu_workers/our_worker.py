"""mlx-canary on MLX's default device, with random weights of a published model's sizes."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from worker import N_PROMPT, TOKENS_PER_SECOND, Samples, kernels, serve, sound

from mlx_canary.backend import mx, nn
from mlx_canary.config import Dtype
from mlx_canary.decoding.greedy import decode_greedy
from mlx_canary.evaluate.subjects import random_subject
from mlx_canary.network import attention, canary, conformer
from mlx_canary.types import EncoderOutput


class Ours:
    """The stages of a transcription by their own functions, without guards."""

    def __init__(self, model: str, dtype: str) -> None:
        subject = random_subject(model, cast(Dtype, dtype))
        self.network, self.preprocessor = subject.network, subject.preprocessor
        self._prompt, self._eos_id = subject.prompt, subject.eos_id
        assert len(self._prompt) == N_PROMPT
        self._vocabulary = subject.config.tokenizer.size

    def adjust(self, frames: int) -> None:
        canary.frames_at_once = lambda: frames or FRAMES_AT_ONCE

    def decode(self, encoded: EncoderOutput, n_tokens: int) -> list[int]:
        B = len(encoded.lengths)
        prompts, limits = [self._prompt] * B, [n_tokens] * B
        found = decode_greedy(self.network, encoded, prompts, limits, self._eos_id, self._vocabulary)
        return [len(hypothesis.tokens) for hypothesis in found]

    def hear(self, batch: list[Samples], n_tokens: int, how: str = "direct") -> list[int]:
        counts = self.decode(self.network.encode(self.preprocessor(batch)), n_tokens)
        mx.synchronize()  # the search issues a step beyond the last token
        return counts

    def stages(self, batch: list[Samples], n_tokens: int) -> dict[str, float]:
        at = [time.perf_counter()]
        features = self.preprocessor(batch)
        mx.eval(features.frames)
        at.append(time.perf_counter())
        encoded = self.network.encode(features)
        mx.eval(encoded.states)
        at.append(time.perf_counter())
        self.decode(encoded, n_tokens)
        mx.synchronize()
        at.append(time.perf_counter())
        return {name: after - before for name, before, after in zip(STAGES, at[:-1], at[1:], strict=True)}

    def peak_bytes(self) -> int:
        peak = mx.get_peak_memory()
        mx.reset_peak_memory()
        return int(peak)


FRAMES_AT_ONCE = canary.frames_at_once()
STAGES = ("features", "encoder", "decoder")


def load(model: str, dtype: str) -> Ours:
    mx.clear_cache()
    return Ours(model, dtype)


def about(args: Any) -> dict[str, Any]:
    """What it runs on; MLX's limit of memory is set on the way."""
    if args.memory_gb:
        mx.set_memory_limit(args.memory_gb << 30)
    device = mx.device_info()
    return {
        "program": "mlx-canary",
        "versions": {name: version(name) for name in ("mlx", "numpy")},
        "device": str(device.get("device_name", mx.default_device())),
        "frames_at_once": FRAMES_AT_ONCE,
    }


def run(args: Any) -> None:
    serve(load, about(args))


def profile(args: Any) -> dict[str, Any]:
    """Where the time of one case goes: operations of a step, seconds of each kind of layer, and kernels if asked."""
    said = about(args)
    ours, batch = Ours(args.model, args.dtype), sound(args.seconds, args.batch)
    n_tokens = TOKENS_PER_SECOND * args.seconds
    ours.adjust(args.frames)
    ours.hear(batch, n_tokens)
    found = said | {"case": [args.model, args.dtype, args.seconds, args.batch], "stages": ours.stages(batch, n_tokens)}
    encoded = ours.network.encode(ours.preprocessor(batch))
    mx.eval(encoded.states)
    cache = ours.network.start(encoded, [0] * args.batch)
    ids = mx.zeros((args.batch, 1), mx.int32)
    mx.eval(ours.network.step(ids, cache), list(cache.cross))
    found["operations of a step"] = operations(ours.network.step(ids, cache))
    found["operations of the encoder"] = operations(ours.network.encode(ours.preprocessor(batch)).states)
    found["layers"] = layers(ours, batch)
    if args.kernels:
        # Apart: a profiler that cannot watch must not cost the rest.
        try:
            found["encoder kernels"] = kernels(lambda: mx.eval(ours.network.encode(ours.preprocessor(batch)).states))
            found["decoder kernels"] = kernels(lambda: ours.decode(encoded, n_tokens))
        except Exception as error:
            found["kernels"] = f"{type(error).__name__}: {error}"
    return found


def operations(result: mx.array) -> dict[str, int]:
    """How many of each kind stand between what is computed already and a result."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "graph.dot"
        mx.export_to_dot(str(path), result)
        lines = path.read_text().splitlines()
    names = [line.split('label ="')[1].split('"')[0] for line in lines if 'label ="' in line and "rectangle" in line]
    return dict(Counter(names).most_common())


def layers(ours: Ours, batch: list[Samples]) -> dict[str, dict[str, float]]:
    """Seconds in each class of the encoder's layers, waited for before and after: they contain each other."""
    seconds: dict[str, list[float]] = defaultdict(list)
    kinds = [conformer.Subsampling, conformer.FeedForward, attention.RelPositionAttention, conformer.Convolution]
    watched = [*kinds, conformer.DepthwiseConv1d, nn.LayerNorm, nn.Conv2d]
    originals = {kind: kind.__call__ for kind in watched}

    def timed(kind: type, call: Any) -> Any:
        def wrapper(module: Any, *arguments: Any) -> mx.array:
            mx.eval([argument for argument in arguments if isinstance(argument, mx.array)])
            started = time.perf_counter()
            result: mx.array = call(module, *arguments)
            mx.eval(result)
            seconds[kind.__name__].append(time.perf_counter() - started)
            return result

        return wrapper

    mx.disable_compile()  # inside a compiled function nothing can be waited for
    try:
        for kind, call in originals.items():
            kind.__call__ = timed(kind, call)  # type: ignore[method-assign, assignment]
        features = ours.preprocessor(batch)
        for _ in range(2):
            seconds.clear()
            mx.eval(ours.network.encode(features).states)
    finally:
        for kind, call in originals.items():
            kind.__call__ = call  # type: ignore[method-assign, assignment]
        mx.enable_compile()
    return {name: {"calls": len(times), "seconds": sum(times)} for name, times in seconds.items()}
