"""Layers in float32: Gemm and the GRU operator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from speechbrain_dynsnet.model.layers import Recurrent
from speechbrain_dynsnet.runtime.export.graph import Graph, Shape
from speechbrain_dynsnet.runtime.export.layers import Array, Axes, gates


class Float32:
    """Exactly the network that was trained.

    Arguments
    ---------
    axes : Axes
        Of the graph.
    """

    name = "fp32"
    gru_rank = 3  # what the operator wants, with or without a time axis
    joins_grus = False  # the operator is one layer

    def __init__(self, axes: Axes) -> None:
        self._axes = axes
        self.dense_rank = 2 if axes.time is None else 3

    def linear(self, graph: Graph, x: str, weight: Array, bias: Array, name: str) -> str:
        """See `Precision.linear`."""
        if self._axes.time is None:
            inputs = [x, graph.weight(weight, f"{name}.weight"), graph.weight(bias, f"{name}.bias")]
            return graph.add("Gemm", inputs, transB=1)
        product = graph.add("MatMul", [x, graph.weight(weight.T, f"{name}.weight")])
        return graph.add("Add", [product, graph.weight(bias, f"{name}.bias")])

    def gru(
        self, graph: Graph, x: str, layers: Sequence[Recurrent], states: Sequence[str], names: Sequence[str]
    ) -> tuple[str, list[str]]:
        """See `Precision.gru`."""
        (layer,), (state,), (name,) = layers, states, names
        biases = np.concatenate([_onnx_order(layer, "bias_ih"), _onnx_order(layer, "bias_hh")], axis=1)
        inputs = [
            x,
            graph.weight(_onnx_order(layer, "weight_ih"), f"{name}.weight_ih"),
            graph.weight(_onnx_order(layer, "weight_hh"), f"{name}.weight_hh"),
            graph.weight(biases, f"{name}.bias"),
            "",  # lengths: all frames count
            state,
        ]
        outputs, last = graph.add_many(
            "GRU",
            inputs,
            2,
            hidden_size=layer.gru.hidden_size,
            linear_before_reset=1,  # torch applies the reset gate after the recurrent product
        )
        if self._axes.time is None:  # then the only output is the last state, which has one axis less
            return last, [last]
        return graph.add("Squeeze", [outputs, graph.integers(1)]), [last]

    def state_shape(self, size: int) -> Shape:
        """(directions, channels, size)."""
        return [1, self._axes.channels, size]


def _onnx_order(layer: Recurrent, kind: str) -> Array:
    """ONNX stacks update, reset, new, with an axis of directions before."""
    reset, update, new = gates(layer, kind)
    return np.concatenate([update, reset, new])[None]
