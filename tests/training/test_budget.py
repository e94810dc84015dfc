"""A budget of audio: what the recipes then hear, whatever their phases, and the least that can be shared out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.training.budget import share_out
from speechbrain_dynsnet.training.recipe import Recipe, load_recipe

HPARAMS = Path(__file__).parents[2] / "hparams"
NAMES = ["baseline", "concat_joint", "concat_layerwise", "pretrain_layerwise"]


def recipe(name: str, **values: object) -> Recipe:
    return load_recipe(HPARAMS / f"{name}.yaml", "\n".join(f"{key}: {value}" for key, value in values.items()))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("batch_size", "clip_s"), [(16, 2.0), (512, 4.0), (3, 0.5)])
@pytest.mark.parametrize("hours", [50.0, 617.3, 20000.0])
def test_a_run_hears_the_hours_that_it_was_given(name: str, batch_size: int, clip_s: float, hours: float) -> None:
    try:
        budget = share_out(hours, recipe(name, batch_size=batch_size, clip_s=clip_s))
    except InputError:
        assert batch_size == 512 and hours < 600 and "layerwise" in name  # few steps, many phases
        return
    set_so = recipe(
        name,
        batch_size=batch_size,
        clip_s=clip_s,
        max_epochs=budget.max_epochs,
        clips_per_epoch=budget.clips_per_epoch,
        patience=budget.patience,
    )
    hop_s = 256 / 16000
    heard_s = sum(phase.max_epochs for phase in set_so.phases) * set_so.clips_per_epoch * round(clip_s / hop_s) * hop_s
    assert heard_s / 3600 == pytest.approx(budget.hours) == pytest.approx(hours, rel=0.01)
    assert set_so.clips_per_epoch % batch_size == 0  # nothing is rounded away
    assert all(phase.max_epochs <= set_so.patience for phase in set_so.phases)


@pytest.mark.parametrize("name", NAMES)
def test_epochs_stay_about_as_long_as_the_recipe_has_them(name: str) -> None:
    given = recipe(name)
    assert share_out(200.0, given).clips_per_epoch == pytest.approx(given.clips_per_epoch, rel=0.2)


@pytest.mark.parametrize("name", NAMES)
def test_too_little_is_refused_and_the_least_that_is_named_is_enough(name: str) -> None:
    given = recipe(name)
    with pytest.raises(InputError, match="too few") as refused:
        share_out(0.001, given)
    (least,) = re.findall(r"give ([\d.]+) or more", str(refused.value))
    for factor in (1.0, 1.01, 1.37):
        assert share_out(float(least) * factor, given).hours == pytest.approx(float(least) * factor, rel=0.01)
