"""Builds one ONNX graph or subgraph: nodes, weights, and names that are unique over all of a model's graphs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"  # the domain of onnxruntime's own operators
Shape = Sequence[int | str]


class Graph:
    """Collects nodes and weights.

    Weights belong to the graph that uses them: onnxruntime packs the weights of a subgraph for its kernels only when
    they are that subgraph's own.

    Arguments
    ---------
    names : Counter or None
        How often each name was given; a subgraph shares that of its outer graph, whose values it may read.
    """

    def __init__(self, names: Counter[str] | None = None) -> None:
        self._names: Counter[str] = Counter() if names is None else names
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def subgraph(self) -> Graph:
        """An empty graph that may read the values of this one."""
        return Graph(self._names)

    def add(self, operator: str, inputs: Sequence[str], domain: str = "", **attributes: Any) -> str:
        """A node of one output; its name."""
        return self.add_many(operator, inputs, 1, domain, **attributes)[0]

    def add_many(
        self, operator: str, inputs: Sequence[str], outputs: int, domain: str = "", **attributes: Any
    ) -> list[str]:
        """A node of several outputs.

        Arguments
        ---------
        operator : str
            ONNX's name of it.
        inputs : sequence of str
            Names; an empty one leaves an optional input out.
        outputs : int
            How many.
        domain : str
            Whose operator it is: empty is ONNX's own.
        **attributes
            Of the node.

        Returns
        -------
        list of str
            Names of the outputs.
        """
        names = [self._name(operator.lower()) for _ in range(outputs)]
        self._nodes.append(helper.make_node(operator, inputs, names, domain=domain, **attributes))
        return names

    def weight(self, array: NDArray[Any], name: str) -> str:
        """An array that the graph holds."""
        name = self._name(name)
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def integers(self, *values: int) -> str:
        """A list of whole numbers, such as axes and sizes."""
        return self.weight(np.array(values, np.int64), "integers")

    def number(self, value: float) -> str:
        """One float32 number."""
        return self.weight(np.array(value, np.float32), "number")

    def rename(self, value: str, name: str) -> None:
        """Give a value the name that the model's interface has for it."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))

    def build(
        self, name: str, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]
    ) -> onnx.GraphProto:
        """The finished graph."""
        return helper.make_graph(self._nodes, name, inputs, outputs, self._weights)

    def _name(self, stem: str) -> str:
        self._names[stem] += 1
        return stem if self._names[stem] == 1 else f"{stem}_{self._names[stem]}"


def floats(name: str, shape: Shape) -> onnx.ValueInfoProto:
    """The name, type and shape of a float32 value."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
