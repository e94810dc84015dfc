"""Write a network as ONNX: one exit or all, in float32 or int8. The one place of this room that reads torch models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from speechbrain_dynsnet import __version__
from speechbrain_dynsnet.audio.constants import HOP
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model.network import DynamicNsNet2
from speechbrain_dynsnet.runtime.export.float32 import Float32
from speechbrain_dynsnet.runtime.export.graph import MICROSOFT, Graph, Shape, floats
from speechbrain_dynsnet.runtime.export.int8 import Int8
from speechbrain_dynsnet.runtime.export.layers import Axes
from speechbrain_dynsnet.runtime.export.transform import HISTORY, OVERLAP, SAMPLES, write_analysis, write_synthesis
from speechbrain_dynsnet.runtime.export.walk import EXIT, Walk
from speechbrain_dynsnet.runtime.format import (
    ANY,
    FEATURES,
    FORMAT_VERSION,
    FP32,
    INT8,
    OPEN_SEAL,
    SEAL,
    WAVEFORM,
    seal,
)
from speechbrain_dynsnet.writing import appearing

_OPSET, _IR = 17, 8
_MOST_FRAMES = 10_000  # 160 s a call; for more, leave the number open
_PRECISIONS: dict[str, type[Float32] | type[Int8]] = {FP32: Float32, INT8: Int8}


def export_onnx(
    network: DynamicNsNet2,
    path: str | Path,
    exits: int | Sequence[int] | None = None,
    *,
    precision: str = FP32,
    frames: int | str = 1,
    signal: str = FEATURES,
) -> Path:
    """Write the stages up to the deepest of some exits as one ONNX file.

    One frame a call: input `features` (1, bins), output `mask` (1, bins); one `state_N` and `new_state_N` for each
    recurrent layer; with several exits also the input `exit`, an int64 scalar that must be one of them. States of
    stages that did not run come out as they went in. With a time axis features and mask are (time, channels, bins).
    With `signal="waveform"` the STFT is inside: `samples` (1, 256) to `enhanced` (1, 256), with the states `history`
    and `overlap` besides.

    Arguments
    ---------
    network : DynamicNsNet2
        Of any family.
    path : str or Path
        The `.onnx` file; it appears whole or not at all.
    exits : int, sequence of int, or None
        Where the file can be left; None is all exits. What lies beyond the deepest is not in the file.
    precision : str
        `fp32`, or `int8` for weights and products in int8.
    frames : int or str
        Frames a call; `any` leaves the number of frames and of channels open.
    signal : str
        `features`, or `waveform`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        For an exit that the network lacks, a choice that does not exist, or a file that cannot be written.
    """
    model = build_model(network, exits, precision=precision, frames=frames, signal=signal)
    path = Path(path)
    with appearing(path) as unfinished:
        unfinished.write_bytes(seal(model.SerializeToString()))
    return path


def build_model(
    network: DynamicNsNet2,
    exits: int | Sequence[int] | None = None,
    *,
    precision: str = FP32,
    frames: int | str = 1,
    signal: str = FEATURES,
) -> onnx.ModelProto:
    """What `export_onnx` writes; InputError for what it refuses."""
    wanted = network.exits if exits is None else (exits,) if isinstance(exits, int) else tuple(sorted(set(exits)))
    if not wanted:
        raise InputError(f"no exit to export: choose some of {list(network.exits)}")
    for exit in wanted:
        network.check_exit(exit)
    axes = _axes(frames)
    if precision not in _PRECISIONS:
        raise InputError(f"no precision {precision!r}: choose one of {', '.join(_PRECISIONS)}")
    if signal not in (FEATURES, WAVEFORM):
        raise InputError(f"signal is {signal!r}: choose {FEATURES} or {WAVEFORM}")
    if signal == WAVEFORM and axes.time is not None:
        raise InputError("a graph with the STFT inside takes one frame a call: leave out frames or waveform")
    walk = Walk(network, wanted, _PRECISIONS[precision](axes), axes)
    graph = _waveform_graph(walk) if signal == WAVEFORM else _feature_graph(walk, axes, network.architecture.bins)
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", _OPSET), helper.make_opsetid(MICROSOFT, 1)],
        ir_version=_IR,
        producer_name="speechbrain_dynsnet",
        producer_version=__version__,
    )
    facts = {
        "format_version": FORMAT_VERSION,
        "architecture": network.architecture.to_dict(),
        "exits": list(wanted),
        "precision": precision,
        "frames": frames,
        "signal": signal,
        "macs_per_frame": [network.macs_per_frame(exit) for exit in wanted],
        "weights_sha256": weights_sha256(network),
        SEAL: OPEN_SEAL,
    }
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()}
    helper.set_model_props(model, texts)
    onnx.checker.check_model(model, full_check=True)
    return model


def weights_sha256(network: DynamicNsNet2) -> str:
    """A fingerprint of a network's weights, names and order included."""
    digest = hashlib.sha256()
    for name, parameter in network.state_dict().items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(parameter.numpy()).tobytes())
    return digest.hexdigest()


def _axes(frames: int | str) -> Axes:
    if frames == ANY:
        return Axes("time", "channels")
    if type(frames) is not int or not 1 <= frames <= _MOST_FRAMES:
        raise InputError(f"frames is {frames!r}: give a whole number from 1 to {_MOST_FRAMES}, or {ANY!r}")
    return Axes(None if frames == 1 else frames, 1)


def _feature_graph(walk: Walk, axes: Axes, bins: int) -> onnx.GraphProto:
    graph = Graph()
    mask, states = walk.write(graph, "features")
    frames = {"features": axes.frames(bins)}
    return _finished(graph, walk, frames | walk.state_shapes, {"mask": (mask, axes.frames(bins))}, states)


def _waveform_graph(walk: Walk) -> onnx.GraphProto:
    graph = Graph()
    hop: Shape = [1, HOP]
    spectrum, features = write_analysis(graph)
    mask, states = walk.write(graph, features)
    enhanced, overlap = write_synthesis(graph, spectrum, mask)
    results = {"enhanced": (enhanced, hop), f"new_{HISTORY}": (SAMPLES, hop), f"new_{OVERLAP}": (overlap, hop)}
    return _finished(graph, walk, dict.fromkeys((SAMPLES, HISTORY, OVERLAP), hop) | walk.state_shapes, results, states)


def _finished(
    graph: Graph,
    walk: Walk,
    inputs: dict[str, Shape],
    results: dict[str, tuple[str, Shape]],
    states: Sequence[str],
) -> onnx.GraphProto:
    """With the names of the interface: every input state comes out again as `new_` that."""
    new = {
        f"new_{name}": (value, shape) for (name, shape), value in zip(walk.state_shapes.items(), states, strict=True)
    }
    outputs = results | new
    for name, (value, _) in outputs.items():
        graph.rename(value, name)
    choice = [helper.make_tensor_value_info(EXIT, TensorProto.INT64, [])] if walk.has_choice else []
    return graph.build(
        "dynamic_nsnet2",
        [*(floats(name, shape) for name, shape in inputs.items()), *choice],
        [floats(name, shape) for name, (_, shape) in outputs.items()],
    )
