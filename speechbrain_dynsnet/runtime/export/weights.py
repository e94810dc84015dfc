"""The weights in an exported model: how many bytes each layer has, and that none stayed in float32 by accident."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from speechbrain_dynsnet.runtime.format import INT8

_PRODUCTS = {"MatMul": 1, "Gemm": 1, "GRU": 1, "MatMulNBits": 1}  # operator: which input is its weight
_TRANSFORM = "dft."  # matrices of the STFT, which are float32 in every file


@dataclass(frozen=True)
class LayerWeights:
    """The weights of one node.

    Arguments
    ---------
    name : str
        Of the layer.
    operator : str
        What multiplies.
    dtype : str
        Of the weight matrix.
    bytes : int
        Of all that it reads, scales and biases included.
    float32_bytes : int
        Of the same in float32.
    """

    name: str
    operator: str
    dtype: str
    bytes: int
    float32_bytes: int


def layer_weights(model: onnx.ModelProto) -> list[LayerWeights]:
    """A row for each node with a weight matrix, in all subgraphs, in the order of the network.

    Raises
    ------
    RuntimeError
        When a layer of an int8 file has a weight matrix of another type, which would be a fault of the export.
    """
    precision = {entry.key: entry.value for entry in model.metadata_props}["precision"]
    rows = [row for graph in graphs(model.graph) for row in _rows(graph)]
    wrong = [
        row.name for row in rows if precision == INT8 and row.dtype != "uint8" and not row.name.startswith(_TRANSFORM)
    ]
    if wrong:
        raise RuntimeError(f"these layers of an int8 file are not in int8: {', '.join(wrong)}")
    return rows


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and all that its nodes hold, at any depth."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from graphs(attribute.g)


def _rows(graph: onnx.GraphProto) -> Iterator[LayerWeights]:
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        held = [name for name in node.input if name in arrays]
        if node.op_type not in _PRODUCTS or not held:
            continue
        name = node.input[_PRODUCTS[node.op_type]]
        attributes = {attribute.name: attribute.i for attribute in node.attribute}
        is_blocked = "block_size" in attributes
        matrix = attributes["N"] * attributes["K"] if is_blocked else arrays[name].size
        others = sum(arrays[other].size for other in held if other != name and not other.endswith(".scale"))
        yield LayerWeights(
            name.partition(".weight")[0],
            node.op_type,
            str(np.dtype(arrays[name].dtype)),
            sum(arrays[other].nbytes for other in held),
            4 * (matrix + others),
        )
