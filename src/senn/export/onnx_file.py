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
from senn.export.onnx_images import convolutions, image_input
from senn.export.parts import Parts, parts_of
from senn.files import write_atomically
from senn.nn.activation import activation_called
from senn.standalone.numpy_predict import FAR

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
    out are no inputs. Of images the input is `X` float32, of the shape that training had.

    A classifier has the outputs `label` [N] and `probabilities` [N, classes], its columns in the
    order of `classes_`; of several labels a row `label` is [N, L] of 0 and 1; a regressor
    `prediction`, of the shape that `predict` gives. Labels are int64, double, bool or string. The
    metadata also say `senn_version` and `hidden_sizes`.

    Raises a `TypeError` for other estimators.
    """
    write_atomically(Path(path), onnx_model(parts_of(estimator), opset).SerializeToString())


def onnx_model(parts: Parts, opset: int = OPSET) -> ModelProto:
    """The model that `to_onnx` writes."""
    graph = Graph()
    rows, x = image_input(graph, parts) if parts.patches else table_inputs(graph, parts)
    outputs = predictions(graph, parts, x)
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


def predictions(graph: Graph, parts: Parts, x: str) -> list[Any]:
    """Add all from rows of numbers, or of images, to predictions; the outputs, which have names."""
    network = convolutions if parts.patches else _network
    y = network(graph, parts, _prepared_inputs(graph, parts, x))
    return _outputs_of(parts)(graph, parts, y)


def _prepared_inputs(graph: Graph, parts: Parts, x: str) -> str:
    """Prepared in double, as the estimator does: far from zero, float32 would lose digits."""
    inputs = parts.inputs
    if inputs is None:
        return graph.node("Cast", x, to=TensorProto.FLOAT)
    constants = {k: v for k, v in inputs._asdict().items() if k != "column"}
    x = graph.node("Cast", x, to=TensorProto.DOUBLE)
    z = _rescaled(graph, x, constants, "mean", "scale")
    if np.isfinite(inputs.bound):
        z = _bounded(graph, z, float(inputs.bound))
    if len(inputs.column):
        column = graph.constant("input_column", inputs.column, np.int64)
        u = graph.node("Gather", x, column, axis=1)
        u = _cut(graph, _rescaled(graph, u, constants, "left", "width"), "unit", 0.0, 1.0)
        codes = _rescaled(graph, u, constants, "code_mean", "code_scale")
        z = graph.node("Concat", z, codes, axis=1)
    return graph.node("Cast", z, to=TensorProto.FLOAT)


def _rescaled(graph: Graph, x: str, constants: dict[str, np.ndarray], less: str, over: str) -> str:
    """(x − less) / over."""
    x = graph.node("Sub", x, graph.constant(f"input_{less}", constants[less], np.float64))
    return graph.node("Div", x, graph.constant(f"input_{over}", constants[over], np.float64))


def _bounded(graph: Graph, z: str, bound: float) -> str:
    """z / √(1 + (z / bound)²)."""
    z = _cut(graph, z, "far", -FAR * bound, FAR * bound)
    part = graph.node("Div", z, graph.constant("input_bound", bound, np.float64))
    square = graph.node("Mul", part, part)
    length = graph.node(
        "Sqrt", graph.node("Add", square, graph.constant("one_in_double", 1.0, np.float64))
    )
    return graph.node("Div", z, length)


def _cut(graph: Graph, x: str, name: str, low: float, high: float) -> str:
    """x cut to [low, high]."""
    ends = (("low", low), ("high", high))
    return graph.node("Clip", x, *(graph.constant(f"{name}_{k}", v, np.float64) for k, v in ends))


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


def _outputs_of(parts: Parts) -> Any:
    """The function that makes predictions of a network's outputs."""
    if parts.classes is None:
        return _regression
    return _several_labels if parts.multi_label else _labels


def _several_labels(graph: Graph, parts: Parts, y: str) -> list[Any]:
    """Of every label whether it is probable, and its probability."""
    assert parts.classes is not None
    above = graph.node("Greater", y, graph.constant("zero", 0.0))
    graph.node("Cast", above, name="label", to=TensorProto.INT64)
    graph.node("Sigmoid", y, name="probabilities")
    shape = ["N", len(parts.classes)]
    return [
        helper.make_tensor_value_info("label", TensorProto.INT64, shape),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, shape),
    ]


def _labels(graph: Graph, parts: Parts, y: str) -> list[Any]:
    """The most probable label, and the probabilities of all."""
    assert parts.classes is not None
    dtype = label_type(parts.classes)
    labels = graph.constant("classes", parts.classes, dtype)
    code = graph.node("ArgMax", y, axis=1, keepdims=0)
    graph.node("Gather", labels, code, name="label")
    graph.node("Softmax", y, axis=1, name="probabilities")
    kind, n = helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), len(parts.classes)
    return [
        helper.make_tensor_value_info("label", kind, ["N"]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", n]),
    ]


def label_type(classes: Any) -> Any:
    """The type that labels have in ONNX; a `ValueError` for those that have no place there."""
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
