"""How many tokens an item may have: NeMo's rule, for one item alone."""

from __future__ import annotations

from mlx_canary.config import ModelConfig
from mlx_canary.network.conformer import subsampled_length


def token_limit(config: ModelConfig, n_feature_frames: int, n_prompt: int) -> int:
    """Tokens after the prompt, at most.

    NeMo allows as many positions as there are encoder frames plus `max_generation_delta`, prompt included, but not
    more than the position table has. It counts the encoder frames of one feature frame more than it calls valid. Its
    beam search, of size one too, takes its first token before it begins to count. In a batch NeMo uses the longest
    item's frames for all; here every item has its own limit, so that a batch gives each item what it would get alone.
    """
    decoding, longest = config.decoding, config.decoder.max_sequence_length
    n_frames = subsampled_length(n_feature_frames + 1, config.encoder.subsampling_factor)
    if decoding.max_generation_delta >= 0:
        longest = min(longest, n_frames + decoding.max_generation_delta)
    return longest - n_prompt + (decoding.strategy == "beam")
