"""Small runs, inside the test's own process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from speechbrain_dynsnet.data.trial import make_trial_set
from speechbrain_dynsnet.training import whitening
from speechbrain_dynsnet.training.recipe import load_recipe
from speechbrain_dynsnet.training.run import train

HPARAMS = Path(__file__).parents[2] / "hparams"
# Four steps an epoch, of a few milliseconds each.
SMALL = {
    "exits": [0, 1],
    "clips_per_epoch": 16,
    "batch_size": 4,
    "valid_clips": 8,
    "clip_s": 0.5,
    "num_workers": 0,
    "max_epochs": 2,
}
Train = Callable[..., Path]


@pytest.fixture(scope="module", autouse=True)
def whitening_of_few_pairs() -> Iterator[None]:
    """Fitting it to all of them would be half of the time of a small run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(whitening, "PAIRS", 40)
        yield


@pytest.fixture(scope="session")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a handful of short files."""
    folder = tmp_path_factory.mktemp("data") / "set"
    return make_trial_set(
        folder, speakers=3, clips_per_speaker=2, clip_s=1.0, noises=4, noise_s=1.0, impulse_responses=2
    )


@pytest.fixture(scope="session")
def train_small(small_set: Path) -> Train:
    """train_small(folder, "concat_joint", key=value...): a small run in `folder`; gives its bundle."""

    def run(folder: Path, name: str = "concat_joint", run_opts: dict[str, Any] | None = None, **values: Any) -> Path:
        values = SMALL | {"data_folder": str(small_set), "results_folder": str(folder)} | values
        overrides = "\n".join(f"{key}: {json.dumps(value)}" for key, value in values.items())
        path = HPARAMS / f"{name}.yaml"
        options = {"device": "cpu", "noprogressbar": True, **(run_opts or {})}
        return train(load_recipe(path, overrides), options, path, overrides)

    return run
