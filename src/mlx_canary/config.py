"""What a converted checkpoint says about itself: the schema of config.json.

Unknown keys are refused and no architecture number has a default: every size comes from the source checkpoint.
Knows nothing about NeMo's own configuration; `conversion` translates that into this.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

FORMAT_VERSION = 1

Size = PositiveInt
Layers = Annotated[int, Field(gt=0, le=512)]
# A bound for every size, so that a hostile config cannot ask for more memory than any real model would.
_MAX_SIZE = 1 << 20


# What a network computes in, and its weights are stored in.
Dtype = Literal["float32", "float16", "bfloat16"]
# What stands in names of files and tokens, and is shown on terminals.
Code = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=64)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="after")
    def _sizes_are_sane(self) -> _Part:
        for name, value in self:
            if type(value) is int and abs(value) > _MAX_SIZE:
                raise ValueError(f"{name}={value} is larger than any real model ({_MAX_SIZE})")
        return self


class PreprocessorConfig(_Part):
    """Log-mel features; window and filterbank themselves are tensors of the checkpoint."""

    sample_rate: int = Field(ge=1_000)
    features: Size
    n_fft: Size
    window_length: Size
    hop_length: Size
    preemph: float = Field(ge=0, lt=1)
    log_zero_guard_value: PositiveFloat
    mag_power: PositiveFloat

    @model_validator(mode="after")
    def _window_fits(self) -> PreprocessorConfig:
        if not self.hop_length <= self.window_length <= self.n_fft:
            raise ValueError("expected hop_length <= window_length <= n_fft")
        if self.n_fft % 2:  # NeMo's frames then have other places, and one may be missing
            raise ValueError(f"expected an even n_fft, found {self.n_fft}")
        return self


class EncoderConfig(_Part):
    """FastConformer. `att_context_size` counts encoder frames to the left and right, -1 for all."""

    feat_in: Size
    n_layers: Layers
    d_model: Size
    n_heads: Size
    d_ff: Size
    subsampling_factor: Literal[2, 4, 8, 16]
    subsampling_conv_channels: Size
    conv_kernel_size: Size
    conv_norm_type: Literal["batch_norm", "layer_norm"]
    self_attention_model: Literal["rel_pos", "rel_pos_local_attn"]
    att_context_size: tuple[int, int] = Field(strict=False)
    xscaling: bool
    use_bias: bool

    @model_validator(mode="after")
    def _heads_divide(self) -> EncoderConfig:
        if self.d_model % self.n_heads or self.d_model % 2:
            raise ValueError(f"d_model={self.d_model} must be even and a multiple of n_heads={self.n_heads}")
        if self.conv_kernel_size % 2 == 0:
            raise ValueError(f"conv_kernel_size={self.conv_kernel_size} must be odd")
        if min(self.att_context_size) < -1:
            raise ValueError(f"att_context_size={self.att_context_size} must be -1 or more")
        if self.self_attention_model == "rel_pos_local_attn" and min(self.att_context_size) < 0:
            raise ValueError("rel_pos_local_attn needs a bounded att_context_size")
        return self


class DecoderConfig(_Part):
    """Pre-LN Transformer decoder with the head tied to the token embedding."""

    n_layers: Layers
    hidden_size: Size
    inner_size: Size
    n_heads: Size
    max_sequence_length: Size
    hidden_act: Literal["relu", "gelu"]
    final_layer_norm: bool
    learned_positions: bool
    output_size: Size

    @model_validator(mode="after")
    def _heads_divide(self) -> DecoderConfig:
        if self.hidden_size % self.n_heads:
            raise ValueError(f"hidden_size={self.hidden_size} is not a multiple of n_heads={self.n_heads}")
        return self


class SubTokenizer(_Part):
    """One SentencePiece model of an aggregate tokenizer."""

    name: Code
    size: Size


class TokenizerConfig(_Part):
    """`agg`: the sub-tokenizers' ids follow each other in this order. `bpe`: one model, no sub-tokenizers."""

    type: Literal["agg", "bpe"]
    size: Size
    sub_tokenizers: tuple[SubTokenizer, ...] = Field(strict=False)


class PromptConfig(_Part):
    """The prompt's template, and the checkpoint's own values for its slots.

    `canary2-romanized` is the `canary2` of AI4Bharat's NeMo; the others have NeMo's names.
    """

    format: Literal["canary", "canary2", "canary2-romanized"]
    defaults: dict[str, str]

    @property
    def nemo_format(self) -> str:
        """What NeMo calls the template."""
        return self.format.removesuffix("-romanized")


class DecodingConfig(_Part):
    """The checkpoint's own decoding section, as far as it changes the result."""

    strategy: Literal["beam", "greedy", "greedy_batch"]
    beam_size: Size
    length_penalty: float
    max_generation_delta: int


class LanguageConfig(_Part):
    """What the checkpoint was trained to do, where that is known.

    Attributes:
        spoken: Languages that it transcribes.
        translation: `any` between all of them, `english` only from or to English, `none`.
        translated: Languages that take part in translation.
        pnc_switch: Whether punctuation can be switched off.
    """

    spoken: tuple[Code, ...] = Field(strict=False, min_length=1)
    translation: Literal["any", "english", "none"]
    translated: tuple[Code, ...] = Field(strict=False)
    pnc_switch: bool


class AlignerConfig(_Part):
    """The auxiliary CTC model that canary-1b-v2 carries for word times."""

    preprocessor: PreprocessorConfig
    encoder: EncoderConfig
    tokenizer: TokenizerConfig


class Quantization(_Part):
    """MLX's affine quantization of the linear layers and the token embedding."""

    bits: Literal[4, 8]
    group_size: Literal[32, 64, 128]


class WeightsConfig(_Part):
    """How model.safetensors is to be read. `nemo` layout keeps the source's names and axes."""

    layout: Literal["mlx", "nemo"]
    dtype: Dtype
    quantization: Quantization | None


class SourceConfig(_Part):
    """Where the checkpoint came from."""

    file: str
    nemo_version: str | None
    license: str | None


class ModelConfig(_Part):
    """The whole of config.json.

    Attributes:
        languages: None where nobody can tell.
        longest_training_item: Seconds of the longest recordings in training, where the source says so.
        aligner: None where the checkpoint has none.
        writes_times: Whether it may be asked for time tokens. A model that comes with an auxiliary CTC model was not
            trained on them, and may answer with nothing.
    """

    format_version: Literal[1]
    name: str
    weights: WeightsConfig
    preprocessor: PreprocessorConfig
    encoder: EncoderConfig
    decoder: DecoderConfig
    tokenizer: TokenizerConfig
    prompt: PromptConfig
    decoding: DecodingConfig
    languages: LanguageConfig | None
    longest_training_item: float | None = Field(ge=1)
    aligner: AlignerConfig | None
    writes_times: bool = True
    source: SourceConfig

    @property
    def frame_duration(self) -> float:
        """Seconds of an encoder frame."""
        return self.preprocessor.hop_length / self.preprocessor.sample_rate * self.encoder.subsampling_factor

    @model_validator(mode="after")
    def _parts_fit(self) -> ModelConfig:
        if self.encoder.feat_in != self.preprocessor.features:
            raise ValueError(
                f"encoder.feat_in={self.encoder.feat_in} but preprocessor.features={self.preprocessor.features}"
            )
        if self.decoder.output_size < self.tokenizer.size:
            raise ValueError(
                f"decoder.output_size={self.decoder.output_size} is less than tokenizer.size={self.tokenizer.size}"
            )
        return self
