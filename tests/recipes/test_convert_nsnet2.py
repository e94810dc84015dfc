"""Public nsNet2 weights in ONNX's layout become an `.npz` that computes what ONNX's operators compute."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from recipes.DNS2020.convert_nsnet2 import main
from speechbrain_dynsnet.model.importing import import_nsnet2

SHAPES = {
    **{"onnx__MatMul_166": (257, 400), "onnx__MatMul_207": (400, 600)},
    **{"onnx__MatMul_208": (600, 600), "onnx__MatMul_209": (600, 257)},
    **{f"fc{number}_bias": (width,) for number, width in ((1, 400), (2, 600), (3, 600), (4, 257))},
    **{f"onnx__GRU_{number}": (1, 1200, 400) for number in (184, 185, 204, 205)},
    **{f"onnx__GRU_{number}": (1, 2400) for number in (186, 206)},
}
Arrays = dict[str, NDArray[np.float32]]


@pytest.fixture
def arrays() -> Arrays:
    rng = np.random.default_rng(0)
    return {name: rng.normal(0, 0.06, shape).astype(np.float32) for name, shape in SHAPES.items()}


def convert(arrays: Arrays, folder: Path, output: str = "nsnet2.npz") -> Result:
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return CliRunner().invoke(main, [str(folder), str(folder / output)])


def in_onnx(arrays: Arrays, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """nsNet2's graph with ONNX's own operators; features (time, 257)."""

    def dense(number: int, matrix: str, x: str, y: str) -> list[object]:
        inner = f"{y}_before_bias"
        return [
            helper.make_node("MatMul", [x, matrix], [inner]),
            helper.make_node("Add", [inner, f"fc{number}_bias"], [y]),
        ]

    def gru(first: int, x: str, y: str) -> list[object]:
        names = [f"onnx__GRU_{first + offset}" for offset in range(3)]
        return [
            helper.make_node("GRU", [x, *names], [f"{y}_4d"], hidden_size=400, linear_before_reset=1),
            helper.make_node("Squeeze", [f"{y}_4d", "one"], [y]),
        ]

    nodes = [
        *dense(1, "onnx__MatMul_166", "x", "fc1"),
        *gru(184, "fc1", "gru1"),
        *gru(204, "gru1", "gru2"),
        *dense(2, "onnx__MatMul_207", "gru2", "fc2"),
        helper.make_node("Relu", ["fc2"], ["relu2"]),
        *dense(3, "onnx__MatMul_208", "relu2", "fc3"),
        helper.make_node("Relu", ["fc3"], ["relu3"]),
        *dense(4, "onnx__MatMul_209", "relu3", "fc4"),
        helper.make_node("Sigmoid", ["fc4"], ["mask"]),
    ]
    frames = len(features)
    graph = helper.make_graph(
        nodes,
        "nsnet2",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (frames, 1, 257))],
        [helper.make_tensor_value_info("mask", TensorProto.FLOAT, (frames, 1, 257))],
        [numpy_helper.from_array(array, name) for name, array in (arrays | {"one": np.array([1])}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (mask,) = session.run(None, {"x": features[:, None]})
    return np.asarray(mask[:, 0])


@torch.no_grad()
def test_it_computes_what_onnx_computes(arrays: Arrays, tmp_path: Path) -> None:
    result = convert(arrays, tmp_path)
    assert (result.exit_code, result.output) == (0, f"{tmp_path / 'nsnet2.npz'}: 2,783,657 weights\n")
    features = np.random.default_rng(1).normal(-3, 2, (7, 257)).astype(np.float32)
    mask, _ = import_nsnet2(tmp_path / "nsnet2.npz")(torch.from_numpy(features)[None])
    np.testing.assert_allclose(mask[0].numpy(), in_onnx(arrays, features), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda arrays: arrays.pop("onnx__GRU_185"), "onnx__GRU_185.npy: not an array of numpy's"),
        (lambda arrays: arrays.update(fc2_bias=np.array([None])), "fc2_bias.npy: not an array of numpy's"),
        (
            lambda arrays: arrays.update(fc2_bias=np.zeros(161)),
            r"fc2_bias.npy: is not nsNet2's, which has shape \(600,\)",
        ),
        (lambda arrays: arrays.update(fc1_bias=np.full(400, np.nan)), "fc1_bias.npy: is not nsNet2's"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_written(
    arrays: Arrays, tmp_path: Path, edit: Callable[[Arrays], object], message: str
) -> None:
    edit(arrays)
    result = convert(arrays, tmp_path)
    assert result.exit_code == 2 and result.output.count("\n") == 1
    assert re.search(message, result.output)
    assert not list(tmp_path.glob("*.npz"))


def test_the_output_is_an_npz(arrays: Arrays, tmp_path: Path) -> None:
    result = convert(arrays, tmp_path, "nsnet2.onnx")
    assert result.exit_code == 2 and "give a name that ends in .npz" in result.output
