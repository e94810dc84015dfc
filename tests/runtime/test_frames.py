"""A frame at a time is the network's own forward, whatever exits are run in between."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from speechbrain_dynsnet.audio.constants import BINS
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model.network import DynamicNsNet2, make_network
from speechbrain_dynsnet.runtime.export import export_onnx
from speechbrain_dynsnet.runtime.frames import FrameRunner
from speechbrain_dynsnet.runtime.model import RuntimeModel

FRAMES = 40


@pytest.fixture
def features() -> np.ndarray:
    return np.random.default_rng(0).normal(-6, 3, (FRAMES, BINS)).astype(np.float32)


@torch.no_grad()
def torch_masks(network: DynamicNsNet2, features: np.ndarray, exits: np.ndarray) -> np.ndarray:
    state, masks = None, []
    for frame, exit in zip(features, exits, strict=True):
        mask, state = network(torch.from_numpy(frame)[None, None], state, int(exit))
        masks.append(np.asarray(mask[0, 0]))
    return np.stack(masks)


@pytest.mark.parametrize("family", ["pretrain", "split", "concat"])
def test_any_order_of_exits_equals_torch(family: str, features: np.ndarray, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = make_network(family, (0, 1, 2, 3, 4, 5))
    exits = np.random.default_rng(1).integers(0, 6, FRAMES)
    runner = FrameRunner(RuntimeModel(export_onnx(network, tmp_path / "model.onnx")))
    masks = [runner.run(frame, exit).copy() for frame, exit in zip(features, exits, strict=True)]
    np.testing.assert_allclose(masks, torch_masks(network, features, exits), atol=1e-5)


def test_one_exit_alone_needs_no_choice(network: DynamicNsNet2, features: np.ndarray, tmp_path: Path) -> None:
    model = RuntimeModel(export_onnx(network, tmp_path / "model.onnx", 3))
    runner = FrameRunner(model)
    masks = [runner.run(frame, 3).copy() for frame in features]
    assert not model.has_choice
    np.testing.assert_allclose(masks, torch_masks(network, features, np.full(FRAMES, 3)), atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_states_move_to_another_runner(models: dict[str, RuntimeModel], precision: str, features: np.ndarray) -> None:
    first, second = FrameRunner(models[precision]), FrameRunner(models[precision])
    for frame in features[:7]:  # an odd number: the buffers have changed places
        first.run(frame, 5)
    second.set_states(first.states())
    for frame in features[7:]:
        np.testing.assert_array_equal(first.run(frame, 5), second.run(frame, 5))


def test_states_given_out_are_copies(model: RuntimeModel, features: np.ndarray) -> None:
    runner = FrameRunner(model)
    runner.run(features[0], 5)
    states = runner.states()
    before = [state.copy() for state in states]
    for frame in features:
        runner.run(frame, 5)
    assert any(state.any() for state in before)
    for state, was in zip(states, before, strict=True):
        np.testing.assert_array_equal(state, was)


def test_a_reset_begins_as_a_new_runner_does(model: RuntimeModel, features: np.ndarray) -> None:
    runner = FrameRunner(model)
    first = runner.run(features[0], 5).copy()
    for frame in features:
        runner.run(frame, 5)
    runner.reset()
    np.testing.assert_array_equal(runner.run(features[0], 5), first)


def test_the_mask_may_be_changed_in_place(model: RuntimeModel, features: np.ndarray) -> None:
    plain, changed = FrameRunner(model), FrameRunner(model)
    for frame in features:
        np.testing.assert_array_equal(plain.run(frame, 5), changed.run(frame, 5))
        changed.mask[:] = 7


def test_files_for_other_uses_are_refused(network: DynamicNsNet2, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with pytest.raises(InputError, match="STFT inside"):
        FrameRunner(RuntimeModel(export_onnx(network, path, signal="waveform")))
    with pytest.raises(InputError, match="takes any frames a call"):
        FrameRunner(RuntimeModel(export_onnx(network, path, frames="any")))


def test_what_cannot_be_bound_is_one_line(streaming_files: dict[str, Path]) -> None:
    model = RuntimeModel(streaming_files["int8"])
    model.new_state_names = [f"other_{name}" for name in model.new_state_names]
    with pytest.raises(InputError, match="not a model that `dynsnet export` wrote") as error:
        FrameRunner(model)
    assert "\n" not in str(error.value)
