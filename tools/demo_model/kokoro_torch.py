"""Kokoro's float graph on PyTorch, on a processor or a GPU: arrays in, tensors out.

Runs the operators that this graph has (`kokoro_operators.py`), one utterance a
call, and refuses others when it is loaded. Knows nothing about speech.
"""

import functools
import inspect
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
from kokoro_operators import EXPECTED, MADE, ON_DEVICE, ON_HOST, Array, Tensor
from onnx import helper, numpy_helper

Step = tuple[Callable, list[str], list[str], list[str]]


@dataclass
class Node:
    """One operator, from onnx or made here out of several."""

    op: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)


def fuse(nodes: list[Node], constants: dict[str, Array], kept: list[str]) -> list[Node]:
    """Fewer kernels: normalization over time, a * b + c, products with a bias, products of the same input."""
    maker = {name: node for node in nodes for name in node.outputs}
    uses = Counter(name for node in nodes for name in node.inputs) + Counter(kept)

    def made_by(name: str, op: str, n: int = 2) -> list[str]:
        return maker[name].inputs if name in maker and maker[name].op == op else [""] * n

    def normalized(node: Node) -> Node | None:
        """The node for Div(s, Sqrt(ReduceMean(s * s) + epsilon)) with s = x - ReduceMean(x)."""
        centred, deviation = node.inputs
        variance, epsilon = made_by(*made_by(deviation, "Sqrt", 1), "Add")
        square, axes = made_by(variance, "ReduceMean")
        x, mean = made_by(centred, "Sub")
        same = made_by(square, "Mul") == [centred, centred] and made_by(mean, "ReduceMean") == [x, axes]
        if same and constants[axes].tolist() == [2]:  # the last of (1, C, T)
            return Node("Normalize", [x], node.outputs, {"epsilon": constants[epsilon].item()})
        return None

    def fused_sum(node: Node) -> Node | None:
        for product, other in (node.inputs, node.inputs[::-1]):
            x, w = made_by(product, "MatMul")
            if uses[product] == 1 and np.ndim(constants.get(w)) == 2 and np.ndim(constants.get(other)) == 1:
                return Node("Linear", [x, w, other], node.outputs)
            if uses[product] == 1 and any(factors := made_by(product, "Mul")):
                return Node("MultiplyAdd", [*factors, other], node.outputs)
        return None

    rules = {"Div": normalized, "Add": fused_sum}
    nodes = [rules.get(node.op, lambda _: None)(node) or node for node in nodes]
    together: defaultdict[str, list[Node]] = defaultdict(list)
    for node in nodes:
        if node.op == "Linear":
            together[node.inputs[0]].append(node)
    done = []
    for node in nodes:
        if node.op != "Linear":
            done.append(node)
        elif node is together[node.inputs[0]][0]:
            done += one_product(together[node.inputs[0]], constants)
    return done


def one_product(nodes: list[Node], constants: dict[str, Array]) -> list[Node]:
    """One product of the input that the nodes share, split into what each of them made."""
    _, weights, biases = zip(*[node.inputs for node in nodes], strict=True)
    outputs = [node.outputs[0] for node in nodes]
    w, b, sizes, whole = (f"{what} of {outputs[0]}" for what in ("weight", "bias", "sizes", "product"))
    constants[w] = np.ascontiguousarray(np.concatenate([constants[name] for name in weights], 1).T)
    constants[b] = np.concatenate([constants[name] for name in biases])
    constants[sizes] = np.array([constants[name].size for name in biases])
    if len(nodes) == 1:
        return [Node("Linear", [nodes[0].inputs[0], w, b], outputs)]
    linear = Node("Linear", [nodes[0].inputs[0], w, b], [whole])
    return [linear, Node("Split", [whole, sizes], outputs, {"axis": -1})]


def belongs_on_host(value: Array) -> bool:
    """Single numbers, scales of three axes, shapes: what kernels take as arguments."""
    return value.ndim == 0 or (value.ndim == 1 and (value.size <= 3 or value.dtype == np.int64))


class Graph:
    """A graph ready to run.

    Args:
        model: In float, with constant weights, as kokoro_float.dequantize makes it; outputs in the order wanted.
        device: "cpu", "cuda" or "cuda:1". On a GPU products are in TF32, for the whole process.

    Raises:
        ValueError: An operator or attribute is none of Kokoro's.
    """

    def __init__(self, model: onnx.ModelProto, device: str) -> None:
        if device.startswith("cuda"):
            torch.set_float32_matmul_precision("high")
        self.device, graph = device, model.graph
        self.outputs = [value.name for value in graph.output]
        self.constants: dict[str, Any] = {t.name: numpy_helper.to_array(t).copy() for t in graph.initializer}
        nodes = [
            Node(n.op_type, [*n.input], [*n.output], {a.name: helper.get_attribute_value(a) for a in n.attribute})
            for n in graph.node
        ]
        nodes = fuse(nodes, self.constants, self.outputs)
        needed = set(self.outputs)
        for node in reversed(nodes):
            if needed.intersection(node.outputs):
                needed.update(node.inputs[:1] if node.op in MADE else node.inputs)
        self.on_host = {name for name, value in self.constants.items() if belongs_on_host(value)}
        self.steps = [self.bound(node) for node in nodes if needed.intersection(node.outputs)]
        last = {name: i for i, (_, inputs, _, _) in enumerate(self.steps) for name in inputs}
        for name, i in last.items():
            if name not in self.constants and name not in self.outputs:
                self.steps[i][3].append(name)
        self.constants = {name: self.placed(name) for name in last if name in self.constants} | {"": None}

    def placed(self, name: str) -> Array | Tensor:
        value = self.constants[name]
        return value if name in self.on_host else torch.from_numpy(value).to(self.device)

    def bound(self, node: Node) -> Step:
        """The function for a node, and the names of what it takes, what it gives and what is then free."""
        if node.op in MADE:
            make, constant = MADE[node.op]
            function = make(*(self.constants[node.inputs[i]] for i in constant), device=self.device)
            self.check(node, set())
            return function, node.inputs[:1], node.outputs[:1], []
        host = node.op in ON_HOST and all(name in self.on_host for name in node.inputs if name)
        if not host and node.op not in ON_DEVICE:
            raise ValueError(f"operator {node.op!r} ({node.outputs[0]}) is not one of {sorted(ON_DEVICE)}.")
        if host or node.op == "Shape":
            self.on_host.update(node.outputs)
        function = (ON_HOST if host else ON_DEVICE)[node.op]
        try:
            parameters = inspect.signature(function).parameters.values()
        except ValueError:  # PyTorch's own functions show none, and read no attribute here
            parameters = ()
        read = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
        self.check(node, read)
        given = {name: value for name, value in node.attributes.items() if name in read}
        given |= {"device": self.device} if "device" in read else {}
        return functools.partial(function, **given) if given else function, node.inputs, node.outputs, []

    def check(self, node: Node, read: set[str]) -> None:
        for name, value in node.attributes.items():
            fine = EXPECTED.get(name, ...) in (value, None) or name in read
            if not fine or (name == "pads" and value[0] != value[1]):
                raise ValueError(
                    f"{node.op} ({node.outputs[0]}) has {name}={value!r}, which this graph runner does not do."
                )

    @torch.inference_mode()
    def __call__(self, feeds: dict[str, Array]) -> list[Tensor]:
        """One utterance: the graph's inputs by name to its outputs, on the device."""
        fed = {name: torch.from_numpy(value).to(self.device, non_blocking=True) for name, value in feeds.items()}
        values = self.constants | fed
        for function, inputs, outputs, free in self.steps:
            result = function(*[values[name] for name in inputs])
            if len(outputs) == 1:
                values[outputs[0]] = result
            else:
                values.update(zip(outputs, result, strict=True))
            for name in free:
                del values[name]
        return [values[name] for name in self.outputs]
