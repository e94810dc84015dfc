"""A bundle comes back as it was, or says what keeps it from coming back; it is never half-written."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from safetensors.torch import load_file, save_file

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model import bundle as module
from speechbrain_dynsnet.model.bundle import check_bundle, load_bundle, save_bundle
from speechbrain_dynsnet.model.network import DynamicNsNet2, make_network

FILES = {"config.json", "hyperparams.yaml", "model.safetensors", "README.md"}


def small(family: str = "concat", exits: tuple[int, ...] = (0, 1, 3), seed: int = 0, **sizes: Any) -> DynamicNsNet2:
    torch.manual_seed(seed)
    defaults = {"hidden_size": 260, "dense_size": 258, "feature_size": 4}
    return make_network(family, exits, **(defaults | sizes))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_bundle(small(), tmp_path / "model", training={"epochs": 3}, card="# A card\n")


@pytest.mark.parametrize(
    ("family", "exits", "sizes"),
    [
        ("baseline", (5,), {"fc1_activation": "none"}),
        ("pretrain", (0, 1), {}),
        ("split", (2,), {}),
        ("concat", (0, 1, 2, 3, 4, 5), {"feature_size": 7}),
    ],
)
def test_a_network_comes_back_bit_for_bit(
    tmp_path: Path, family: str, exits: tuple[int, ...], sizes: dict[str, Any]
) -> None:
    network = small(family, exits, **sizes)
    back = load_bundle(save_bundle(network, tmp_path / "a" / "model"))
    assert back.architecture == network.architecture
    assert not back.training
    weights = network.state_dict()
    assert weights.keys() == back.state_dict().keys()
    assert all(torch.equal(value, weights[name]) for name, value in back.state_dict().items())
    assert {path.name for path in (tmp_path / "a" / "model").iterdir()} == FILES
    assert os.listdir(tmp_path / "a") == ["model"]


def test_the_training_facts_and_the_card_are_kept(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    assert config["training"] == {"epochs": 3}
    assert config["format_version"] == 1
    assert (folder / "README.md").read_text() == "# A card\n"


def test_the_yaml_makes_the_same_architecture_as_the_json(folder: Path) -> None:
    with (folder / "hyperparams.yaml").open() as file:
        network = load_hyperpyyaml(file)["model"]
    assert network.architecture == check_bundle(folder)


def test_every_one_may_read_a_bundle(folder: Path) -> None:
    assert folder.stat().st_mode & 0o777 == 0o755


def edit_config(**changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        config["architecture"] |= changes.pop("architecture", {})
        (folder / "config.json").write_text(json.dumps(config | changes))

    return edit


def edit_weights(edit: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        edit(weights)
        save_file(weights, folder / "model.safetensors")

    return apply


def change_type(dtype: torch.dtype) -> Callable[[dict[str, torch.Tensor]], None]:
    def edit(weights: dict[str, torch.Tensor]) -> None:
        weights[BIAS] = weights[BIAS].to(dtype)

    return edit


def note_architecture(**changes: Any) -> Callable[[Path], None]:
    """Another architecture in the weights' own file."""

    def apply(folder: Path) -> None:
        path = folder / "model.safetensors"
        architecture = json.loads((folder / "config.json").read_text())["architecture"] | changes
        save_file(load_file(path), path, metadata={"architecture": json.dumps(architecture)})

    return apply


def cut(name: str, share: float) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        os.truncate(folder / name, int(share * (folder / name).stat().st_size))

    return apply


def weights_of(network: Callable[[], DynamicNsNet2]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        other = save_bundle(network(), folder.parent / "other")
        shutil.copy(other / "model.safetensors", folder / "model.safetensors")

    return apply


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def architecture_entry_missing(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["architecture"]["hop"]
    (folder / "config.json").write_text(json.dumps(config))


BIAS = "stages.0.mask_layer.linear.bias"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "no such folder"),
        (lambda folder: (shutil.rmtree(folder), folder.touch()), "is a file, not a folder"),
        (without("config.json"), "not a model folder, config.json missing"),
        (without("model.safetensors"), "not a model folder, model.safetensors missing"),
        (without("hyperparams.yaml"), "not a model folder, hyperparams.yaml missing"),
        (cut("config.json", 0.5), "config.json: not a model description"),
        (lambda folder: (folder / "config.json").write_text("[]"), "config.json: not a model description"),
        (lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe"), "config.json: not a model description"),
        (lambda folder: shutil.copy(folder / "model.safetensors", folder / "config.json"), "description .* fetch all"),
        (lambda folder: (folder / "config.json").write_text('{"format_version": 1}'), "it lacks 'architecture'"),
        (edit_config(format_version=2), "format version 2, this package reads 1: update"),
        (edit_config(format_version=0), "format version 0, this package reads 1: fetch"),
        (edit_config(architecture={"gate": 1}), r"config.json: .*unknown entries \['gate'\].* newer version, update"),
        (architecture_entry_missing, r"config.json: .*lacks \['hop'\]"),
        (lambda folder: (folder / "config.json").write_text('{"format_version": 1, "architecture": null}'), "is None"),
        (edit_config(architecture={"family": "other"}), "config.json: no family 'other'"),
        (edit_config(architecture={"feature_size": "4"}), "config.json: feature_size is '4'"),
        (edit_config(architecture={"hop": 128}), "another signal path .*: hop is 128, not 256"),
        (edit_config(architecture={"power_floor": 1e-6}), "another signal path .*: power_floor is 1e-06, not 1e-08"),
        (note_architecture(gate=1), r"model.safetensors: .*unknown entries \['gate'\].* newer version, update"),
        (weights_of(lambda: small(seed=1)), "model.safetensors: not the weights that config.json is of"),
        (cut("model.safetensors", 0.0), "model.safetensors: damaged"),
        (cut("model.safetensors", 0.001), "model.safetensors: damaged"),
        (cut("model.safetensors", 0.99), "model.safetensors: damaged"),
        (edit_weights(lambda weights: weights.pop(BIAS)), f"missing: {BIAS}"),
        (edit_weights(lambda weights: weights.update(more=torch.ones(1))), "unknown: more"),
        (
            edit_weights(lambda weights: weights.update({BIAS: torch.ones(3)})),
            rf"of another shape: {BIAS} is \[3\], not \[257\]",
        ),
        (edit_weights(lambda weights: weights[BIAS].fill_(float("nan"))), f"not finite: {BIAS}"),
        (
            edit_weights(lambda weights: [w.fill_(float("nan")) for w in weights.values()]),
            r"not finite: .* and \d+ more;",
        ),
        (edit_weights(change_type(torch.int32)), f"not of floating-point numbers: {BIAS}"),
        (edit_weights(change_type(torch.complex64)), f"not of floating-point numbers: {BIAS}"),
        (edit_weights(change_type(torch.float8_e4m3fn)), f"not of floating-point numbers: {BIAS}"),
        (edit_weights(lambda weights: weights[BIAS][7:8].fill_(float("inf"))), f"not finite: {BIAS}"),
        (weights_of(lambda: small(exits=(0, 1, 5))), r"exits is \[0, 1, 5\], not \[0, 1, 3\]"),
        (weights_of(lambda: small(family="split")), "family is 'split', not 'concat'"),
        (weights_of(lambda: small(feature_size=5)), "feature_size is 5, not 4"),
        (edit_config(architecture={"family": "split"}), "family is 'concat', not 'split'"),
    ],
)
def test_what_does_not_fit_is_named(folder: Path, damage: Callable[[Path], Any], message: str) -> None:
    damage(folder)
    with pytest.raises(InputError, match=message) as caught:
        load_bundle(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_weights_without_a_note_of_their_network_are_checked_by_shape(folder: Path) -> None:
    edit_weights(lambda weights: None)(folder)  # rewritten without metadata
    config = json.loads((folder / "config.json").read_text())
    del config["weights_sha256"]
    (folder / "config.json").write_text(json.dumps(config))
    load_bundle(folder)


@pytest.mark.parametrize("exists", [False, True])
def test_what_a_kill_left_is_cleared_away_and_the_old_one_put_back(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path / "model"
    old, new = (save_bundle(small(seed=seed), tmp_path / name) for seed, name in ((1, "old"), (2, "new")))
    old.rename(tmp_path / ".model-abc.old")
    new.rename(folder if exists else tmp_path / ".model-abc")
    (tmp_path / ".model_so_far-abc").mkdir()  # another one's
    module.remove_unfinished(folder)
    assert sorted(os.listdir(tmp_path)) == [".model_so_far-abc", "model"]
    assert torch.equal(load_bundle(folder).state_dict()[BIAS], small(seed=2 if exists else 1).state_dict()[BIAS])


def test_a_network_may_have_counters(tmp_path: Path) -> None:
    """A family of one's own may have a stage with batch normalisation."""
    network = small()
    network.register_buffer("batches", torch.tensor(3))
    assert module.describe_difference(network, network.state_dict()) == ""
    assert "batches" in module.describe_difference(network, network.state_dict() | {"batches": torch.tensor(3j)})


def test_a_broken_network_is_not_written(tmp_path: Path) -> None:
    network = small()
    with torch.no_grad():
        network.get_parameter(BIAS)[3] = float("nan")
    with pytest.raises(InputError, match=f"not written, for the network is broken: not finite: {BIAS}"):
        save_bundle(network, tmp_path / "model")
    assert not os.listdir(tmp_path)


def test_a_misfit_changes_no_weight(folder: Path) -> None:
    edit_weights(lambda weights: weights.pop(BIAS))(folder)
    network = small(seed=5)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(InputError):
        module.load_weights(network, folder / "model.safetensors")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("a pickle was run",)


def test_loading_runs_no_pickle(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(InputError, match="damaged"):
        load_bundle(folder)


@pytest.mark.parametrize("failing", ["save_file", "os.replace"])
@pytest.mark.parametrize("exists", [False, True])
def test_a_bundle_appears_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool, failing: str
) -> None:
    folder = tmp_path / "model"
    if exists:
        save_bundle(small(seed=1), folder)
    replace = os.replace

    def fail(source: Any, *_: object, **__: object) -> None:
        if failing == "os.replace" and Path(source) == folder:  # the old one steps aside
            replace(source, *_)
            return
        if failing == "os.replace" and str(source).endswith(".old"):  # and comes back
            replace(source, *_)
            return
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "save_file", fail) if failing == "save_file" else monkeypatch.setattr(
        module.os, "replace", fail
    )
    with pytest.raises(KeyboardInterrupt):
        save_bundle(small(seed=2), folder)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == (["model"] if exists else [])
    if exists:
        assert torch.equal(load_bundle(folder).state_dict()[BIAS], small(seed=1).state_dict()[BIAS])


def test_a_bundle_replaces_a_bundle(folder: Path) -> None:
    save_bundle(small("split"), folder)
    assert load_bundle(folder).architecture.family == "split"
    assert os.listdir(folder.parent) == ["model"]


def test_only_a_bundle_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(InputError, match="exists and is no model folder"):
        save_bundle(small(), tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"
    with pytest.raises(InputError, match="exists and is no model folder"):
        save_bundle(small(), tmp_path / "thesis" / "chapter.txt")
