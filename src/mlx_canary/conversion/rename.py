"""Which of NeMo's tensors make each of ours, and how.

The table is written out from the configuration, layer by layer, with NeMo's real keys: nothing is matched by pattern or
guessed from a shape. Knows nothing about files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mlx_canary.config import AlignerConfig, DecoderConfig, EncoderConfig, ModelConfig
from mlx_canary.errors import ConversionError

Array = npt.NDArray[Any]
_BATCH_NORM_EPS = 1e-5


class Tensor(Protocol):
    """A tensor of a checkpoint that is read when it is needed."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def read(self) -> Array: ...


@dataclass(frozen=True, slots=True)
class Recipe:
    """How some of our tensors are made from some of NeMo's.

    Attributes:
        targets: Our names.
        sources: NeMo's keys.
        make: From the sources' values to the targets'.
    """

    targets: tuple[str, ...]
    sources: tuple[str, ...]
    make: Callable[..., tuple[Array, ...]]


# Tensors that a checkpoint may have beyond those that the table uses, and why nothing is lost without them.
IGNORED = {
    r".*\.num_batches_tracked": "counts training steps",
    r"transf_decoder\._embedding\.token_embedding\.weight": "the same matrix as the head, which NeMo lets win",
    r"transf_decoder\._embedding\.token_type_embedding\.weight": "NeMo passes no token types",
}


def network_recipes(config: ModelConfig) -> list[Recipe]:
    """Every parameter of the network, and the preprocessor's two tensors."""
    recipes = _preprocessor() + _encoder(config.encoder)
    if config.encoder.d_model != config.decoder.hidden_size:
        recipes += _linear("projection", "encoder_decoder_proj")
    return recipes + _decoder(config.decoder)


def aligner_recipes(config: AlignerConfig) -> list[Recipe]:
    """Every parameter of the auxiliary CTC network, and its preprocessor's two tensors."""
    return _preprocessor() + _encoder(config.encoder) + _linear("out", "decoder.decoder_layers.0", weight=_pointwise)


def check_sources(recipes: Iterable[Recipe], names: Iterable[str]) -> dict[str, str]:
    """Prove that each source tensor is used once or is ignored for a reason, and that none is missing.

    Returns:
        The ignored tensors with their reasons.

    Raises:
        ConversionError: Names the tensors that are missing or that nobody knows.
    """
    wanted = [source for recipe in recipes for source in recipe.sources]
    used, found = set(wanted), set(names)
    assert len(used) == len(wanted), "the table uses a source tensor twice"
    if missing := used - found:
        raise ConversionError(f"The checkpoint lacks {_some(missing)}, which its configuration calls for.")
    ignored = {name: reason for name in sorted(found - used) if (reason := _why_ignored(name))}
    if unknown := found - used - set(ignored):
        raise ConversionError(
            f"The checkpoint has {_some(unknown)}, which its configuration does not call for. "
            "Adapters and added layers are not supported."
        )
    return ignored


def make(recipe: Recipe, tensors: Mapping[str, Tensor]) -> dict[str, Array]:
    """Our tensors by name, in the stored type or float32.

    Raises:
        ConversionError: The source tensors have shapes that do not go together.
    """
    values = [tensors[source].read() for source in recipe.sources]
    try:
        made = recipe.make(*values)
    except ValueError as error:
        found = ", ".join(f"{name} {value.shape}" for name, value in zip(recipe.sources, values, strict=True))
        raise ConversionError(
            f"No {' and '.join(recipe.targets)} can be made of tensors in these shapes: {found}."
        ) from error
    return dict(zip(recipe.targets, made, strict=True))


def _why_ignored(name: str) -> str | None:
    return next((reason for pattern, reason in IGNORED.items() if re.fullmatch(pattern, name)), None)


def _some(names: set[str]) -> str:
    shown = sorted(names)[:5]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return f"{len(names)} tensor{'s' if len(names) > 1 else ''} ({', '.join(shown)}{more})"


def _as_is(x: Array) -> Array:
    return x


def _pointwise(x: Array) -> Array:
    """A convolution of kernel 1, (O, I, 1) or (O, I, 1, 1), is a matrix (O, I)."""
    return x.reshape(x.shape[:2])


def _conv2d(x: Array) -> Array:
    """(O, I, height, width) -> (O, height, width, I)."""
    return x.transpose(0, 2, 3, 1)


def _conv1d(x: Array) -> Array:
    """(O, I, width) -> (O, width, I)."""
    return x.transpose(0, 2, 1)


def _fold_batch_norm(
    weight: Array, scale: Array, shift: Array, mean: Array, variance: Array, bias: Array | float = 0.0
) -> tuple[Array, Array]:
    """A depthwise convolution (D, 1, width) and the batch norm after it as one convolution, in double precision."""
    parts = [scale, shift, mean, variance] + ([] if isinstance(bias, float) else [bias])
    if any(part.shape != weight.shape[:1] for part in parts):
        raise ValueError("the batch norm has another width than the convolution")
    with np.errstate(invalid="ignore"):  # a negative variance gives NaN, which is refused later
        factor = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + _BATCH_NORM_EPS)
    folded = _conv1d(weight.astype(np.float64) * factor[:, None, None])
    return folded.astype(np.float32), ((bias - mean.astype(np.float64)) * factor + shift).astype(np.float32)


def _one(target: str, source: str, change: Callable[[Array], Array] = _as_is) -> Recipe:
    return Recipe((target,), (source,), lambda x: (change(x),))


def _preprocessor() -> list[Recipe]:
    return [
        _one("preprocessor.window", "preprocessor.featurizer.window"),
        _one("preprocessor.filterbank", "preprocessor.featurizer.fb", lambda x: x.reshape(x.shape[-2:])),
    ]


def _norm(ours: str, theirs: str) -> list[Recipe]:
    return [_one(f"{ours}.{part}", f"{theirs}.{part}") for part in ("weight", "bias")]


def _linear(ours: str, theirs: str, bias: bool = True, weight: Callable[[Array], Array] = _as_is) -> list[Recipe]:
    recipes = [_one(f"{ours}.weight", f"{theirs}.weight", weight)]
    return [*recipes, _one(f"{ours}.bias", f"{theirs}.bias")] if bias else recipes


def _encoder(config: EncoderConfig) -> list[Recipe]:
    recipes = _subsampling(config)
    for n in range(config.n_layers):
        recipes += _block(config, f"encoder.blocks.{n}", f"encoder.layers.{n}")
    return recipes


def _subsampling(config: EncoderConfig) -> list[Recipe]:
    """NeMo numbers the layers of its stack with the activations: 0, then 2 and 3, 5 and 6, ..."""
    ours, theirs = "encoder.subsampling", "encoder.pre_encode"
    recipes = _linear(f"{ours}.first", f"{theirs}.conv.0", weight=_conv2d)
    for n in range(config.subsampling_factor.bit_length() - 2):
        recipes += _linear(f"{ours}.depthwise.{n}", f"{theirs}.conv.{3 * n + 2}", weight=_conv2d)
        recipes += _linear(f"{ours}.pointwise.{n}", f"{theirs}.conv.{3 * n + 3}", weight=_pointwise)
    return recipes + _linear(f"{ours}.out", f"{theirs}.out")


_BLOCK_NORMS = {
    "norm_feed_forward1": "norm_feed_forward1",
    "norm_attention": "norm_self_att",
    "norm_conv": "norm_conv",
    "norm_feed_forward2": "norm_feed_forward2",
    "norm_out": "norm_out",
}
_BLOCK_LINEARS = {
    "feed_forward1.w1": "feed_forward1.linear1",
    "feed_forward1.w2": "feed_forward1.linear2",
    "feed_forward2.w1": "feed_forward2.linear1",
    "feed_forward2.w2": "feed_forward2.linear2",
    "attention.wq": "self_attn.linear_q",
    "attention.wk": "self_attn.linear_k",
    "attention.wv": "self_attn.linear_v",
    "attention.wo": "self_attn.linear_out",
}


def _block(config: EncoderConfig, ours: str, theirs: str) -> list[Recipe]:
    recipes = _linear(f"{ours}.attention.w_pos", f"{theirs}.self_attn.linear_pos", bias=False)
    for part in ("pos_bias_u", "pos_bias_v"):
        recipes.append(_one(f"{ours}.attention.{part}", f"{theirs}.self_attn.{part}"))
    for part, source in _BLOCK_NORMS.items():
        recipes += _norm(f"{ours}.{part}", f"{theirs}.{source}")
    for part, source in _BLOCK_LINEARS.items():
        recipes += _linear(f"{ours}.{part}", f"{theirs}.{source}", config.use_bias)
    return recipes + _convolution(config, f"{ours}.conv", f"{theirs}.conv")


def _convolution(config: EncoderConfig, ours: str, theirs: str) -> list[Recipe]:
    bias = config.use_bias
    recipes = _linear(f"{ours}.pointwise1", f"{theirs}.pointwise_conv1", bias, _pointwise)
    recipes += _linear(f"{ours}.pointwise2", f"{theirs}.pointwise_conv2", bias, _pointwise)
    if config.conv_norm_type == "layer_norm":  # NeMo keeps its parameters under the name batch_norm
        recipes += _linear(f"{ours}.depthwise", f"{theirs}.depthwise_conv", bias, _conv1d)
        return recipes + _norm(f"{ours}.norm", f"{theirs}.batch_norm")
    sources = [f"{theirs}.depthwise_conv.weight"]
    sources += [f"{theirs}.batch_norm.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
    sources += [f"{theirs}.depthwise_conv.bias"] if bias else []
    targets = (f"{ours}.depthwise.weight", f"{ours}.depthwise.bias")
    return [*recipes, Recipe(targets, tuple(sources), _fold_batch_norm)]


_DECODER_ATTENTION = {"wq": "query_net", "wk": "key_net", "wv": "value_net", "wo": "out_projection"}
_DECODER_SUBLAYERS = {"self_attention": "first_sub_layer", "cross_attention": "second_sub_layer"}
_DECODER_NORMS = {
    "norm_self_attention": "layer_norm_1",
    "norm_cross_attention": "layer_norm_2",
    "norm_feed_forward": "layer_norm_3",
}


def _decoder(config: DecoderConfig) -> list[Recipe]:
    embedding = "transf_decoder._embedding"
    position = "position_embedding.weight" if config.learned_positions else "position_embedding.pos_enc"
    recipes = [
        # The head and the token embedding are one matrix; where a file holds two, NeMo keeps the head's.
        _one("decoder.embedding.token.weight", "log_softmax.mlp.layer0.weight"),
        _one("head_bias", "log_softmax.mlp.layer0.bias"),
        _one("decoder.embedding.position", f"{embedding}.{position}"),
    ]
    recipes += _norm("decoder.embedding.norm", f"{embedding}.layer_norm")
    for n in range(config.n_layers):
        recipes += _decoder_layer(f"decoder.layers.{n}", f"transf_decoder._decoder.layers.{n}")
    if config.final_layer_norm:
        recipes += _norm("decoder.final_norm", "transf_decoder._decoder.final_layer_norm")
    return recipes


def _decoder_layer(ours: str, theirs: str) -> list[Recipe]:
    recipes = []
    for part, source in _DECODER_NORMS.items():
        recipes += _norm(f"{ours}.{part}", f"{theirs}.{source}")
    for part, source in _DECODER_SUBLAYERS.items():
        for weight, net in _DECODER_ATTENTION.items():
            recipes += _linear(f"{ours}.{part}.{weight}", f"{theirs}.{source}.{net}")
    recipes += _linear(f"{ours}.feed_forward.w1", f"{theirs}.third_sub_layer.dense_in")
    return recipes + _linear(f"{ours}.feed_forward.w2", f"{theirs}.third_sub_layer.dense_out")
