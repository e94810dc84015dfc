"""The layers of the network as ONNX nodes: what both precisions share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from speechbrain_dynsnet.model.layers import Dense, Recurrent
from speechbrain_dynsnet.runtime.export.graph import Graph, Shape

Array = NDArray[np.float32]
GATES = 3  # torch stacks reset, update, new


@dataclass(frozen=True)
class Axes:
    """What a graph's values look like.

    Arguments
    ---------
    time : int, str or None
        Frames a call, or the name of that axis; None for one frame and no axis.
    channels : int or str
        Signals a call.
    """

    time: int | str | None
    channels: int | str

    def frames(self, size: int) -> Shape:
        """Of features and masks: (time, channels, size), or (channels, size) for one frame."""
        return [self.channels, size] if self.time is None else [self.time, self.channels, size]


class Precision(Protocol):
    """How layers are computed: see `float32` and `int8` beside this module.

    `name` is what the model's file calls it; `dense_rank` and `gru_rank` are the dimensions of what a layer reads and
    gives; `joins_grus` says whether several GRU layers that read the same input can run as one.
    """

    name: str
    dense_rank: int
    gru_rank: int
    joins_grus: bool

    def linear(self, graph: Graph, x: str, weight: Array, bias: Array, name: str) -> str:
        """`x` times the transpose of `weight`, plus `bias`.

        Arguments
        ---------
        graph : Graph
            Where its nodes go.
        x : str
            Name of the input.
        weight : array
            (outputs, inputs).
        bias : array
            (outputs,).
        name : str
            Of the weights in the file.

        Returns
        -------
        str
            Name of the output.
        """

    def gru(
        self, graph: Graph, x: str, layers: Sequence[Recurrent], states: Sequence[str], names: Sequence[str]
    ) -> tuple[str, list[str]]:
        """GRU layers that read the same.

        Arguments
        ---------
        graph : Graph
            Where their nodes go.
        x : str
            Name of the input.
        layers : sequence of Recurrent
            One, unless `joins_grus`.
        states : sequence of str
            Names of their states.
        names : sequence of str
            Of their weights in the file.

        Returns
        -------
        tuple of str and list of str
            Names of the outputs, side by side in one, and of the new states.
        """

    def state_shape(self, size: int) -> Shape:
        """Of a GRU layer's state."""


def joined_linear(layers: Sequence[Dense]) -> tuple[Array, Array]:
    """Weight (outputs, inputs) and bias of layers that read the same input, as of one."""
    weights = [layer.linear.weight.detach().numpy() for layer in layers]
    return np.concatenate(weights), np.concatenate([layer.linear.bias.detach().numpy() for layer in layers])


def gates(layer: Recurrent, kind: str) -> list[Array]:
    """The weights (`weight_ih`, `weight_hh`) or biases of a layer's three gates: reset, update, new."""
    return np.split(getattr(layer.gru, f"{kind}_l0").detach().numpy(), GATES)
