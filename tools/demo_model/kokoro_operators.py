"""The operators of Kokoro's float graph on PyTorch: onnx's names to functions of arrays and tensors.

Shapes are numpy arrays on the host, so that no operator waits for the GPU; all
else are tensors on the device. Knows nothing about graphs.
"""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper

Array = np.ndarray
Tensor = torch.Tensor
TYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float16, 11: torch.float64}

# Attributes that no function below reads: the only value that is right without reading (None: the inputs tell it).
EXPECTED = {
    "auto_pad": b"NOTSET", "kernel_shape": None, "group": 1, "saturate": 1, "allowzero": 0, "noop_with_empty_axes": 0,
    "stash_type": 1, "start": 0, "extrapolation_value": 0.0, "antialias": 0, "exclude_outside": 0,
    "keep_aspect_ratio_policy": b"stretch", "cubic_coeff_a": None, "nearest_mode": b"floor", "onesided": 1,
    "direction": b"bidirectional", "hidden_size": None, "input_forget": 0, "reverse": 0, "exclusive": 0,
    "reduction": b"none", "transB": 0, "transBatchA": 0, "transBatchB": 0, "axis": -1,
}  # fmt: skip


def scalar(value: Array | Tensor) -> Any:
    """A number where the value is on the host: kernels take it as an argument, nothing is copied."""
    return value if isinstance(value, Tensor) else value.item()


def elementwise(function: Callable) -> Callable:
    return lambda a, b: function(scalar(a), scalar(b))


def beside(tensor: Tensor, value: Array | Tensor) -> Tensor:
    """The value on the tensor's device, without waiting for the device."""
    return value if isinstance(value, Tensor) else torch.from_numpy(value).to(tensor.device, non_blocking=True)


def conv(x: Tensor, w: Tensor, b: Array | Tensor | None = None, *, dilations, pads, strides) -> Tensor:
    """Convolution (1, C, T) as one product: cuDNN would plan anew for every length of utterance."""
    kernel = w.shape[2]
    if kernel > 1 or strides[0] > 1:
        x = F.unfold(x.unsqueeze(3), (kernel, 1), (dilations[0], 1), (pads[0], 0), (strides[0], 1))
    w = w.flatten(1)
    return (w @ x[0] if b is None else torch.addmm(beside(x, b).unsqueeze(1), w, x[0])).unsqueeze(0)


def conv_transpose(x: Tensor, w: Tensor, b=None, *, dilations, pads, strides, group=1, output_padding=(0,)) -> Tensor:
    kernel, step = w.shape[2], strides[0]
    spread = w.reshape(group, w.shape[0] // group, -1).transpose(1, 2) @ x.reshape(group, -1, x.shape[2])
    length = (x.shape[2] - 1) * step + dilations[0] * (kernel - 1) + 1 + output_padding[0] - 2 * pads[0]
    spread = spread.reshape(1, -1, x.shape[2])  # (1, C * kernel, T)
    y = F.fold(spread, (length, 1), (kernel, 1), (dilations[0], 1), (pads[0], 0), (step, 1)).squeeze(3)
    return y if b is None else y + beside(x, b).unsqueeze(1)


def gather(x: Tensor, index: Array | Tensor, *, axis: int = 0) -> Tensor:
    if np.ndim(index) == 0:
        return x.select(axis, int(index))
    index = beside(x, index)
    return x.index_select(axis, index.flatten()).unflatten(axis, index.shape)


def reshape(x: Array | Tensor, shape: Array) -> Array | Tensor:
    return x.reshape([x.shape[i] if n == 0 else int(n) for i, n in enumerate(shape)])


def cut(x: Array | Tensor, starts: Array, ends: Array, axes: Array | None = None, steps: Array | None = None):
    where = [slice(None)] * x.ndim
    for i in range(len(starts)):
        axis = i if axes is None else axes[i]
        where[axis] = slice(int(starts[i]), int(ends[i]), None if steps is None else int(steps[i]))
    return x[tuple(where)]


def unsqueeze(x: Tensor, axes: Array) -> Tensor:
    for axis in sorted(axes % (x.ndim + axes.size)):
        x = x.unsqueeze(int(axis))
    return x


def concat(*parts: Array | Tensor, axis: int) -> Tensor:
    there = next(part for part in parts if isinstance(part, Tensor))
    return torch.cat([beside(there, part) for part in parts], axis)


def resize(x: Tensor, roi: None, scales: Array, *, mode: bytes, coordinate_transformation_mode: bytes) -> Tensor:
    """Last axis of (1, C, T): each value repeated, or a line between the middles of the values."""
    scale = float(scales[2])
    if (mode, coordinate_transformation_mode) == (b"linear", b"half_pixel"):
        return F.interpolate(x, scale_factor=scale, mode="linear", align_corners=False)
    return x.unsqueeze(3).expand(-1, -1, -1, int(scale)).flatten(2)


def scatter(x: Tensor, indices: Array | Tensor, updates: Tensor) -> Tensor:
    return x.index_put(beside(x, indices).unbind(-1), updates)


def layer_norm(x: Tensor, w: Tensor, b: Tensor, *, epsilon: float) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], w, b, epsilon)


def multiply_add(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    if all(isinstance(value, Tensor) for value in (a, b, c)):
        return torch.addcmul(c, a, b)
    return scalar(a) * scalar(b) + scalar(c)


ON_DEVICE: dict[str, Callable] = {
    "Add": elementwise(operator.add), "Sub": elementwise(operator.sub), "Mul": elementwise(operator.mul),
    "Div": elementwise(operator.truediv), "Pow": elementwise(operator.pow), "Equal": elementwise(operator.eq),
    "Greater": elementwise(operator.gt), "GreaterOrEqual": elementwise(operator.ge), "Less": elementwise(operator.lt),
    "And": elementwise(operator.and_), "MatMul": torch.matmul, "Sqrt": torch.sqrt, "Sin": torch.sin, "Cos": torch.cos,
    "Exp": torch.exp, "Atan": torch.atan, "Tanh": torch.tanh, "Sigmoid": torch.sigmoid, "Floor": torch.floor,
    "Round": torch.round, "Conv": conv, "ConvTranspose": conv_transpose, "Gather": gather, "Reshape": reshape,
    "Slice": cut, "Unsqueeze": unsqueeze, "Concat": concat, "Resize": resize, "ScatterND": scatter,
    "LayerNormalization": layer_norm, "MultiplyAdd": multiply_add,
    "SkipLayerNormalization": lambda x, skip, w, b, *, epsilon: layer_norm(x + skip, w, b, epsilon=epsilon),
    "Linear": lambda x, w, b: F.linear(x, w, beside(x, b)),
    "Normalize": lambda x, *, epsilon: F.layer_norm(x, x.shape[-1:], eps=epsilon),
    "FastGelu": lambda x, b: F.gelu(x + b, approximate="tanh"),
    "FusedMatMul": lambda a, b, *, transA, alpha: (a.mT if transA else a) @ b * alpha,
    "Shape": lambda x: np.array(x.shape),
    "Transpose": lambda x, *, perm: x.permute(perm),
    "Split": lambda x, sizes, *, axis: x.split(sizes.tolist(), axis),
    "Squeeze": lambda x, axes: x.squeeze(tuple(axes.tolist())),
    "Expand": lambda x, shape: x.expand(torch.broadcast_shapes(x.shape, tuple(shape.tolist()))),
    "ReduceMean": lambda x, axes, *, keepdims: x.mean(axes.tolist(), bool(keepdims)),
    "ReduceSum": lambda x, axes, *, keepdims: x.sum(axes.tolist(), bool(keepdims)),
    "LeakyRelu": lambda x, *, alpha: F.leaky_relu(x, alpha),
    "Softmax": lambda x, *, axis: x.softmax(axis),
    "Cast": lambda x, *, to: x.to(TYPES[to]),
    "Where": lambda c, a, b: torch.where(c, scalar(a), scalar(b)),
    "Clip": lambda x, low, high: x.clamp(low.item(), None if high is None else high.item()),
    "CumSum": lambda x, axis: x.cumsum(int(axis)),
    "Range": lambda start, limit, step: torch.arange(int(start), int(limit), int(step), device=limit.device),
    "ConstantOfShape": lambda s, *, value, device: torch.full(
        s.tolist(), numpy_helper.to_array(value).item(), device=device
    ),
    "DequantizeLinear": lambda x, scale, zero: (x.float() - zero.item()) * scale.item(),
    "Pad": lambda x, pads, *, mode: F.pad(x, (int(pads[2]), int(pads[5])), mode.decode()),
    "NonZero": lambda x: x.nonzero().T,
}  # fmt: skip
ON_HOST: dict[str, Callable] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Sqrt": np.sqrt, "Equal": np.equal, "Where": np.where,
    "Range": lambda *limits: np.arange(*limits), "Reshape": reshape, "Slice": cut, "Div": np.true_divide,
    "Expand": lambda x, shape: np.broadcast_to(x, shape).copy(),
    "Gather": lambda x, i, *, axis=0: np.take(x, i, axis),
    "Unsqueeze": lambda x, axes: np.expand_dims(x, tuple(axes)),
    "Squeeze": lambda x, axes: np.squeeze(x, tuple(axes)),
    "Concat": lambda *parts, axis: np.concatenate(parts, axis),
    "Cast": lambda x, *, to: x.astype(helper.tensor_dtype_to_np_dtype(to)),
}  # fmt: skip


def make_lstm(w: Array, r: Array, b: Array, *scales: Array, device: str) -> Callable[[Tensor], Tensor]:
    """Both directions of an int8 LSTM in floating point: (T, 1, C) to (T, 2, 1, H)."""

    def floats(value: Array, scale: Array, zero: Array) -> Array:
        wide = (2, 1, -1)  # a scale for each direction, or for each of its rows
        return (value.astype(np.float32) - zero.reshape(wide)) * scale.reshape(wide)

    w, r = floats(w, *scales[:2]), floats(r, *scales[2:])
    lstm = torch.nn.LSTM(w.shape[1], r.shape[1], bidirectional=True)
    pieces = {"weight_ih": w.transpose(0, 2, 1), "weight_hh": r.transpose(0, 2, 1)}
    pieces |= {"bias_ih": b[:, : b.shape[1] // 2], "bias_hh": b[:, b.shape[1] // 2 :]}
    for name, both in pieces.items():
        for side, value in zip(("_l0", "_l0_reverse"), both, strict=True):
            i, o, f, c = np.split(value, 4)  # ONNX's order of the gates; PyTorch's is i, f, c, o
            getattr(lstm, name + side).data = torch.from_numpy(np.ascontiguousarray(np.concatenate([i, f, c, o])))
    lstm.to(device).flatten_parameters()
    return lambda x: lstm(x)[0].unflatten(2, (2, -1)).transpose(1, 2)


def make_stft(step: Array, window: Array, length: Array, *, device: str) -> Callable[[Tensor], Tensor]:
    """Spectrum (1, T, bins, 2) of a signal (1, N), in double precision: its angles are taken of small values too.

    The graph gives a negative number without imaginary part the angle -pi; the network was trained with
    +pi (torch.angle). A hair more of everything makes it so, and no angle is taken of 0 / 0.
    """
    spectra = np.fft.rfft(np.eye(int(length)) * window, axis=1)  # (length, bins)
    basis = torch.from_numpy(np.stack([spectra.real, spectra.imag], 2).reshape(int(length), -1)).to(device)
    hair = 1e-30
    return lambda x: ((x.unfold(1, int(length), int(step)).double() @ basis) + hair).float().unflatten(2, (-1, 2))


# Made once from constants, with these inputs; the first input is what they work on.
MADE: dict[str, tuple[Callable, tuple[int, ...]]] = {
    "DynamicQuantizeLSTM": (make_lstm, (1, 2, 3, 8, 9, 10, 11)),
    "STFT": (make_stft, (1, 2, 3)),
}
