"""Every YAML of hparams/ loads, is used to its last key, and does not collide with SpeechBrain's options."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import speechbrain as sb
import yaml
from speechbrain.utils.run_opts import RunOptions

from speechbrain_dynsnet.training.recipe import load_recipe

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "hparams").glob("*.yaml"))
NAMES = {"baseline"} | {
    f"{family}_{scheme}" for family in ("pretrain", "split", "concat") for scheme in ("joint", "layerwise")
}
CODE = "\n".join(path.read_text() for path in (ROOT / "speechbrain_dynsnet" / "training").glob("*.py"))


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
def test_each_key_is_used(path: Path) -> None:
    references = path.read_text()
    for key in keys_of(path):
        used = f"recipe.{key}" in CODE or f"!ref <{key}>" in references or key.startswith("__")
        assert used, f"{key} of {path.name} is read by nobody"


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
