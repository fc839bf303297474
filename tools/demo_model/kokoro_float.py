"""Kokoro's int8 graph with its products in floating point again: onnx in, onnx out.

The published graph quantizes every input of a convolution on the way, and
most runtimes run integer convolutions slowly. With the weights multiplied out
a runtime may use the processor's own half precision: OpenVINO then speaks
twice as fast on one core. The voice is the same up to the rounding that int8 adds.
"""

import numpy as np
import onnx
from onnx import helper, numpy_helper

FLOAT_OP = {"ConvInteger": "Conv", "MatMulInteger": "MatMul"}


class Graph:
    """Who makes and who uses each value of an onnx graph, and the constants."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.maker = {name: node for node in graph.node for name in node.output}
        self.user = {name: node for node in graph.node for name in node.input}
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.constants |= {
            node.output[0]: node.attribute[0].t for node in graph.node if node.op_type == "Constant"
        }  # fmt: skip

    def constant(self, name: str) -> np.ndarray | None:
        return numpy_helper.to_array(self.constants[name]) if name in self.constants else None


def bias_of(graph: Graph, add: onnx.NodeProto, product: str) -> str:
    """The float bias behind the integer one that a node adds to a product: bias / scale, rounded."""
    (name,) = (name for name in add.input if name != product)
    while graph.maker[name].op_type != "Div":
        name = graph.maker[name].input[0]
    return graph.maker[name].input[0]


def weight_of(graph: Graph, node: onnx.NodeProto, scales: onnx.NodeProto) -> np.ndarray:
    """The weight of an integer product, times its scale."""
    (scale,) = (value for value in map(graph.constant, scales.input) if value is not None)
    weight = graph.constant(node.input[1]).astype(np.float32) - graph.constant(node.input[3]).astype(np.float32)
    column = (-1, *[1] * (weight.ndim - 1)) if node.op_type == "ConvInteger" else (1, -1)
    return weight * (scale.reshape(column) if scale.size > 1 else scale)


def to_float(graph: Graph, node: onnx.NodeProto) -> tuple[onnx.NodeProto, onnx.TensorProto]:
    """The float node that stands for an integer product, its bias and its scaling; its weight."""
    quantize, bias, cast = graph.maker[node.input[0]], [], graph.user[node.output[0]]
    if cast.op_type == "Add":
        bias, cast = [bias_of(graph, cast, node.output[0])], graph.user[cast.output[0]]
    scaled = graph.user[cast.output[0]]
    (scales,) = (name for name in scaled.input if name != cast.output[0])
    weight = numpy_helper.from_array(weight_of(graph, node, graph.maker[scales]), f"{node.name}_weight")
    inputs = [quantize.input[0], weight.name, *bias]
    made = helper.make_node(FLOAT_OP[node.op_type], inputs, [scaled.output[0]], name=scaled.name)
    made.attribute.extend(node.attribute)
    return made, weight


def dequantize(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace the integer products of a dynamically quantized model; what only served them is left out."""
    graph = Graph(model.graph)
    made = [to_float(graph, node) for node in model.graph.node if node.op_type in FLOAT_OP]
    by_name = {node.name: node for node, _ in made}
    nodes = [by_name.get(node.name, node) for node in model.graph.node]
    wanted = used_by(nodes, {value.name for value in model.graph.output})
    initializers = [t for t in [*model.graph.initializer, *(weight for _, weight in made)] if t.name in wanted]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(node for node in nodes if wanted.intersection(node.output))
    model.graph.initializer.extend(initializers)
    return model


def used_by(nodes: list[onnx.NodeProto], outputs: set[str]) -> set[str]:
    """Every value that the outputs need."""
    wanted = set(outputs)
    for node in reversed(nodes):  # onnx lists nodes in the order of their work
        if wanted.intersection(node.output):
            wanted.update(node.input)
            wanted.update(name for a in node.attribute for inner in a.g.node for name in inner.input)
    return wanted
