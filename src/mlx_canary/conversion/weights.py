"""Our tensors, made one at a time: cast, quantized and checked against what the network expects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from mlx_canary.backend import mx
from mlx_canary.config import WeightsConfig
from mlx_canary.conversion.files import Expected
from mlx_canary.conversion.rename import Array, make
from mlx_canary.conversion.safetensors import dtype_name
from mlx_canary.conversion.source import TensorGroup
from mlx_canary.conversion.tensors import LazyTensor
from mlx_canary.errors import ConversionError


def _our_layout(group: TensorGroup, expected: Expected) -> Expected:
    """The expected tensors in the order in which `our_tensors` makes them."""
    layout: Expected = {}
    for name in (name for recipe in group.recipes for name in recipe.targets):
        prefix = name.removesuffix(".weight")
        parts = (name, f"{prefix}.scales", f"{prefix}.biases") if name.endswith(".weight") else (name,)
        layout |= {part: expected[part] for part in parts if part in expected}
    assert set(layout) == set(expected), f"no recipe fills {sorted(set(expected) - set(layout))[:5]}"
    return layout


def our_tensors(group: TensorGroup, expected: Expected, weights: WeightsConfig) -> Iterator[tuple[str, mx.array]]:
    """Every expected tensor once, in the order of the recipes.

    Raises:
        ConversionError: A tensor has another shape than the configuration says, or is not finite.
    """
    for recipe in group.recipes:
        for name, value in make(recipe, group.tensors).items():
            for part, array in _finished(name, value, expected, weights):
                _check(part, tuple(array.shape), expected, recipe.sources)
                yield part, array


def _preserved_layout(group: TensorGroup, weights: WeightsConfig) -> Expected:
    """The source's own tensors, in the conversion's type. The preprocessor's stay in float32."""
    dtype = getattr(mx, weights.dtype)
    names = [source for recipe in group.recipes for source in recipe.sources]
    return {
        name: (tuple(group.tensors[name].shape), mx.float32 if name.startswith("preprocessor.") else dtype)
        for name in names
    }


def _preserved_tensors(
    group: TensorGroup, expected: Expected, weights: WeightsConfig
) -> Iterator[tuple[str, mx.array]]:
    """The source's own tensors, in the order of the layout; their shapes are checked by what becomes of them."""
    layout = _preserved_layout(group, weights)
    for recipe in group.recipes:
        for name, value in make(recipe, group.tensors).items():
            _check(name, value.shape, expected, recipe.sources)
        for source in recipe.sources:
            yield source, _cast(source, group.tensors[source].read(), layout[source][1])


def _cast(name: str, value: Array, dtype: mx.Dtype) -> mx.array:
    with np.errstate(over="ignore"):  # a double that is too large becomes infinite, which is refused
        value = np.ascontiguousarray(value, np.float32)
    # Rounding keeps the order, and a NaN comes out of both: the extremes speak for all values.
    extremes = mx.array([float(value.min(initial=0)), float(value.max(initial=0))]).astype(dtype)
    if not mx.isfinite(extremes).all().item():
        raise ConversionError(
            f"The tensor {name} has values that are not finite as {dtype_name(dtype)}. "
            "The checkpoint is damaged, or needs another --dtype."
        )
    return mx.array(value).astype(dtype)


def _finished(name: str, value: Array, expected: Expected, weights: WeightsConfig) -> list[tuple[str, mx.array]]:
    """One tensor, or the three parts of a quantized one."""
    if name not in expected:
        raise AssertionError(f"the network has no parameter {name}")
    prefix, quantization = name.removesuffix(".weight"), weights.quantization
    if quantization is None or f"{prefix}.scales" not in expected or not name.endswith(".weight"):
        return [(name, _cast(name, value, expected[name][1]))]
    array = _cast(name, value, getattr(mx, weights.dtype))
    if array.ndim != 2 or array.shape[1] % quantization.group_size:
        return [(name, array)]  # the check of the shape says what is wrong
    parts = mx.quantize(array, quantization.group_size, quantization.bits)
    return list(zip((name, f"{prefix}.scales", f"{prefix}.biases"), parts, strict=True))


def _check(name: str, shape: tuple[int, ...], expected: Expected, sources: tuple[str, ...]) -> None:
    if shape != expected[name][0]:
        raise ConversionError(
            f"The tensor {' + '.join(sources)} gives {name} the shape {shape}, "
            f"but the configuration calls for {expected[name][0]}."
        )


def layout_of(group: TensorGroup, expected: Expected, weights: WeightsConfig) -> Expected:
    """What the file holds, in the order in which `tensors_of` makes it."""
    ours = _our_layout(group, expected)  # also proves that every parameter is filled
    return _preserved_layout(group, weights) if weights.layout == "nemo" else ours


def tensors_of(group: TensorGroup, expected: Expected, weights: WeightsConfig) -> Iterator[tuple[str, mx.array]]:
    """The contents of the file, one tensor at a time.

    Raises:
        ConversionError: A tensor has another shape than the configuration says, or is not finite.
    """
    if weights.layout == "nemo":
        return _preserved_tensors(group, expected, weights)
    return our_tensors(group, expected, weights)


@dataclass(frozen=True, slots=True, eq=False)
class _CheckedTensor:
    """A tensor whose bytes are compared with their checksum when it is read, so that the disk reads them once."""

    tensor: LazyTensor
    checked: set[str]  # storages

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensor.shape

    def read(self) -> Array:
        if self.tensor.storage_key not in self.checked:
            self.tensor.check()
            self.checked.add(self.tensor.storage_key)
        return self.tensor.read()


def checked(group: TensorGroup) -> TensorGroup:
    """The same tensors, which raise a ConversionError where the bytes are not those that torch wrote.

    A damaged download would give a model that talks nonsense.
    """
    checked: set[str] = set()
    lazy = [(name, tensor) for name, tensor in group.tensors.items() if isinstance(tensor, LazyTensor)]
    return replace(group, tensors={name: _CheckedTensor(tensor, checked) for name, tensor in lazy})
