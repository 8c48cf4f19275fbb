"""A graph of ONNX as it is being built."""

from typing import Any

import numpy as np

try:
    from onnx import helper, numpy_helper
except ImportError as error:
    raise ImportError("ONNX export needs the package onnx: pip install 'senn[onnx]'.") from error


OWN = "senn/"  # before names of our own, so that columns may have any others


class Graph:
    """Nodes and constants as they come, each called by its output."""

    def __init__(self):  # noqa: D107
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, operator: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Add an operation; the name of its output."""
        output = name or f"{OWN}{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, name: str, value: Any, dtype: Any = np.float32) -> str:
        """Add a constant, unless one of that name is there; its name in the graph."""
        name = OWN + name
        if all(known.name != name for known in self.constants):
            self.constants.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name
