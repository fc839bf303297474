"""What a benchmark measures: a loaded checkpoint, or a network of a published size with random weights.

Random weights compute what trained ones would, at the same speed, but have nothing to say: they get a fixed number of
tokens for each second of sound and never end before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from mlx_canary.audio.features import Preprocessor
from mlx_canary.backend import mx
from mlx_canary.config import (
    DecoderConfig,
    DecodingConfig,
    Dtype,
    EncoderConfig,
    ModelConfig,
    PreprocessorConfig,
    PromptConfig,
    Quantization,
    SourceConfig,
    TokenizerConfig,
    WeightsConfig,
)
from mlx_canary.conversion.safetensors import dtype_name
from mlx_canary.decoding.limits import token_limit
from mlx_canary.errors import EvaluationError
from mlx_canary.hub.download import Progress
from mlx_canary.load_models import choose_dtype, load_model
from mlx_canary.memory import bound_cache
from mlx_canary.network.build import build_network, is_packed, parameters, quantize
from mlx_canary.network.canary import CanaryNetwork
from mlx_canary.registry import CANARY_MODELS
from mlx_canary.requests import TranscriptionOptions, prompts_for
from mlx_canary.text.prompt import encode_prompt

Bits = Literal[4, 8]

TOKENS_PER_SECOND = 4
"""Of sound, for random weights: about what English speech takes with 1024 pieces."""
_PROMPT_TOKENS = 10
_GROUP_SIZE: Final = 64
# Far below any logit, and still a number in float16.
_NEVER = -3e4


@dataclass(frozen=True, slots=True)
class Subject:
    """Something to measure, its weights in memory.

    Attributes:
        config: Of the checkpoint, or of a published size.
        preprocessor, network: Compute.
        prompt: Token ids.
        eos_id: Ends a text.
        dtype: What the network computes in.
        bits: Of quantized weights; None if they are not.
        is_random: Whether the weights are.
    """

    config: ModelConfig
    preprocessor: Preprocessor
    network: CanaryNetwork
    prompt: tuple[int, ...]
    eos_id: int
    dtype: str
    bits: int | None
    is_random: bool

    def token_limit(self, duration: float, n_feature_frames: int) -> int:
        """How many tokens a window gets: for random weights exactly, otherwise at most."""
        most = token_limit(self.config, n_feature_frames, len(self.prompt))
        return min(most, max(1, round(TOKENS_PER_SECOND * duration))) if self.is_random else most

    @property
    def weight_bytes(self) -> int:
        """Memory of the network's weights."""
        return sum(array.nbytes for _, array in parameters(self.network))


def loaded_subject(
    model: str, dtype: Dtype | None = None, bits: Bits | None = None, progress: Progress | None = None
) -> Subject:
    """A checkpoint.

    Args:
        model: As for `CanaryModel.from_pretrained`.
        dtype: As for `CanaryModel.from_pretrained`.
        bits: To quantize the weights to.
        progress: As for `load_model`.

    Raises:
        EvaluationError: It is quantized already.
        ModelNotFoundError, CheckpointError, ConversionError: It cannot be loaded.
    """
    loaded = load_model(model, progress)
    stored = loaded.config.weights
    if bits is not None and stored.quantization is not None:
        raise EvaluationError(
            f"{model} is quantized to {stored.quantization.bits} bits already. Measure it without --bits."
        )
    choose_dtype(loaded, dtype)
    if bits is not None:
        quantize(loaded.network, Quantization(bits=bits, group_size=_GROUP_SIZE))
    mx.eval(loaded.network.parameters())
    (prompt,) = prompts_for(_default_options(loaded.config), loaded.config, loaded.tokenizer)
    return Subject(
        config=loaded.config,
        preprocessor=loaded.preprocessor,
        network=loaded.network,
        prompt=tuple(encode_prompt(prompt, loaded.config.prompt.format, loaded.tokenizer)),
        eos_id=loaded.tokenizer.eos_id,
        dtype=dtype_name(loaded.network.dtype),
        bits=bits or (stored.quantization.bits if stored.quantization and is_packed(loaded.network) else None),
        is_random=False,
    )


def random_subject(name: str, dtype: Dtype | None = None, bits: Bits | None = None) -> Subject:
    """A network of a published model's sizes with random weights."""
    return subject_of(published_config(name, dtype or "float32", bits))


def subject_of(config: ModelConfig) -> Subject:
    """A network of any sizes with random weights."""
    bound_cache()
    mx.random.seed(0)
    network = build_network(config)  # MLX draws linear layers, convolutions and the embedding at random
    network.head_bias[0] = _NEVER  # the token that would end the text
    network.eval()
    sizes = config.preprocessor
    shape = (sizes.features, sizes.n_fft // 2 + 1)
    window = mx.array(np.hanning(sizes.window_length).astype(np.float32))
    preprocessor = Preprocessor(sizes, window, mx.random.uniform(shape=shape))
    mx.eval(network.parameters(), preprocessor.filterbank)
    quantization = config.weights.quantization
    return Subject(
        config=config,
        preprocessor=preprocessor,
        network=network,
        prompt=tuple(range(1, 1 + _PROMPT_TOKENS)),
        eos_id=0,
        dtype=config.weights.dtype,
        bits=quantization.bits if quantization else None,
        is_random=True,
    )


def published_config(name: str, dtype: Dtype, bits: Bits | None) -> ModelConfig:
    """The sizes of a published model; what all of them share stands here, the rest in the registry.

    Raises:
        EvaluationError: There is no published model of that name.
    """
    if name not in CANARY_MODELS:
        raise EvaluationError(f"{name!r} is not a published model; those are: {', '.join(CANARY_MODELS)}.")
    model = CANARY_MODELS[name]
    first = name == "canary-1b"
    return ModelConfig(
        format_version=1,
        name=name,
        weights=WeightsConfig(
            layout="mlx",
            dtype=dtype,
            quantization=None if bits is None else Quantization(bits=bits, group_size=_GROUP_SIZE),
        ),
        preprocessor=PreprocessorConfig(
            sample_rate=16_000,
            features=128,
            n_fft=512,
            window_length=400,
            hop_length=160,
            preemph=0.97,
            log_zero_guard_value=2**-24,
            mag_power=2.0,
        ),
        encoder=EncoderConfig(
            feat_in=128,
            n_layers=model.encoder_layers,
            d_model=model.encoder_width,
            n_heads=8,
            d_ff=4 * model.encoder_width,
            subsampling_factor=8,
            subsampling_conv_channels=256,
            conv_kernel_size=9,
            conv_norm_type="batch_norm",
            self_attention_model="rel_pos",
            att_context_size=(-1, -1),
            xscaling=False,
            use_bias=True,
        ),
        decoder=DecoderConfig(
            n_layers=model.decoder_layers,
            hidden_size=1024,
            inner_size=4096,
            n_heads=8,
            # canary-1b's is not known for certain; it changes neither speed nor, to speak of, memory.
            max_sequence_length=512 if first else 1024,
            hidden_act="relu",
            final_layer_norm=True,
            learned_positions=False,
            output_size=model.vocabulary,
        ),
        tokenizer=TokenizerConfig(type="bpe", size=model.vocabulary, sub_tokenizers=()),
        prompt=PromptConfig(format="canary" if first else "canary2", defaults={}),
        decoding=DecodingConfig(strategy="greedy", beam_size=1, length_penalty=0.0, max_generation_delta=50),
        languages=model.languages,
        longest_training_item=None,
        aligner=None,
        source=SourceConfig(file="", nemo_version=None, license=None),
    )


def _default_options(config: ModelConfig) -> TranscriptionOptions:
    """The checkpoint's default language, or the first that it knows."""
    return TranscriptionOptions(language=config.languages.spoken[0] if config.languages else None)
