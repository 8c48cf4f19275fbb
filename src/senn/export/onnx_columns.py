"""The columns of a table as the inputs of an ONNX graph, words and gaps included."""

from typing import Any

import numpy as np

from senn.export.onnx_graph import Graph
from senn.export.parts import Parts
from senn.standalone import numpy_columns

try:
    from onnx import TensorProto, helper
except ImportError as error:
    raise ImportError("ONNX export needs the package onnx: pip install 'senn[onnx]'.") from error

ML, ML_OPSET = "ai.onnx.ml", 3  # the operators for categories
OUTPUTS = ("label", "probabilities", "prediction")  # columns of these names become "column label"
FAR = 2**15  # standard deviations from 0, beyond which float32 has less than 9 bits left


def table_inputs(graph: Graph, parts: Parts) -> tuple[list[Any], str]:
    """The inputs of the graph, and the name of the rows [N, I] that they become."""
    if parts.columns is None or parts.columns.are_plain:
        kind = TensorProto.DOUBLE if _is_far(parts) else TensorProto.FLOAT
        row = helper.make_tensor_value_info("X", kind, ["N", len(parts.feature_names)])
        return [row], filled(graph, parts, "X", np.float64 if _is_far(parts) else np.float32)
    rows, made = [], []
    for spec in parts.columns.specs:
        kind = spec["kind"]
        if kind in numpy_columns.LEFT_OUT:
            continue
        words = kind == "category"
        element = TensorProto.STRING if words else TensorProto.DOUBLE
        name = f"column {spec['name']}" if spec["name"] in OUTPUTS else spec["name"]
        rows.append(helper.make_tensor_value_info(name, element, ["N", 1]))
        made += [category(graph, spec, name)] if words else measured(graph, spec, name)
    return rows, graph.node("Concat", *made, axis=1)


def _is_far(parts: Parts) -> bool:
    inputs = parts.inputs
    return inputs is not None and bool((np.abs(inputs.mean) > FAR * inputs.scale).any())


def filled(graph: Graph, parts: Parts, x: str, dtype: Any) -> str:
    """Rows [N, I] of plain columns, their gaps filled."""
    if parts.columns is None:
        return x
    fill = graph.constant("fill", [spec["fill"] for spec in parts.columns.specs], dtype)
    return graph.node("Where", graph.node("IsNaN", x), fill, x)


def category(graph: Graph, spec: dict[str, Any], name: str) -> str:
    """What a level, a word [N, 1], becomes: a row of a table of them all."""
    levels = spec["levels"]
    gap, unknown = len(levels), len(levels) + 1
    keys = [*levels, *(word for word in numpy_columns.MISSING if word not in levels)]
    codes = [*range(gap), *[gap] * (len(keys) - gap)]
    code = graph.node(
        "LabelEncoder", name, domain=ML,
        keys_strings=keys, values_int64s=codes, default_int64=unknown,
    )  # fmt: skip
    values = numpy_columns.category_values(spec)
    table = graph.constant(f"levels {name}", values, np.float64)
    row = graph.node("Gather", table, code, axis=0)  # [N, 1, I]
    return graph.node("Squeeze", row, graph.constant("second axis", [1], np.int64))


def measured(graph: Graph, spec: dict[str, Any], name: str) -> list[str]:
    """A number [N, 1], where in its cycles a date stands, and whether there was a gap."""
    gap = graph.node("IsNaN", name)
    fill = graph.constant(f"fill {name}", [[spec["fill"]]], np.float64)
    x = graph.node("Where", gap, fill, name)
    parts = [x]
    for cycle in spec.get("cycles", ()):
        turns = graph.node("Div", x, _number(graph, cycle))
        turn = graph.node("Sub", turns, graph.node("Floor", turns))
        angle = graph.node("Mul", turn, _number(graph, 2 * np.pi))
        later = graph.node("Add", angle, _number(graph, np.pi / 2))
        parts += [graph.node("Sin", angle), graph.node("Sin", later)]  # the latter is the cosine
    if spec["gaps"]:
        parts.append(graph.node("Cast", gap, to=TensorProto.DOUBLE))
    return parts


def _number(graph: Graph, value: float) -> str:
    return graph.constant(f"number {value!r}", value, np.float64)
