"""Families that are added to those of the package: known by name, saved, loaded and exported like them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model import architecture
from speechbrain_dynsnet.model.architecture import Architecture, register_family
from speechbrain_dynsnet.model.bundle import load_bundle, save_bundle
from speechbrain_dynsnet.model.layers import LayerState, make_layer
from speechbrain_dynsnet.model.network import make_network
from speechbrain_dynsnet.model.stages import SplitStage, StageOutput
from speechbrain_dynsnet.model.whitening import Whitening, check_whitening
from speechbrain_dynsnet.runtime.export import export_onnx
from speechbrain_dynsnet.runtime.export.verify import FP32_BOUND, verify
from speechbrain_dynsnet.runtime.model import RuntimeModel

EXITS = (0, 1, 3, 5)
KINDS = ("fc", "fc", "gru", "gru", "fc", "fc")


def late_stage(a: Architecture, index: int) -> SplitStage:
    inputs = a.bins + (a.feature_size if index else 0)
    feature_layer = make_layer(KINDS[index], inputs, a.feature_size) if index < a.deepest else None
    return SplitStage(make_layer(KINDS[index], inputs, a.bins), feature_layer, skip=0)


@pytest.fixture(autouse=True)
def families(monkeypatch: pytest.MonkeyPatch) -> None:
    added: dict[str, object] = {}
    monkeypatch.setattr("speechbrain_dynsnet.model.stages.ADDED_FAMILIES", added)
    monkeypatch.setattr(architecture, "ADDED_FAMILIES", added)


def test_its_stages_are_those_that_it_makes() -> None:
    register_family("late", late_stage)
    network = make_network("late", EXITS)
    assert [len(stage.state_sizes) for stage in network.typed_stages()] == [0, 0, 2, 2, 0, 0]
    mask, _ = network(torch.randn(2, 5, 257), exit=EXITS)
    assert all(one.shape == (2, 5, 257) and 0 <= one.min() and one.max() <= 1 for one in mask)
    # Without a memory a frame's mask is its own.
    features = torch.randn(1, 4, 257)
    assert torch.allclose(network(features, exit=1)[0][:, 3:], network(features[:, 3:], exit=1)[0], atol=1e-6)


def test_a_bundle_of_it_needs_the_family(tmp_path: Path) -> None:
    register_family("late", late_stage)
    network = make_network("late", EXITS).eval()
    folder = save_bundle(network, tmp_path / "bundle")
    features = torch.randn(1, 6, 257)
    assert torch.equal(load_bundle(folder)(features)[0], network(features)[0])
    architecture.ADDED_FAMILIES.clear()
    with pytest.raises(InputError, match="config.json: no family 'late': choose one of baseline"):
        load_bundle(folder)


def test_its_exported_file_gives_what_the_network_gives(tmp_path: Path) -> None:
    register_family("late", late_stage)
    network = make_network("late", EXITS).eval()
    model = RuntimeModel(export_onnx(network, tmp_path / "late.onnx"))
    differences = verify(network, model, np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32))
    assert [one.exit for one in differences] == list(EXITS)
    assert max(one.largest for one in differences) <= FP32_BOUND


@pytest.mark.parametrize("name", ["concat", "Late", "late-one", ""])
def test_a_name_that_does_not_serve_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="name"):
        register_family(name, late_stage)
    assert not architecture.ADDED_FAMILIES


class Residual(SplitStage):
    """Computes something else than its class."""

    def forward(self, x: Tensor, state: LayerState, onward: bool) -> StageOutput:
        raw, features, state = super().forward(x, state, onward)
        return raw + x[..., : raw.shape[-1]], features, state


def residual_at(stage: int) -> Callable[[Architecture, int], SplitStage]:
    def make(a: Architecture, index: int) -> SplitStage:
        made = late_stage(a, index)
        return Residual(made.mask_layer, made.feature_layer, 0) if index == stage else made

    return make


def gru_first(a: Architecture, index: int) -> SplitStage:
    feature_layer = make_layer("gru", a.bins, a.feature_size)
    return late_stage(a, index) if index else SplitStage(make_layer("gru", a.bins, a.bins), feature_layer, skip=0)


@pytest.mark.parametrize("make", [residual_at(0), gru_first])
def test_a_first_stage_that_cannot_take_the_whitening_is_refused(
    make: Callable[[Architecture, int], SplitStage],
) -> None:
    register_family("late", make)
    network = make_network("late", EXITS)
    whitening = Whitening(torch.zeros(257), torch.eye(257))
    for refuse in (check_whitening, whitening.fold, whitening.unfold):
        with pytest.raises(InputError, match="stage 0 of the family late cannot take .* --whitening null"):
            refuse(network)


def test_an_export_of_another_class_is_refused(tmp_path: Path) -> None:
    register_family("late", residual_at(1))
    with pytest.raises(InputError, match="stage 1 is a Residual: the export writes"):
        export_onnx(make_network("late", EXITS), tmp_path / "late.onnx")
    assert not list(tmp_path.iterdir())


def test_layers_of_a_stage_that_do_not_go_together_are_refused() -> None:
    fc, gru, bare = make_layer("fc", 8, 4), make_layer("gru", 8, 4), make_layer("fc", 8, 4, False)
    for one, other in ((fc, gru), (gru, fc), (fc, bare)):
        with pytest.raises(InputError, match="make both alike"):
            SplitStage(one, other, skip=0)
