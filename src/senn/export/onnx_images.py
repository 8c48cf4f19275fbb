"""Images as the input of an ONNX graph, and convolutions in it: ONNX has the channels first."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from senn.export.onnx_graph import Graph
from senn.export.parts import Parts
from senn.nn.activation import activation_called
from senn.standalone.numpy_conv import Cut

try:
    from onnx import TensorProto, helper
except ImportError as error:
    raise ImportError("ONNX export needs the package onnx: pip install 'senn[onnx]'.") from error


def image_input(graph: Graph, parts: Parts) -> tuple[list[Any], str]:
    """The input of the graph, images as training had them, and the name of [N, H, W, C]."""
    kind, shape = TensorProto.FLOAT, parts.image_shape
    given = [helper.make_tensor_value_info("X", kind, ["N", *shape])]
    if len(shape) == 3:
        return given, "X"
    return given, graph.node("Unsqueeze", "X", graph.constant("last_axis", [3], np.int64))


def convolutions(graph: Graph, parts: Parts, x: str) -> str:
    """The outputs [N, O] of the network for prepared images [N, H, W, C]."""
    sigma = activation_called(parts.activation)
    nodes = [graph.node("Transpose", x, perm=[0, 3, 1, 2])]
    z = x
    for m, sources in enumerate(parts.sources):
        first, *others = (nodes[node] for node in sources)
        z = _map(graph, parts, m, first, others)
        if m < len(parts.sources) - 1:
            theta = parts.thetas[m][:, :, None, None] if parts.thetas else None
            nodes.append(sigma.onnx(graph, z, theta))
    return graph.node("Flatten", z, axis=1)


def _map(graph: Graph, parts: Parts, m: int, first: str, others: Sequence[str]) -> str:
    """Map m at all places: a convolution of the first node, and one of 1 × 1 of the others."""
    cut, weight = parts.patches[m], parts.weights[m]
    rows = len(weight) - _channels(parts, parts.sources[m][1:])
    kernel = weight[:rows].reshape(*cut.kernel, -1, weight.shape[1])
    bias = graph.constant(f"bias_{m}", parts.biases[m])
    (top, bottom), (left, right) = cut.padding
    z = graph.node(
        "Conv", _pooled(graph, cut, first),
        graph.constant(f"weight_{m}", kernel.transpose(3, 2, 0, 1)), bias,
        kernel_shape=list(cut.kernel), strides=[cut.stride] * 2,
        pads=[top, left, bottom, right],
    )  # fmt: skip
    if not others:
        return z
    joined = others[0] if len(others) == 1 else graph.node("Concat", *others, axis=1)
    beside = weight[rows:].T[:, :, None, None]
    w = graph.constant(f"beside_{m}", beside)
    return graph.node("Add", z, graph.node("Conv", joined, w, kernel_shape=[1, 1]))


def _channels(parts: Parts, nodes: Sequence[int]) -> int:
    return sum(len(parts.biases[node - 1]) for node in nodes)


def _pooled(graph: Graph, cut: Cut, a: str) -> str:
    if cut.average:
        return graph.node("GlobalAveragePool", a)
    if cut.pool == 1:
        return a
    return graph.node("MaxPool", a, kernel_shape=[cut.pool] * 2, strides=[cut.pool] * 2)
