"""Our estimators in scikit-learn's pipelines: converters for skl2onnx, which has all others."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from senn.estimators import SENNClassifier, SENNRegressor
from senn.export.onnx_columns import ML, ML_OPSET, category, filled, measured
from senn.export.onnx_file import label_type, predictions
from senn.export.onnx_graph import OWN, Graph
from senn.export.parts import Parts, parts_of
from senn.standalone import numpy_columns

try:
    import skl2onnx
    from onnx import TensorProto, numpy_helper
    from skl2onnx.common.data_types import (
        DoubleTensorType,
        FloatTensorType,
        Int64TensorType,
        StringTensorType,
    )
except ImportError as error:
    raise ImportError(
        "Pipelines are converted by the package skl2onnx: pip install 'senn[skl2onnx]'."
    ) from error

OPTIONS = {
    "zipmap": [True, False, "columns"], "output_class_labels": [False, True], "nocl": [True, False],
}  # fmt: skip


def register_skl2onnx() -> None:
    """Let skl2onnx convert pipelines, searches and ensembles that hold our estimators.

    After that `skl2onnx.to_onnx(pipeline, X[:1].astype(np.float32))` and
    `skl2onnx.convert_sklearn` treat them like scikit-learn's own: a classifier gives labels and
    probabilities, as a dictionary a row unless the option `zipmap` is False, a regressor numbers
    [N, O]. Labels are whole numbers or text. What comes before our estimator is computed as
    skl2onnx does, in the type of the inputs. An estimator that was fitted on words needs them as
    text, its dates as days since 1970, and its columns in the order of its `feature_names_`.
    """
    for kind, shapes, options in (
        (SENNClassifier, _shapes_of_labels, OPTIONS), (SENNRegressor, _shapes_of_numbers, None),
    ):  # fmt: skip
        skl2onnx.update_registered_converter(kind, kind.__name__, shapes, _convert, options=options)


# --- What skl2onnx asks ----------------------------------------------------------------------


def _shapes_of_labels(operator: Any) -> None:
    rows, classes = operator.inputs[0].get_first_dimension(), _classes(operator)
    n, several = len(classes), operator.raw_operator._multi_label
    text = label_type(classes) is np.object_
    if classes.dtype.kind == "f" and (classes % 1 != 0).any():
        raise ValueError(
            f"skl2onnx has labels of whole numbers and of text, not such as "
            f"{classes[classes % 1 != 0][0]}: train with those, or export without a pipeline."
        )
    labels, chances = operator.outputs
    kind = StringTensorType if text else Int64TensorType
    labels.set_type(kind([rows, n] if several else [rows]))
    chances.type.shape = [rows, n]


def _classes(operator: Any) -> np.ndarray:
    """The labels, or their places where the option `nocl` asks for no others."""
    classes = parts_of(operator.raw_operator).classes
    assert classes is not None
    options = operator.scope_inst.get_options(operator.raw_operator, {"nocl": False})
    return np.arange(len(classes)) if options["nocl"] else classes


def _shapes_of_numbers(operator: Any) -> None:
    rows = operator.inputs[0].get_first_dimension()
    operator.outputs[0].type.shape = [rows, operator.raw_operator._plain.out_size]


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Add a fitted estimator to the graph that skl2onnx builds."""
    parts, graph = parts_of(operator.raw_operator), Within(scope, container)
    if parts.patches:
        raise ValueError("skl2onnx has pipelines of rows; export images by senn.export.to_onnx.")
    if parts.classes is not None:
        parts = replace(parts, classes=_classes(operator))
    rows = _rows(graph, parts, operator.inputs)
    for info, output in zip(predictions(graph, parts, rows), operator.outputs, strict=True):
        found = graph.named[info.name]
        if not isinstance(output.type, StringTensorType):
            found = graph.node("Cast", found, to=_element(output.type))
        if parts.classes is None:
            shape = graph.constant("rows of numbers", [-1, len(parts.biases[-1])], np.int64)
            found = graph.node("Reshape", found, shape)
        container.add_node("Identity", [found], [output.full_name])


def _element(kind: Any) -> int:
    if isinstance(kind, Int64TensorType):
        return TensorProto.INT64
    return TensorProto.DOUBLE if isinstance(kind, DoubleTensorType) else TensorProto.FLOAT


class Within(Graph):
    """A part of a graph that skl2onnx builds: names are its to give."""

    def __init__(self, scope: Any, container: Any):  # noqa: D107
        super().__init__()
        self.scope, self.container = scope, container
        self.named: dict[str, str] = {}  # outputs by the names that they have alone
        self._known: dict[str, str] = {}

    def node(  # noqa: D102
        self, operator: str, *inputs: str, name: str | None = None, **attributes: Any
    ) -> str:
        output = self.scope.get_unique_variable_name(f"{OWN}{name or operator.lower()}")
        domain = attributes.pop("domain", "")
        version = ML_OPSET if domain == ML else None  # which skl2onnx takes for newer than it knows
        self.container.add_node(
            operator, list(inputs), [output],
            op_domain=domain, op_version=version, name=output, **attributes,
        )  # fmt: skip
        if name is not None:
            self.named[name] = output
        return output

    def constant(self, name: str, value: Any, dtype: Any = np.float32) -> str:  # noqa: D102
        if name not in self._known:
            array = np.array(value, dtype)
            kind = numpy_helper.from_array(array).data_type
            self._known[name] = unique = self.scope.get_unique_variable_name(OWN + name)
            self.container.add_initializer(unique, kind, array.shape, array.ravel().tolist())
        return self._known[name]


# --- Its inputs ------------------------------------------------------------------------------


def _rows(graph: Graph, parts: Parts, inputs: Sequence[Any]) -> str:
    """The rows [N, I] of the network's inputs, not yet rescaled."""
    if parts.columns is None or parts.columns.are_plain:
        if any(isinstance(variable.type, StringTensorType) for variable in inputs):
            raise ValueError("The model has learned from numbers, and skl2onnx gives it text.")
        doubles = [_double(graph, variable.full_name) for variable in inputs]
        x = doubles[0] if len(doubles) == 1 else graph.node("Concat", *doubles, axis=1)
        return filled(graph, parts, x, np.float64)
    specs = parts.columns.specs
    cells = list(_cells(graph, inputs, len(specs)))
    if len(cells) != len(specs):
        raise ValueError(
            f"The model has {len(specs)} columns, and skl2onnx gives it {len(cells)}: name each of "
            f"them in its order, {', '.join(parts.feature_names)[:200]}."
        )
    made = [
        part
        for spec, (name, kind) in zip(specs, cells, strict=True)
        if spec["kind"] not in numpy_columns.LEFT_OUT
        for part in _column(graph, spec, name, kind)
    ]
    return graph.node("Concat", *made, axis=1)


def _cells(graph: Graph, inputs: Sequence[Any], n: int) -> Iterator[tuple[str, Any]]:
    """Every column [N, 1] of some inputs, and the type of its cells; of n if nothing is known."""
    for variable in inputs:
        wide = variable.type.shape[1] if len(variable.type.shape) > 1 else None
        for place in range(wide or (n if len(inputs) == 1 else 1)):
            here = graph.constant(f"place {place}", [place], np.int64)
            yield graph.node("Gather", variable.full_name, here, axis=1), variable.type


def _column(graph: Graph, spec: dict[str, Any], cells: str, kind: Any) -> list[str]:
    """The inputs [N, ...] that a column becomes."""
    text, words = isinstance(kind, StringTensorType), spec["kind"] == "category"
    if text and words:
        return [category(graph, spec, cells)]
    if text or (words and not spec["numeric"]):
        given, wanted = ("text", "numbers") if text else ("numbers", "text")
        raise ValueError(
            f"The model has learned from {wanted} in column {spec['name']!r}, and skl2onnx gives "
            f"it {given}: change the type of that input."
        )
    if words:
        return [_numbered(graph, spec, cells, kind)]
    return measured(graph, spec, _double(graph, cells))


def _double(graph: Graph, x: str) -> str:
    return graph.node("Cast", x, to=TensorProto.DOUBLE)


def _numbered(graph: Graph, spec: dict[str, Any], cells: str, kind: Any) -> str:
    """What a level, a number [N, 1], becomes."""
    single = isinstance(kind, FloatTensorType)  # in which a level of 0.1 has other digits
    x = cells if single else _double(graph, cells)
    levels = np.array([spec["levels"]], np.float64)
    known = graph.constant(f"levels {spec['name']}", levels, np.float32 if single else np.float64)
    *values, gap, unknown = numpy_columns.category_values(spec)
    hits = [graph.node("Equal", x, known), graph.node("IsNaN", x)]
    hit = graph.node("Cast", graph.node("Concat", *hits, axis=1), to=TensorProto.DOUBLE)
    table = np.array([*values, gap]) - unknown
    weight = graph.constant(f"values {spec['name']}", table, np.float64)
    bias = graph.constant(f"unknown {spec['name']}", unknown, np.float64)
    return graph.node("Gemm", hit, weight, bias)
