"""What a frame takes at every exit: MACs, bytes of weights, and the memory that a small device must set aside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime import InferenceSession, SessionOptions

from speechbrain_dynsnet.model.network import DynamicNsNet2
from speechbrain_dynsnet.runtime.export import build_model
from speechbrain_dynsnet.runtime.export.running import first_inputs


@dataclass(frozen=True)
class FrameCost:
    """Of leaving at one exit.

    Arguments
    ---------
    exit : int
        The stage.
    macs : int
        Multiply-accumulates of the weights; those of the transforms are not in it.
    weight_bytes : int
        Read in a frame: weights, scales, biases, and the transforms' matrices where they are in the file.
    state_bytes : int
        Carried from frame to frame.
    activation_bytes : int
        The most that is alive at once between the layers, inputs and outputs of the running one included and no
        buffer reused within it; states and weights are not in it.
    """

    exit: int
    macs: int
    weight_bytes: int
    state_bytes: int
    activation_bytes: int


def frame_costs(network: DynamicNsNet2, exits: tuple[int, ...], precision: str, signal: str) -> list[FrameCost]:
    """The costs of each of some exits, counted on a graph that holds that exit alone.

    Arguments
    ---------
    network : DynamicNsNet2
        Of any family.
    exits : tuple of int
        Some of its exits.
    precision, signal : str
        As of `export_onnx`.

    Returns
    -------
    list of FrameCost
        In the order of `exits`.
    """
    return [
        _cost(build_model(network, exit, precision=precision, signal=signal), exit, network.macs_per_frame(exit))
        for exit in exits
    ]


def _cost(model: onnx.ModelProto, exit: int, macs: int) -> FrameCost:
    values = _run_and_keep(model)
    states = [info.name for info in model.graph.output if info.name.startswith("new_")]
    weights = {tensor.name for tensor in model.graph.initializer}
    # In an exported file the last nodes only give values the names of the interface.
    nodes = [node for node in model.graph.node if node.op_type != "Identity"]
    carried = {info.name for info in model.graph.input} - {"features", "samples"}
    last_use = {name: place for place, node in enumerate(nodes) for name in node.input}
    alive: dict[str, int] = {}
    peak = 0
    for place, node in enumerate(nodes):
        for name in [*node.input, *node.output]:
            if name and name not in weights | carried:
                alive[name] = values[name].nbytes
        peak = max(peak, sum(alive.values()))
        alive = {name: size for name, size in alive.items() if last_use.get(name, place) > place}
    return FrameCost(
        exit,
        macs,
        sum(onnx.numpy_helper.to_array(tensor).nbytes for tensor in model.graph.initializer if tensor.dims),
        sum(values[name].nbytes for name in states),
        peak,
    )


def _run_and_keep(model: onnx.ModelProto) -> dict[str, NDArray[np.generic]]:
    """Every value of a frame of zeros, by name: shape inference does not know onnxruntime's own operators."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    known = {info.name for info in model.graph.output}
    inner = [name for node in model.graph.node for name in node.output if name and name not in known]
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
    options = SessionOptions()
    options.log_severity_level = 4
    session = InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    inputs = first_inputs(session)
    outputs = [info.name for info in session.get_outputs()]
    return inputs | dict(zip(outputs, session.run(outputs, inputs), strict=True))
