"""Quantised weights: as near as eight bits allow, and none left out."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from speechbrain_dynsnet.model.network import make_network
from speechbrain_dynsnet.runtime.export import build_model
from speechbrain_dynsnet.runtime.export.int8 import BLOCK, quantise
from speechbrain_dynsnet.runtime.export.weights import graphs, layer_weights


@pytest.mark.parametrize("shape", [(3, 257), (2, 64), (5, 1), (4, 385)])
def test_a_weight_is_off_by_half_a_step_at_most(shape: tuple[int, int]) -> None:
    weight = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
    weight[0] *= 1e-6  # another channel's size does not matter
    levels, scales = quantise(weight)
    restored = ((levels.astype(np.float32) - 128) * scales[..., None]).reshape(shape[0], -1)
    filled = np.pad(weight, ((0, 0), (0, -shape[1] % BLOCK)))
    half = np.repeat(np.abs(filled.reshape(shape[0], -1, BLOCK)).max(-1) / 254, BLOCK, axis=1)
    assert np.all(np.abs(restored - filled) <= half * (1 + 1e-4))


def test_a_block_of_zeros_stays_zero() -> None:
    levels, scales = quantise(np.zeros((2, 70), np.float32))
    assert np.all(levels == 128) and np.all(np.isfinite(scales))


@pytest.mark.parametrize(("family", "exits"), [("baseline", (5,)), ("split", (0, 1, 3, 5)), ("concat", (0, 1, 3, 5))])
@pytest.mark.parametrize("frames", [1, "any"])
def test_no_product_is_left_in_float(family: str, exits: tuple[int, ...], frames: int | str) -> None:
    model = build_model(make_network(family, exits), precision="int8", frames=frames)
    operators = {node.op_type for graph in graphs(model.graph) for node in graph.node}
    assert not operators & {"MatMul", "Gemm", "GRU"}
    arrays = [numpy_helper.to_array(tensor) for graph in graphs(model.graph) for tensor in graph.initializer]
    in_float = sum(array.size for array in arrays if array.dtype == np.float32)
    in_int8 = sum(array.size for array in arrays if array.dtype == np.uint8)
    assert in_float < in_int8 / 25  # scales and biases
    assert sum(row.bytes for row in layer_weights(model)) < sum(row.float32_bytes for row in layer_weights(model)) / 3


def test_a_float_layer_in_an_int8_file_is_found() -> None:
    model = build_model(make_network("concat", (0, 1)))
    for entry in model.metadata_props:
        if entry.key == "precision":
            entry.value = "int8"
    with pytest.raises(RuntimeError, match=r"not in int8: stage_0\.mask"):
        layer_weights(model)


def test_matrices_of_the_transform_may_be_float() -> None:
    model = build_model(make_network("concat", (0, 1)), precision="int8", signal="waveform")
    assert {row.name for row in layer_weights(model) if row.dtype == "float32"} == {"dft.analysis", "dft.synthesis"}


def test_extreme_weights_and_inputs_do_not_overflow() -> None:
    """Products of eight bits summed in sixteen would: all levels at the end of their range."""
    import onnxruntime

    from speechbrain_dynsnet.runtime.export.graph import MICROSOFT, Graph, floats
    from speechbrain_dynsnet.runtime.export.int8 import Int8
    from speechbrain_dynsnet.runtime.export.layers import Axes

    graph = Graph()
    weight = np.full((16, 385), -0.5, np.float32)
    weight[::2] = 0.5
    output = Int8(Axes(None, 1)).linear(graph, "x", weight, np.zeros(16, np.float32), "layer")
    graph.rename(output, "y")
    model = onnx.helper.make_model(
        graph.build("one", [floats("x", [1, 385])], [floats("y", [1, 16])]),
        opset_imports=[onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid(MICROSOFT, 1)],
        ir_version=8,
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for sign in (-1.0, 1.0):
        x = np.full((1, 385), sign, np.float32)
        np.testing.assert_allclose(session.run(None, {"x": x})[0], x @ weight.T, rtol=1e-4)
