"""Families that are added to those of the package: known by name, saved, loaded and exported like them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model import architecture
from speechbrain_dynsnet.model.architecture import Architecture, register_family
from speechbrain_dynsnet.model.bundle import load_bundle, save_bundle
from speechbrain_dynsnet.model.layers import make_layer
from speechbrain_dynsnet.model.network import make_network
from speechbrain_dynsnet.model.stages import SplitStage
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
