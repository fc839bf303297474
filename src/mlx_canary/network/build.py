"""The networks that a configuration describes, with weights of the right shapes and types but no values yet.

Both the converter and the loader take the list of tensors from here, so that they cannot disagree.
"""

from __future__ import annotations

import hashlib
from functools import partial
from typing import Any, cast

import numpy as np
from mlx.utils import tree_flatten, tree_unflatten

from mlx_canary.backend import mx, nn
from mlx_canary.config import AlignerConfig, ModelConfig, PreprocessorConfig, Quantization, WeightsConfig
from mlx_canary.kernels import Linear
from mlx_canary.network.canary import CanaryNetwork
from mlx_canary.network.ctc import CTCNetwork

_PREPROCESSOR = "preprocessor."


def build_network(config: ModelConfig) -> CanaryNetwork:
    """The main network, unevaluated."""
    network = CanaryNetwork(config)
    _store_as(network, config.weights)
    return network


def build_aligner(config: AlignerConfig, weights: WeightsConfig) -> CTCNetwork:
    """The auxiliary CTC network, unevaluated."""
    network = CTCNetwork(config)
    _store_as(network, weights)
    return network


def expected_tensors(
    network: nn.Module, preprocessor: PreprocessorConfig
) -> dict[str, tuple[tuple[int, ...], mx.Dtype]]:
    """Shape and type of every tensor in a network's file, the preprocessor's included."""
    tensors = {name: (tuple(value.shape), value.dtype) for name, value in parameters(network)}
    return tensors | {
        f"{_PREPROCESSOR}window": ((preprocessor.window_length,), mx.float32),
        f"{_PREPROCESSOR}filterbank": ((preprocessor.features, preprocessor.n_fft // 2 + 1), mx.float32),
    }


def _store_as(network: nn.Module, weights: WeightsConfig) -> None:
    network.set_dtype(getattr(mx, weights.dtype))
    if weights.quantization is not None:
        quantize(network, weights.quantization)


def quantize(network: nn.Module, quantization: Quantization) -> None:
    """Quantize the matrices of a network, in place; with values they keep theirs as nearly as the bits allow."""
    nn.quantize(network, quantization.group_size, quantization.bits, class_predicate=partial(_fits, quantization))


def suit_device(network: nn.Module) -> None:
    """On a CPU make everything float32, in place, and unpack quantized matrices: the others are slow there.

    NumPy's BLAS multiplies float32 on a CPU; MLX multiplies half precision by a loop, packed matrices by another one.
    """
    if mx.default_device().type != mx.cpu:
        return
    network.set_dtype(mx.float32)
    unpacked = [(path, _unpacked(module)) for path, module in _packed(network)]
    network.update_modules(cast(dict[str, Any], tree_unflatten(unpacked)))


def is_packed(network: nn.Module) -> bool:
    """Whether it has quantized matrices."""
    return bool(_packed(network))


def _packed(network: nn.Module) -> list[tuple[str, Any]]:
    kinds = nn.QuantizedLinear | nn.QuantizedEmbedding
    return [(path, module) for path, module in network.named_modules() if isinstance(module, kinds)]


def _unpacked(module: Any) -> nn.Module:
    """The plain layer with the numbers that a quantized one stands for."""
    weight = mx.dequantize(module.weight, module.scales, module.biases, module.group_size, module.bits)
    rows, columns = weight.shape
    if isinstance(module, nn.QuantizedEmbedding):
        plain: nn.Module = nn.Embedding(rows, columns)
    else:
        plain = Linear(columns, rows, bias="bias" in module)
    return plain.update({"weight": weight} | ({"bias": module.bias} if "bias" in module else {}))


def _fits(quantization: Quantization, path: str, module: Any) -> bool:
    """Rows must divide into groups; a matrix whose rows do not stays as it is."""
    is_matrix = isinstance(module, nn.Linear | nn.Embedding)
    return is_matrix and module.weight.shape[-1] % quantization.group_size == 0


def fingerprint(network: nn.Module) -> str:
    """Tells networks of the same sizes apart: a hash of the first numbers of every weight."""
    hashed = hashlib.sha256()
    for name, value in sorted(parameters(network)):
        first = value if value.ndim == 1 else value[0]
        hashed.update(name.encode() + np.array(first.astype(mx.float32)).tobytes())
    return hashed.hexdigest()[:16]


def parameters(network: nn.Module) -> list[tuple[str, mx.array]]:
    """All weights with their names."""
    return cast(list[tuple[str, mx.array]], tree_flatten(network.parameters()))
