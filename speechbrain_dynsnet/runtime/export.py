"""Write a network as ONNX, up to one exit. The one module of this room that reads torch models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from speechbrain_dynsnet import __version__
from speechbrain_dynsnet.model.layers import Layer, Recurrent
from speechbrain_dynsnet.model.network import DynamicNsNet2
from speechbrain_dynsnet.model.stages import ChainStage, SplitStage, Stage
from speechbrain_dynsnet.writing import appearing

_OPSET = 17


def export_onnx(network: DynamicNsNet2, path: str | Path, exit: int | None = None) -> Path:
    """Write the stages 0..exit as one graph: any number of frames a call, states in and out.

    Inputs are `features` (channels, time, bins) and one `state_N` (1, channels, size) a recurrent layer; outputs
    are `mask` and one `new_state_N` each. The architecture and the exit are in the file's metadata.

    Arguments
    ---------
    network : DynamicNsNet2
        Of any family.
    path : str or Path
        The `.onnx` file; it appears whole or not at all.
    exit : int or None
        Where to leave; None is the deepest. What lies beyond is not in the file.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        For an exit that the network lacks, or a file that cannot be written.
    """
    exit = network.exits[-1] if exit is None else network.check_exit(exit)
    path = Path(path)
    model = _Graph(network, exit).model()
    onnx.checker.check_model(model, full_check=True)
    with appearing(path) as unfinished:
        unfinished.write_bytes(model.SerializeToString())
    return path


class _Graph:
    """Collects nodes and weights while walking the stages. Inside, time comes first, as ONNX's GRU has it."""

    def __init__(self, network: DynamicNsNet2, exit: int) -> None:
        self._network = network
        self._exit = exit
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._states: list[int] = []  # sizes

    def model(self) -> onnx.ModelProto:
        """The whole graph."""
        bins = self._network.architecture.bins
        x = self._add("Transpose", ["features"], perm=[1, 0, 2])
        for index, stage in enumerate(self._network.typed_stages()[: self._exit + 1]):
            raw, x = self._stage(stage, x, onward=index < self._exit)
        if isinstance(_mask_layer(stage), Recurrent):
            one, half = self._constant(1.0), self._constant(0.5)
            mask = self._add("Mul", [self._add("Add", [raw, one]), half])
        else:
            mask = self._add("Sigmoid", [raw])
        self._add("Transpose", [mask], output="mask", perm=[1, 0, 2])
        frames: list[str | int | None] = ["channels", "time", bins]
        states: list[list[str | int | None]] = [[1, "channels", size] for size in self._states]
        inputs = [("features", frames), *((f"state_{n}", shape) for n, shape in enumerate(states))]
        outputs = [("mask", frames), *((f"new_state_{n}", shape) for n, shape in enumerate(states))]
        graph = helper.make_graph(
            self._nodes,
            "dynamic_nsnet2",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs],
            self._weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
        model.producer_name, model.producer_version = "speechbrain_dynsnet", __version__
        architecture = json.dumps(self._network.architecture.to_dict())
        helper.set_model_props(model, {"architecture": architecture, "exit": str(self._exit)})
        return model

    def _stage(self, stage: Stage, x: str, onward: bool) -> tuple[str, str]:
        raw = self._layer(_mask_layer(stage), x)
        if isinstance(stage, ChainStage):
            return self._slice(raw, 0, stage.bins), self._activated(stage.layer, raw) if onward else ""
        if not onward:
            return raw, ""
        assert stage.feature_layer is not None
        feature_input = self._slice(x, stage.skip, None) if stage.skip else x
        feature_raw = self._layer(stage.feature_layer, feature_input)
        parts = [self._activated(stage.mask_layer, raw), self._activated(stage.feature_layer, feature_raw)]
        return raw, self._add("Concat", parts, axis=2)

    def _layer(self, layer: Layer, x: str) -> str:
        if not isinstance(layer, Recurrent):
            weight, bias = layer.linear.weight, layer.linear.bias
            product = self._add("MatMul", [x, self._weight(weight.detach().numpy().T)])
            return self._add("Add", [product, self._weight(bias.detach().numpy())])
        gru = layer.gru
        number = len(self._states)
        self._states.append(gru.hidden_size)
        weights = [_onnx_gates(getattr(gru, name).detach().numpy()) for name in ("weight_ih_l0", "weight_hh_l0")]
        biases = [_onnx_gates(getattr(gru, name).detach().numpy()) for name in ("bias_ih_l0", "bias_hh_l0")]
        inputs = [x, *(self._weight(weight[None]) for weight in weights), self._weight(np.concatenate(biases)[None])]
        output = f"gru_{number}"
        self._nodes.append(
            helper.make_node(
                "GRU",
                [*inputs, "", f"state_{number}"],
                [output, f"new_state_{number}"],
                hidden_size=gru.hidden_size,
                linear_before_reset=1,  # torch applies the reset gate after the recurrent product
            )
        )
        return self._add("Squeeze", [output, self._weight(np.array([1], np.int64))])

    def _activated(self, layer: Layer, raw: str) -> str:
        return raw if isinstance(layer, Recurrent) or not layer.activation else self._add("Relu", [raw])

    def _slice(self, x: str, start: int, end: int | None) -> str:
        bounds = [[start], [np.iinfo(np.int64).max if end is None else end], [2]]
        return self._add("Slice", [x, *(self._weight(np.array(bound, np.int64)) for bound in bounds)])

    def _add(self, operator: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        output = output or f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def _constant(self, value: float) -> str:
        return self._weight(np.array(value, np.float32))

    def _weight(self, array: NDArray[np.generic]) -> str:
        name = f"weight_{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name


def _mask_layer(stage: Stage) -> Layer:
    return stage.mask_layer if isinstance(stage, SplitStage) else stage.layer


def _onnx_gates(stacked: NDArray[np.float32]) -> NDArray[np.float32]:
    """torch stacks the gates r, z, n; ONNX z, r, h."""
    reset, update, new = np.split(stacked, 3)
    return np.concatenate([update, reset, new])
