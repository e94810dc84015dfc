"""A recipe that does not serve is refused in one line, before anything is built or written."""

from __future__ import annotations

from pathlib import Path

import pytest

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.training.recipe import load_recipe

HPARAMS = Path(__file__).parents[2] / "hparams"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("exits: 3", r"exits is 3: give a list of stage numbers, such as \[0, 1, 3, 5\]"),
        ("exits: [0, 7]", "give each stage number from 0 to 5 at most once"),
        ("exits: [1, 1]", "give each stage number from 0 to 5 at most once"),
        ("exits: []", "give each stage number"),
        ("exits: abc", "exits is 'abc': give a list"),
        ("exits: [0, 1", "the command line: not valid YAML"),
        ("lr: 1\nlr: 2", "the command line: not valid YAML .*duplicate key"),
        ("- 3", "the command line: not a recipe"),
        ("lrr: 1", "unknown key 'lrr', did you mean lr?"),
        ("clips_per_epochs: 1", "did you mean clips_per_epoch?"),
        ("zzz: 1", "unknown key 'zzz'; the keys are average_decay, baseline"),
        ("batch_size: 0", "batch_size is 0: give a whole number of at least 1"),
        ("batch_size: two", "batch_size is 'two': give a whole number"),
        ("batch_size: 2.5", "batch_size is 2.5: give a whole number"),
        ("max_epochs:", "max_epochs is None: give a whole number"),
        ("max_epochs: abc", "abc"),
        ("patience: true", "patience is True: give a whole number"),
        ("num_workers: -1", "num_workers is -1: give a whole number of at least 0"),
        ("seed: abc", "seed_everything"),
        ("seed: -1", "seed is -1: give a whole number of at least 0"),
        ("lr:", "lr is None: give a number above 0"),
        ("lr: fast", "lr is 'fast': give a number above 0"),
        ("clip_s: -1", "clip_s is -1: give a number above 0"),
        ("whitening: 2", "whitening is 2: give a number from 0 to 1, such as 0.5, or null"),
        ("whitening: true", "whitening is True: give a number"),
        ("schedule: linear", "schedule is 'linear': choose one of plateau, one_cycle"),
        ("scheme: layerwise", "its phases are not layerwise: choose hparams/concat_layerwise.yaml"),
        ("scheme: both", "scheme is 'both': choose one of joint, layerwise"),
        ("family: conv", "no family 'conv': choose one of baseline"),
        ("family: baseline", r"the baseline has the one exit \[5\]"),
        ("network: 3", "network cannot be given .* edit it in .*hparams/concat_joint.yaml$"),
        ("phases: 3", "phases cannot be given on the command line"),
        ("mixing: 3", "mixing cannot be given .* edit it in .*hparams/parts/mixing.yaml$"),
        ("mixing: {snr_db: 3}", "mixing cannot be given on the command line"),
        ("opt_class: adam", "opt_class cannot be given on the command line"),
        ("baseline: some/folder", "--baseline is for the pretrain family, not for concat: leave it out"),
    ],
)
def test_a_wrong_value_is_one_line(overrides: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        load_recipe(HPARAMS / "concat_joint.yaml", overrides)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [1", "not valid YAML"),
        ("- 1", "not a recipe; it must map keys to values"),
        ("", "not a recipe; it must map keys to values"),
        ("just words", "not a recipe; it must map keys to values"),
        ("\x00\x01", "not valid YAML"),
        ("lr: 1", "missing average_decay, batch_size"),
        ("network: !apply:no.such.module {}", "no.such.module|no module|Cannot find|There is no"),
        ("network: !new:torch.nn.NoSuchClass {}", "NoSuchClass"),
        ("lr: !ref <nothing>", "nothing"),
        ("lr: !include:gone.yaml", "gone.yaml"),
        ("lr: !PLACEHOLDER", "(?i)placeholder"),
        ("lr: !unknowntag 3", "could not determine a constructor"),
    ],
)
def test_a_file_that_is_no_recipe_is_one_line(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as error:
        load_recipe(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("name", ["", "hparams", "hparams/gone.yaml"])
def test_a_file_that_is_not_there_is_one_line(name: str) -> None:
    with pytest.raises(InputError, match="no such recipe; choose a file of hparams/"):
        load_recipe(HPARAMS.parent / name)


def test_bytes_that_are_no_text_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"\xff\xfe\x00abc")
    with pytest.raises(InputError, match="not valid YAML|recipe.yaml"):
        load_recipe(path)


def test_numbers_as_people_write_them() -> None:
    recipe = load_recipe(HPARAMS / "concat_joint.yaml", "lr: 1e-3\nclip_s: 4\noutput_folder: 2024")
    assert (recipe.lr, recipe.clip_s, recipe.output_folder) == (0.001, 4, "2024")
