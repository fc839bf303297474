"""The whole network: encoder, projection, decoder and head. It only computes.

Knows nothing about tokens' meaning, prompts, files or search.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlx_canary.backend import mx, nn
from mlx_canary.config import ModelConfig
from mlx_canary.kernels import Floats, Linear, is_cuda, numpy_is_faster
from mlx_canary.network.cache import DecoderCache
from mlx_canary.network.conformer import ConformerEncoder, subsampled_length, valid_frames
from mlx_canary.network.decoder import TransformerDecoder
from mlx_canary.threads import in_threads, n_threads
from mlx_canary.types import EncoderOutput, Features

# On a CPU short items are encoded together, up to so many states (41 s): BLAS copies a matrix into blocks before it
# multiplies, which costs as much for few rows as for many. Eight of 10 s took 2.4 instead of 2.9 s, of 30 s the same.
_STATES_OF_A_GROUP = 512
# The encoder hears at most so many feature frames (two minutes) at once: more would gain it nothing, while 30 s take
# some 300 MB. The decoder gains from all rows that it gets, for it reads its weights once for all of them.
_FRAMES_AT_ONCE = 12_000
# A data centre's GPU has done its work on two minutes before the next operation is launched. Measured on an H200, in
# bfloat16: 128 windows of 10 s in 41 ms instead of 99 (in 37 with 200,000 frames). A frame took 50 to 75 kB there.
_FRAMES_AT_ONCE_CUDA = 100_000
_BYTES_OF_A_FRAME = 75_000


def frames_at_once() -> int:
    """How many feature frames the encoder hears at once on the default device: on CUDA what an eighth of it holds."""
    if not is_cuda() or not hasattr(mx, "device_info"):  # MLX tells it since 0.30.4
        return _FRAMES_AT_ONCE
    return frames_within(int(mx.device_info()["total_memory"]) // 8)


def frames_within(memory: int) -> int:
    """How many feature frames a CUDA device hears at once in so many bytes."""
    return min(_FRAMES_AT_ONCE_CUDA, max(_FRAMES_AT_ONCE, memory // _BYTES_OF_A_FRAME))


def alike(lengths: Sequence[int], most_frames: int, most_items: int) -> list[list[int]]:
    """Numbers of items in groups that may be padded to their first and longest one: it is longer by a tenth at most.

    A group of several has at most so many frames, padding included, and so many items.
    """
    groups: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        longest = lengths[groups[-1][0]] if groups else 0
        size = len(groups[-1]) + 1 if groups else 0
        if groups and size <= most_items and size * longest <= most_frames and lengths[row] >= 0.9 * longest:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


class CanaryNetwork(nn.Module):
    """NeMo's EncDecMultiTaskModel without its data handling."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.encoder = ConformerEncoder(config.encoder)
        if config.encoder.d_model != config.decoder.hidden_size:
            self.projection = Linear(config.encoder.d_model, config.decoder.hidden_size)
        self.decoder = TransformerDecoder(config.decoder)
        self.head_bias = mx.zeros((config.decoder.output_size,))

    @property
    def dtype(self) -> mx.Dtype:
        """What the network computes in."""
        return self.head_bias.dtype

    def encode(self, features: Features) -> EncoderOutput:
        """Features (B, T, M) -> states (B, S, W)."""
        frames, lengths = features.frames.astype(self.dtype), features.lengths
        return self._encode_each(frames, lengths) if numpy_is_faster(frames) else self._encode_parts(frames, lengths)

    def _encode_each(self, frames: mx.array, lengths: Sequence[int]) -> EncoderOutput:
        """Several groups of items at once, a thread for each: for a CPU."""
        factor = self.encoder.subsampling_factor
        encoded = tuple(subsampled_length(length, factor) for length in lengths)
        self.encoder.positions(max(encoded))
        mx.eval(frames, self.encoder.parameters())
        groups = alike(lengths, factor * _STATES_OF_A_GROUP, -(-len(lengths) // n_threads()))
        values = np.asarray(frames)
        heard = [(values[group, : lengths[group[0]]], [lengths[row] for row in group]) for group in groups]
        found = in_threads(self._encode_group, heard)
        states = np.zeros((len(lengths), max(encoded), found[0].shape[2]), np.float32)
        for group, items in zip(groups, found, strict=True):
            for row, item in zip(group, items, strict=True):
                states[row, : encoded[row]] = item[: encoded[row]]
        return EncoderOutput(self.project(mx.array(states)), encoded)

    def _encode_group(self, heard: tuple[Floats, list[int]]) -> Floats:
        """(B, T, M) and valid frames -> (B, S, D)."""
        frames, lengths = heard
        states, _ = self.encoder(mx.array(frames), lengths)
        return np.array(states)

    def _encode_parts(self, frames: mx.array, lengths: Sequence[int]) -> EncoderOutput:
        n_rows = max(1, frames_at_once() // frames.shape[1])
        n_ahead = 1 if is_cuda() else 0  # the GPU hears one part while the host asks for the next one
        parts: list[EncoderOutput] = []
        for start in range(0, len(lengths), n_rows):
            rows = slice(start, start + n_rows)
            parts.append(self._encode(frames[rows], lengths[rows]))
            if n_rows < len(lengths):
                mx.async_eval(parts[-1].states)
                if len(parts) > n_ahead:
                    mx.eval(parts[-1 - n_ahead].states)  # so that its memory is free for the next ones
        encoded = tuple(length for part in parts for length in part.lengths)
        return EncoderOutput(mx.concatenate([part.states for part in parts]), encoded)

    def _encode(self, frames: mx.array, lengths: Sequence[int]) -> EncoderOutput:
        states, encoded = self.encoder(frames, lengths)
        return EncoderOutput(self.project(states), encoded)

    def project(self, states: mx.array) -> mx.array:
        """Encoder states (B, S, D) to the decoder's width, (B, S, W)."""
        return self.projection(states) if "projection" in self else states

    def start(self, encoded: EncoderOutput, n_pad: Sequence[int]) -> DecoderCache:
        """The decoder's memory at the beginning of a batch, whose prompts are padded in front by `n_pad` tokens."""
        valid = valid_frames(encoded.states.shape[1], encoded.lengths)
        return self.decoder.start(encoded.states, valid, n_pad)

    def step(self, ids: mx.array, cache: DecoderCache) -> mx.array:
        """The next tokens (B, U) -> logits of what follows each of them, (B, U, V)."""
        return self.decoder.embedding.logits(self.decoder(ids, cache), self.head_bias)
