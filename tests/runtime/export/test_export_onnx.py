"""An exported file gives what the network gives, at every exit, and runs no more than that exit needs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model.enhance import enhance
from speechbrain_dynsnet.model.network import DynamicNsNet2, make_network
from speechbrain_dynsnet.runtime.export import build_model, export_onnx, weights_sha256
from speechbrain_dynsnet.runtime.export.running import first_inputs, run_frames
from speechbrain_dynsnet.runtime.export.weights import graphs, layer_weights
from speechbrain_dynsnet.runtime.model import RuntimeModel

FAMILIES = {
    "baseline": (5,),
    "pretrain": (0, 1, 2, 3, 4, 5),
    "split": (0, 1, 2, 3, 4, 5),
    "concat": (0, 1, 3, 5),
}
SPARSE = [("split", (0, 3, 5)), ("concat", (0, 5)), ("concat", (2,)), ("pretrain", (1, 4))]
ALL = [*FAMILIES.items(), *SPARSE]
FRAMES = 6
FP32_BOUND = 2e-6


def network_of(family: str, exits: tuple[int, ...]) -> DynamicNsNet2:
    torch.manual_seed(0)
    return make_network(family, exits).eval()


def features(channels: int = 1) -> np.ndarray:
    """(time, channels, bins)"""
    return np.random.default_rng(0).normal(-6, 3, (FRAMES, channels, 257)).astype(np.float32)


@torch.no_grad()
def masks(network: DynamicNsNet2, x: np.ndarray, exit: int) -> np.ndarray:
    mask, _ = network(torch.from_numpy(x.transpose(1, 0, 2).copy()), exit=exit)
    return mask.numpy().transpose(1, 0, 2)


def session_of(network: DynamicNsNet2, **choices: Any) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(
        build_model(network, **choices).SerializeToString(), providers=["CPUExecutionProvider"]
    )


@pytest.mark.parametrize(("family", "exits"), ALL)
@pytest.mark.parametrize("frames", [1, 4, "any"])
def test_float32_equals_torch_at_every_exit(family: str, exits: tuple[int, ...], frames: int | str) -> None:
    network, x = network_of(family, exits), features()
    session = session_of(network, frames=frames)
    for exit in exits:
        given, _ = run_frames(session, x[:, 0], exit)
        np.testing.assert_allclose(given, masks(network, x, exit)[:, 0], atol=FP32_BOUND)


@pytest.mark.parametrize(("family", "exits"), ALL)
def test_a_file_of_one_exit_equals_the_file_of_all(family: str, exits: tuple[int, ...]) -> None:
    network, x = network_of(family, exits), features()
    session = session_of(network)
    for exit in exits:
        alone, _ = run_frames(session_of(network, exits=exit), x[:, 0], exit)
        np.testing.assert_allclose(alone, run_frames(session, x[:, 0], exit)[0], atol=FP32_BOUND)


@pytest.mark.parametrize(("family", "exits"), ALL)
def test_int8_is_near_and_the_same_to_the_bit_for_any_frames_and_channels(family: str, exits: tuple[int, ...]) -> None:
    network, x = network_of(family, exits), features(channels=2)
    one, four, any_number = (session_of(network, precision="int8", frames=frames) for frames in (1, 4, "any"))
    for exit in exits:
        by_frame, _ = run_frames(one, x[:, 1], exit)
        np.testing.assert_allclose(by_frame, masks(network, x, exit)[:, 1], atol=0.05)
        np.testing.assert_array_equal(run_frames(four, x[:, 1], exit)[0], by_frame)
        inputs = first_inputs(any_number, exit)
        inputs |= {name: np.repeat(value, 2, axis=0) for name, value in inputs.items() if name.startswith("state")}
        (both,) = any_number.run(["mask"], inputs | {"features": x})
        np.testing.assert_array_equal(both[:, 1], by_frame)


def test_several_channels_in_float32_equal_each_alone() -> None:
    network, x = network_of("concat", (0, 1, 3, 5)), features(channels=3)
    session = session_of(network, frames="any")
    inputs = first_inputs(session, 3)
    inputs |= {name: np.repeat(value, 3, axis=1) for name, value in inputs.items() if name.startswith("state")}
    (given,) = session.run(["mask"], inputs | {"features": x})
    np.testing.assert_allclose(given, masks(network, x, 3), atol=FP32_BOUND)


def test_the_activation_after_the_first_layer_is_exported() -> None:
    torch.manual_seed(0)
    network, x = make_network("baseline", (5,), fc1_activation="none").eval(), features()
    given, _ = run_frames(session_of(network), x[:, 0], 5)
    np.testing.assert_allclose(given, masks(network, x, 5)[:, 0], atol=FP32_BOUND)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("family", ["split", "concat", "pretrain"])
def test_states_of_what_does_not_run_come_out_as_they_went_in(family: str, precision: str) -> None:
    exits = FAMILIES[family]
    session = session_of(network_of(family, exits), precision=precision)
    rng = np.random.default_rng(0)
    inputs = first_inputs(session)
    inputs |= {
        name: rng.uniform(-1, 1, value.shape).astype(np.float32) for name, value in inputs.items() if name != "exit"
    }
    names = [info.name for info in session.get_outputs()]
    per_stage = 1 if family == "pretrain" else 2
    for exit in exits:
        results = dict(zip(names, session.run(names, inputs | {"exit": np.array(exit)}), strict=True))
        changed = {
            int(name.removeprefix("state_"))
            for name, value in inputs.items()
            if name.startswith("state") and not np.array_equal(results[f"new_{name}"], value)
        }
        # Stages 1 and 2 are recurrent; at its own exit a stage's mask layer runs and its feature layer does not.
        expected = {0: 0, 1: 1, 2: per_stage + 1}.get(exit, 2 * per_stage)
        assert changed == set(range(expected))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_only_layers_up_to_the_exit_run(precision: str, tmp_path: Path) -> None:
    network = network_of("concat", (0, 1, 3, 5))
    model = build_model(network, precision=precision)
    stage_of = {}
    for graph in graphs(model.graph):
        for node in graph.node:
            found = re.findall(r"stage_(\d)", " ".join(node.input))
            if found:
                node.name = f"layer{len(stage_of)}"
                stage_of[node.name] = int(found[0])
    for exit in network.exits:
        options = onnxruntime.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(tmp_path / "profile")
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        session.run(None, first_inputs(session, exit))
        ran = {
            stage_of[name]
            for event in json.loads(Path(session.end_profiling()).read_text())
            if (name := event["name"].removeprefix("fused ").partition("_")[0]) in stage_of
        }
        assert ran == set(range(exit + 1))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_weights_are_in_the_file_once(precision: str, tmp_path: Path) -> None:
    network = network_of("concat", (0, 1, 3, 5))
    dynamic, deepest = (export_onnx(network, tmp_path / f"{e}.onnx", e, precision=precision) for e in (None, 5))
    assert dynamic.stat().st_size < deepest.stat().st_size + 30_000
    rows = layer_weights(onnx.load(dynamic))
    names = [name for row in rows for name in row.name.split("+")]
    assert len(set(names)) == len(names)
    if precision == "fp32":
        # a GRU has two biases in torch and in ONNX: all parameters are there
        assert sum(row.bytes for row in rows) == 4 * sum(p.numel() for p in network.parameters())


def test_a_file_of_an_early_exit_holds_no_later_stage(tmp_path: Path) -> None:
    network = network_of("concat", (0, 1, 3, 5))
    for exit in network.exits:
        size = export_onnx(network, tmp_path / f"{exit}.onnx", exit).stat().st_size
        weights = 4 * network.macs_per_frame(exit)
        assert weights < size < weights + 60_000  # biases, names


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_with_the_transform_inside_samples_equal_the_whole_file(precision: str) -> None:
    network = network_of("concat", (0, 1, 3, 5))
    hops = np.random.default_rng(0).normal(0, 0.1, (20, 256)).astype(np.float32)
    session = session_of(network, signal="waveform", precision=precision)
    for exit in network.exits:
        with torch.no_grad():
            (whole,) = enhance(network, torch.from_numpy(hops.reshape(1, -1)), (exit,))
        given, _ = run_frames(session, hops, exit)
        # The first hop out is of what was before the signal.
        expected = whole.numpy().reshape(-1, 256)[:-1]
        np.testing.assert_allclose(given[1:], expected, atol=1e-5 if precision == "fp32" else 1e-2)


def test_the_metadata_say_what_the_file_is(tmp_path: Path) -> None:
    network = network_of("concat", (0, 1, 3, 5))
    path = export_onnx(network, tmp_path / "model.onnx", (3, 1), precision="int8")
    metadata = RuntimeModel(path).session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["exits"]) == [1, 3]
    assert json.loads(metadata["macs_per_frame"]) == [network.macs_per_frame(1), network.macs_per_frame(3)]
    assert json.loads(metadata["architecture"]) == network.architecture.to_dict()
    assert (metadata["precision"], metadata["frames"], metadata["signal"]) == ("int8", "1", "features")
    assert metadata["weights_sha256"] == weights_sha256(network)


def test_a_fingerprint_is_of_the_weights() -> None:
    network = network_of("concat", (0, 1))
    before = weights_sha256(network)
    assert weights_sha256(network_of("concat", (0, 1))) == before
    with torch.no_grad():
        next(network.parameters())[0, 0] += 1e-6
    assert weights_sha256(network) != before


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"exits": 2}, "no exit 2"),
        ({"exits": ()}, "no exit to export"),
        ({"precision": "int4"}, "no precision 'int4'"),
        ({"frames": 0}, "frames is 0"),
        ({"frames": 10**20}, "whole number from 1 to 10000"),
        ({"frames": "many"}, "frames is 'many'"),
        ({"signal": "sound"}, "signal is 'sound'"),
        ({"signal": "waveform", "frames": 8}, "one frame a call"),
    ],
)
def test_what_cannot_be_exported_is_named(choices: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        export_onnx(network_of("concat", (0, 1)), tmp_path / "model.onnx", **choices)
    assert not list(tmp_path.iterdir())
