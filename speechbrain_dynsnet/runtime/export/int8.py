"""Layers in int8: onnxruntime's MatMulNBits with 8 bits, and GRU cells unrolled to it, for there is no quantised GRU.

A weight matrix has a scale for every output channel and every `BLOCK` inputs. So has the vector that it is multiplied
with, found anew in each frame: a frame's result does not depend on the frames and channels beside it. The usual
DynamicQuantizeMatMul has one scale for all that a call holds, and its products overflow 16 bits on processors without
VNNI: on an emulated Haswell it was wrong by a tenth of the output's range, MatMulNBits by no more than elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from speechbrain_dynsnet.model.layers import Recurrent
from speechbrain_dynsnet.runtime.export.graph import MICROSOFT, Graph, Shape, floats
from speechbrain_dynsnet.runtime.export.layers import GATES, Array, Axes, gates

BLOCK = 64  # of 32, 64 and 128 the quickest; a smaller one loses less
_ZERO = 128  # the level that stands for 0: levels are unsigned
_STEPS = 127  # to either side of it
_COMPUTE_IN_INT8 = 4  # what MatMulNBits calls accuracy_level


def quantise(weight: Array) -> tuple[NDArray[np.uint8], Array]:
    """Levels and scales of a weight matrix, as MatMulNBits has them.

    Arguments
    ---------
    weight : array
        (outputs, inputs), float32.

    Returns
    -------
    levels : array
        (outputs, blocks, `BLOCK`), uint8; the last block is filled up with zeros.
    scales : array
        (outputs, blocks), float32. A weight is `scale * (level - 128)`.
    """
    outputs, inputs = weight.shape
    blocks = np.pad(weight, ((0, 0), (0, -inputs % BLOCK))).reshape(outputs, -1, BLOCK)
    scales = np.abs(blocks).max(axis=-1) / _STEPS
    scales[scales == 0] = 1.0  # a block of zeros
    return np.rint(blocks / scales[..., None] + _ZERO).astype(np.uint8), scales


class Int8:
    """All weights in int8, and computed so.

    Arguments
    ---------
    axes : Axes
        Of the graph.
    """

    name = "int8"
    joins_grus = True  # a node takes as long as some twenty thousand weights

    def __init__(self, axes: Axes) -> None:
        self._axes = axes
        self.dense_rank = self.gru_rank = 2 if axes.time is None else 3

    def linear(self, graph: Graph, x: str, weight: Array, bias: Array, name: str) -> str:
        """See `Precision.linear`."""
        outputs, inputs = weight.shape
        levels, scales = quantise(weight)
        weights = [graph.weight(levels, f"{name}.weight"), graph.weight(scales, f"{name}.scale")]
        return graph.add(
            "MatMulNBits",
            [x, *weights, "", "", graph.weight(bias, f"{name}.bias")],
            MICROSOFT,
            K=inputs,
            N=outputs,
            bits=8,
            block_size=BLOCK,
            accuracy_level=_COMPUTE_IN_INT8,
        )

    def gru(
        self, graph: Graph, x: str, layers: Sequence[Recurrent], states: Sequence[str], names: Sequence[str]
    ) -> tuple[str, list[str]]:
        """See `Precision.gru`; the products with the input run for all frames at once, the rest frame by frame."""
        weight = _by_gate([gates(layer, "weight_ih") for layer in layers])
        bias = _by_gate([_input_biases(layer) for layer in layers])
        from_input = self.linear(graph, x, weight, bias, f"{'+'.join(names)}.ih")
        if self._axes.time is None:
            return self._cell(graph, from_input, layers, states, names)
        body = graph.subgraph()
        held, now = [f"{state}.held" for state in states], f"{from_input}.now"
        output, new = self._cell(body, now, layers, held, names)
        if output in new:  # onnxruntime's Scan goes wrong when a value is both
            output = body.add("Identity", [output])
        sizes = [layer.gru.hidden_size for layer in layers]
        before = self._values([*held, now], [*sizes, GATES * sum(sizes)])
        after = self._values([*new, output], [*sizes, sum(sizes)])
        frame = body.build(f"{'+'.join(names)}.frame", before, after)
        *last, outputs = graph.add_many("Scan", [*states, from_input], len(states) + 1, num_scan_inputs=1, body=frame)
        return outputs, last

    def state_shape(self, size: int) -> Shape:
        """(channels, size)."""
        return [self._axes.channels, size]

    def _values(self, names: Sequence[str], sizes: Sequence[int]) -> list[onnx.ValueInfoProto]:
        return [floats(name, [self._axes.channels, size]) for name, size in zip(names, sizes, strict=True)]

    def _cell(
        self, graph: Graph, from_input: str, layers: Sequence[Recurrent], states: Sequence[str], names: Sequence[str]
    ) -> tuple[str, list[str]]:
        """One frame: h' = n + z (h - n), n = tanh(i_n + r h_n), for all layers at once."""
        size = sum(layer.gru.hidden_size for layer in layers)
        from_state = self._products_with_states(graph, layers, states, names)
        state = states[0] if len(layers) == 1 else graph.add("Concat", states, axis=1)
        gates_and_new = graph.integers(2 * size, size)
        input_gates, input_new = graph.add_many("Split", [from_input, gates_and_new], 2, axis=1)
        state_gates, state_new = graph.add_many("Split", [from_state, gates_and_new], 2, axis=1)
        opening = graph.add("Sigmoid", [graph.add("Add", [input_gates, state_gates])])
        reset, update = graph.add_many("Split", [opening, graph.integers(size, size)], 2, axis=1)
        new = graph.add("Tanh", [graph.add("Add", [input_new, graph.add("Mul", [reset, state_new])])])
        kept = graph.add("Mul", [update, graph.add("Sub", [state, new])])
        output = graph.add("Add", [new, kept])
        if len(layers) == 1:
            return output, [output]
        sizes = graph.integers(*(layer.gru.hidden_size for layer in layers))
        return output, graph.add_many("Split", [output, sizes], len(layers), axis=1)

    def _products_with_states(
        self, graph: Graph, layers: Sequence[Recurrent], states: Sequence[str], names: Sequence[str]
    ) -> str:
        """(channels, gates x sizes): reset of all layers, update of all, new of all."""
        products = []
        for layer, state, name in zip(layers, states, names, strict=True):
            *_, new = gates(layer, "bias_hh")  # those of the other gates are in the products with the input
            bias = np.concatenate([np.zeros_like(new), np.zeros_like(new), new])
            weight = np.concatenate(gates(layer, "weight_hh"))
            products.append(self.linear(graph, state, weight, bias, f"{name}.hh"))
        if len(layers) == 1:
            return products[0]
        sizes = [layer.gru.hidden_size for layer in layers]
        apart = [
            graph.add("Reshape", [product, graph.integers(0, GATES, size)])
            for product, size in zip(products, sizes, strict=True)
        ]
        return graph.add("Reshape", [graph.add("Concat", apart, axis=2), graph.integers(0, GATES * sum(sizes))])


def _input_biases(layer: Recurrent) -> list[Array]:
    """Reset and update gate only ever see the sum of their two biases."""
    (*inputs, new), (*states, _) = gates(layer, "bias_ih"), gates(layer, "bias_hh")
    return [*(a + b for a, b in zip(inputs, states, strict=True)), new]


def _by_gate(of_layers: Sequence[Sequence[Array]]) -> Array:
    """Reset of all layers, update of all, new of all."""
    return np.concatenate([layer[gate] for gate in range(GATES) for layer in of_layers])
