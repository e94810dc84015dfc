"""A recipe: what a YAML file of `hparams/` declares, checked and typed."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml.error import YAMLError

from speechbrain_dynsnet.data.mixing import MixDistribution
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model.network import DynamicNsNet2
from speechbrain_dynsnet.training.brain import OptimizerClass
from speechbrain_dynsnet.training.losses import MultiExitLoss
from speechbrain_dynsnet.training.phases import Phase


@dataclass(frozen=True)
class Recipe:
    """One training run. The YAML files document each key where it is set.

    `options` are SpeechBrain's own run options with this recipe's defaults; the command line wins over them.
    """

    seed: int
    family: str
    scheme: str
    exits: Sequence[int]
    data_folder: str | None
    results_folder: str
    output_folder: str | None
    network: DynamicNsNet2
    phases: list[Phase]
    loss: MultiExitLoss
    mixing: MixDistribution
    clip_s: float
    batch_size: int
    clips_per_epoch: int
    valid_clips: int
    num_workers: int
    lr: float
    opt_class: OptimizerClass
    schedule: str
    max_epochs: int
    trial_epochs: int
    patience: int
    feature_shift: float
    feature_scale: float
    options: dict[str, Any]
    baseline: str | None = None


def load_recipe(path: str | Path, overrides: str = "") -> Recipe:
    """Read a YAML file and build what it declares.

    Arguments
    ---------
    path : str or Path
        A file of `hparams/`.
    overrides : str
        YAML that replaces top-level keys, as SpeechBrain's command line gives it.

    Raises
    ------
    InputError
        For a missing or malformed file, an unknown or missing key, or a value that does not serve.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such recipe; choose a file of hparams/, such as hparams/concat_joint.yaml")
    try:
        with path.open(encoding="utf-8") as file:
            hparams = load_hyperpyyaml(file, overrides, overrides_must_match=False)
    except YAMLError as error:
        raise InputError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    except InputError:
        raise
    except (ValueError, TypeError, ImportError, OSError) as error:
        raise InputError(f"{path}: {' '.join(str(part) for part in error.args)}") from error
    if not isinstance(hparams, dict):
        raise InputError(f"{path}: not a recipe; it must map keys to values")
    known = {field.name for field in fields(Recipe)}
    for key in hparams:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f", did you mean {close[0]}?" if close else f"; the keys are {', '.join(sorted(known))}"
            raise InputError(f"{path}: unknown key {key!r}{hint}")
    needed = {field.name for field in fields(Recipe) if field.default is MISSING}
    if missing := sorted(needed - set(hparams)):
        raise InputError(f"{path}: missing {', '.join(missing)}")
    recipe = Recipe(**hparams)
    for key in (
        "batch_size",
        "clips_per_epoch",
        "valid_clips",
        "max_epochs",
        "trial_epochs",
        "patience",
    ):
        if (value := getattr(recipe, key)) is None or not isinstance(value, int) or value < 1:
            raise InputError(f"{path}: {key} is {value!r}: give a whole number of at least 1")
    return recipe
