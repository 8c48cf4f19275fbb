"""A model as an ONNX graph of standard operators, for onnxruntime in any language."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from senn import __version__
from senn.columns import treatments
from senn.export.onnx_columns import ML, ML_OPSET, table_inputs
from senn.export.onnx_graph import Graph
from senn.export.parts import Parts, parts_of
from senn.files import write_atomically
from senn.nn.activation import activation_called

try:
    from onnx import ModelProto, TensorProto, helper
except ImportError as error:
    raise ImportError("ONNX export needs the package onnx: pip install 'senn[onnx]'.") from error

OPSET = 17  # of 2022; every one from 13 to 24 has the operators used here
LABELS = {"i": np.int64, "u": np.int64, "f": np.float64, "b": np.bool_, "U": np.object_}


def to_onnx(estimator: Any, path: str | os.PathLike[str], *, opset: int = OPSET) -> None:
    """Write a fitted estimator as an ONNX file, the scaling of inputs and targets included.

    Of a table of numbers without gaps the input is `X` [N, I] float32 (double where that would
    lose digits that matter), its columns in the order of the metadata's `feature_names`. Of any
    other table each column is an input of its name [N, 1], or `column NAME` if an output is called
    so: double for numbers (NaN for a gap), flags (0 and 1) and dates (days since 1970), string for
    categories ("" for a gap). `columns` among the metadata has their kinds; those that were left
    out are no inputs.

    A classifier has the outputs `label` [N] and `probabilities` [N, classes], its columns in the
    order of `classes_`; a regressor `prediction`, of the shape that `predict` gives. Labels are
    int64, double, bool or string. The metadata also say `senn_version` and `hidden_sizes`.

    Raises a `TypeError` for other estimators.
    """
    write_atomically(Path(path), onnx_model(parts_of(estimator), opset).SerializeToString())


def onnx_model(parts: Parts, opset: int = OPSET) -> ModelProto:
    """The model that `to_onnx` writes."""
    graph = Graph()
    rows, x = table_inputs(graph, parts)
    y = _network(graph, parts, _scaled(graph, parts, x))
    outputs = _regression(graph, parts, y) if parts.classes is None else _labels(graph, parts, y)
    opsets = [helper.make_opsetid("", opset)]
    if any(node.domain == ML for node in graph.nodes):
        opsets.append(helper.make_opsetid(ML, ML_OPSET))
    model = helper.make_model(
        helper.make_graph(graph.nodes, "senn", rows, outputs, graph.constants),
        opset_imports=opsets,
        ir_version=helper.find_min_ir_version_for(opsets),
        producer_name="senn",
        producer_version=__version__,
    )
    helper.set_model_props(model, {
        "senn_version": __version__,
        "hidden_sizes": json.dumps(parts.hidden_sizes),
        "feature_names": json.dumps(parts.feature_names),
        "columns": json.dumps([] if parts.columns is None else treatments(parts.columns)),
    })  # fmt: skip
    return model


def _scaled(graph: Graph, parts: Parts, x: str) -> str:
    """Standardised in double, as the estimator does: far from zero, float32 would lose digits."""
    if parts.input_scale is None:
        return graph.node("Cast", x, to=TensorProto.FLOAT)
    mean, scale = parts.input_scale
    x = graph.node("Cast", x, to=TensorProto.DOUBLE)
    x = graph.node("Sub", x, graph.constant("input_mean", mean, np.float64))
    x = graph.node("Div", x, graph.constant("input_scale", scale, np.float64))
    return graph.node("Cast", x, to=TensorProto.FLOAT)


def _network(graph: Graph, parts: Parts, x: str) -> str:
    """The outputs of the network."""
    nodes, z = [x], x
    sigma = activation_called(parts.activation)
    for m, sources in enumerate(parts.sources):
        read = [nodes[node] for node in sources]
        joined = read[0] if len(read) == 1 else graph.node("Concat", *read, axis=1)
        weight = graph.constant(f"weight_{m}", parts.weights[m])
        bias = graph.constant(f"bias_{m}", parts.biases[m])
        z = graph.node("Gemm", joined, weight, bias)
        if m < len(parts.sources) - 1:
            theta = parts.thetas[m] if parts.thetas else None
            nodes.append(sigma.onnx(graph, z, theta))
    return z


def _labels(graph: Graph, parts: Parts, y: str) -> list[Any]:
    """The most probable label, and the probabilities of all."""
    assert parts.classes is not None
    labels = graph.constant("classes", parts.classes, _label_type(parts.classes))
    code = graph.node("ArgMax", y, axis=1, keepdims=0)
    graph.node("Gather", labels, code, name="label")
    graph.node("Softmax", y, axis=1, name="probabilities")
    kind, n = graph.constants[-1].data_type, len(parts.classes)
    return [
        helper.make_tensor_value_info("label", kind, ["N"]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", n]),
    ]


def _label_type(classes: Any) -> Any:
    kind = LABELS.get(classes.dtype.kind)
    if kind is None:
        raise ValueError(
            f"Labels of type {classes.dtype} have no place in ONNX, whose labels are numbers, "
            "booleans or text: train with such labels."
        )
    if kind is np.int64 and classes.max() > np.iinfo(np.int64).max:
        raise ValueError(
            f"The label {classes.max()} is beyond the 64 bits with a sign that ONNX has: train "
            "with smaller numbers, or with text."
        )
    return kind


def _regression(graph: Graph, parts: Parts, y: str) -> list[Any]:
    """The predictions in the targets' own units."""
    assert parts.target_scale is not None
    mean, scale = parts.target_scale
    y = graph.node("Cast", y, to=TensorProto.DOUBLE)
    y = graph.node("Mul", y, graph.constant("target_scale", scale, np.float64))
    y = graph.node("Add", y, graph.constant("target_mean", mean, np.float64))
    if parts.one_output:
        y = graph.node("Squeeze", y, graph.constant("axis", [1], np.int64))
    graph.node("Cast", y, name="prediction", to=TensorProto.FLOAT)
    shape = ["N"] if parts.one_output else ["N", len(mean)]
    return [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, shape)]
