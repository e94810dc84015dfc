"""Every YAML of hparams/ loads, is used to its last key, and does not collide with SpeechBrain's options."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest
import speechbrain as sb
import torch
import yaml
from speechbrain.utils.run_opts import RunOptions

from speechbrain_dynsnet.data.mixing import MixDistribution
from speechbrain_dynsnet.inference import EnhanceDynamic
from speechbrain_dynsnet.model.bundle import SHIPPED_BUNDLE
from speechbrain_dynsnet.training.recipe import load_recipe

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "hparams").glob("*.yaml"))
NAMES = {"baseline"} | {
    f"{family}_{scheme}" for family in ("pretrain", "split", "concat") for scheme in ("joint", "layerwise")
}
CODE = ROOT / "speechbrain_dynsnet"
TRAINING = [path for path in (CODE / "training").glob("*.py") if path.name != "recipe.py"]  # which only checks them


def read_of(name: str, *paths: Path) -> set[str]:
    """The attributes that code reads of a variable."""
    nodes = (node for path in paths for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    return {node.attr for node in nodes if isinstance(node, ast.Attribute) and ast.unparse(node.value) == name}


def keys_of(path: Path) -> list[str]:
    """The top-level keys, as they stand in the file."""
    return re.findall(r"^(\w+):", path.read_text(), re.MULTILINE)


def test_each_family_and_scheme_has_its_file() -> None:
    assert {path.stem for path in RECIPES} == NAMES


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_it_loads_as_what_its_name_says(path: Path) -> None:
    recipe = load_recipe(path)
    family, _, scheme = path.stem.partition("_")
    exits = (5,) if family == "baseline" else (0, 1, 3, 5)
    assert (recipe.family, recipe.scheme) == (family, scheme or "joint")
    assert recipe.network.architecture.family == family
    assert recipe.network.exits == exits
    if recipe.scheme == "joint":
        assert [(phase.exits, phase.max_epochs) for phase in recipe.phases] == [(exits, 400)]
    else:
        caps = [50 if family == "pretrain" else 50 * (exit + 1) for exit in exits]
        assert [(phase.exits, phase.max_epochs) for phase in recipe.phases] == [
            ((exit,), cap) for exit, cap in zip(exits, caps, strict=True)
        ]


@pytest.mark.parametrize("path", [path for path in RECIPES if path.stem != "baseline"], ids=lambda path: path.stem)
@pytest.mark.parametrize("exits", [(0, 1, 2, 3, 4, 5), (0, 3), (2,), (5,)], ids=str)
def test_another_set_of_exits_reaches_network_and_phases(path: Path, exits: tuple[int, ...]) -> None:
    recipe = load_recipe(path, f"exits: {list(exits)}")
    assert recipe.network.exits == exits
    assert sorted(exit for phase in recipe.phases for exit in phase.exits) == list(exits)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_each_key_is_used_and_each_that_is_used_is_there(path: Path) -> None:
    keys, text, read = set(keys_of(path)), path.read_text(encoding="utf-8"), read_of("recipe", *TRAINING)
    referenced = {key for key in keys if re.search(rf"!ref [^#\n]*<{key}[.\[>]", text)}
    assert {key for key in keys if not key.startswith("__")} == (read & keys) | referenced
    only_for_pretrain = set() if path.stem.startswith("pretrain") else {"baseline"}
    assert read - keys == only_for_pretrain


def test_each_key_of_the_mixing_is_used_and_each_that_is_used_is_there() -> None:
    keys = set(keys_of(ROOT / "hparams" / "parts" / "mixing.yaml"))
    assert keys == read_of("distribution", CODE / "data" / "mixing.py")
    assert keys == {field.name for field in fields(MixDistribution)}


def test_the_optimiser_takes_all_of_its_keys() -> None:
    keys = set(keys_of(ROOT / "hparams" / "parts" / "optimizer.yaml"))
    (group,) = load_recipe(RECIPES[0]).opt_class([torch.zeros(1, requires_grad=True)]).param_groups
    assert keys and keys <= group.keys()


def test_the_keys_of_a_bundle_are_those_that_speechbrain_reads() -> None:
    """In a bundle too, a key that is called as a run option would set it."""
    path = SHIPPED_BUNDLE / "hyperparams.yaml"
    keys = set(keys_of(path))
    read = {*EnhanceDynamic.HPARAMS_NEEDED, "modules", "pretrainer"}
    assert keys == read | {"model"} and "model: !ref <model>" in path.read_text(encoding="utf-8")
    assert not RunOptions().as_dict().keys() & keys


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_each_key_can_be_given_on_the_command_line(path: Path) -> None:
    """argparse takes a word that begins like one of SpeechBrain's options for that option."""
    for key in keys_of(path):
        for words in ([f"--{key}", "7"], [f"--{key}=7"]):
            _, _, overrides = sb.parse_arguments([str(path), *words])
            assert yaml.safe_load(overrides) == {key: 7}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_options_are_speechbrains(path: Path) -> None:
    known = RunOptions().as_dict().keys()
    assert set(load_recipe(path).options) <= known
    assert not known & set(keys_of(path))


def test_the_files_differ_in_nothing_but_family_and_scheme() -> None:
    """What they share stays the same in all of them."""
    mine = {"family", "scheme", "exits", "baseline", "max_epochs", "trial_epochs", "phases"}
    shared = []
    for path in RECIPES:
        blocks = dict(re.findall(r"^(\w+):(.*(?:\n  .*)*)", path.read_text(), re.MULTILINE))
        shared.append({key: block for key, block in blocks.items() if key not in mine})
    for path, blocks in zip(RECIPES, shared, strict=True):
        assert blocks == shared[0], path.name
