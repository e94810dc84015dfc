"""A recipe: what a YAML file of `hparams/` declares, checked and typed."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from speechbrain_dynsnet.data.mixing import MixDistribution
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model.network import DynamicNsNet2
from speechbrain_dynsnet.training.brain import OptimizerClass
from speechbrain_dynsnet.training.losses import MultiExitLoss
from speechbrain_dynsnet.training.phases import Phase
from speechbrain_dynsnet.training.schedules import SCHEDULES

_INCLUDE = "!include:"
_AT_LEAST = {  # whole numbers
    "seed": 0,
    "batch_size": 1,
    "clips_per_epoch": 1,
    "valid_clips": 1,
    "max_epochs": 1,
    "trial_epochs": 1,
    "patience": 1,
    "num_workers": 0,
}
_POSITIVE = ("clip_s", "lr", "teacher_weight")
PATHS = ("data_folder", "shards", "results_folder", "output_folder", "baseline", "teacher")
_BUILT = {
    "network": DynamicNsNet2,
    "phases": list,
    "loss": MultiExitLoss,
    "mixing": MixDistribution,
    "options": dict,
}


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
    shards: str | None
    results_folder: str
    output_folder: str | None
    network: DynamicNsNet2
    phases: list[Phase]
    loss: MultiExitLoss
    mixing: MixDistribution
    teacher: str | None
    teacher_weight: float
    clip_s: float
    batch_size: int
    clips_per_epoch: int
    valid_clips: int
    num_workers: int
    lr: float
    opt_class: OptimizerClass
    schedule: str
    average_decay: float
    max_epochs: int
    trial_epochs: int
    patience: int
    whitening: float | None
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

    Returns
    -------
    Recipe
        Checked: it can be trained on data that suit it.

    Raises
    ------
    InputError
        For a missing or malformed file, an unknown or missing key, or a value that does not serve.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such recipe; choose a file of hparams/, such as hparams/concat_joint.yaml")
    declared = _read_mapping(path.read_bytes(), str(path))
    changes = _read_mapping(overrides.encode(), "the command line") if overrides.strip() else {}
    for key in changes:
        if tag := getattr(getattr(declared.get(key), "tag", None), "value", None):  # !new:..., !apply:..., !include:...
            where = path.parent / tag.removeprefix(_INCLUDE) if tag.startswith(_INCLUDE) else path
            raise InputError(f"{key} cannot be given on the command line: the file builds it; edit it in {where}")
    try:
        with path.open(encoding="utf-8") as file:
            hparams = load_hyperpyyaml(file, changes, overrides_must_match=False)
    except InputError:
        raise
    except (YAMLError, ValueError, TypeError, ImportError, OSError) as error:
        raise InputError(f"{path}: {_one_line(error)}") from error
    known = {field.name for field in fields(Recipe)}
    for key in hparams:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f", did you mean {close[0]}?" if close else f"; the keys are {', '.join(sorted(known))}"
            raise InputError(f"{path}: unknown key {key!r}{hint}")
    needed = {field.name for field in fields(Recipe) if field.default is MISSING}
    if missing := sorted(needed - set(hparams)):
        raise InputError(f"{path}: missing {', '.join(missing)}")
    # A folder named 2024 is a number to YAML.
    hparams |= {key: str(hparams[key]) for key in PATHS if hparams.get(key) is not None}
    recipe = Recipe(**hparams)
    if problem := _problem(recipe):
        raise InputError(f"{path}: {problem}")
    return recipe


def _read_mapping(text: bytes, name: str) -> dict[str, Any]:
    """Parse YAML without building what it declares; `name` says where the text comes from."""
    try:
        values = YAML().load(text)
    except (YAMLError, ValueError) as error:
        raise InputError(f"{name}: not valid YAML ({_one_line(error)})") from error
    if not isinstance(values, dict):
        raise InputError(f"{name}: not a recipe; it must map keys to values")
    return values


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _problem(recipe: Recipe) -> str:
    """What keeps a recipe from being trained, in one line; empty when nothing does."""
    for key, least in _AT_LEAST.items():
        value = getattr(recipe, key)
        if type(value) is not int or value < least:
            return f"{key} is {value!r}: give a whole number of at least {least}"
    for key in _POSITIVE:
        value = getattr(recipe, key)
        if type(value) not in (int, float) or not 0.0 < value < math.inf:
            return f"{key} is {value!r}: give a number above 0"
    if type(recipe.average_decay) not in (int, float) or not 0.0 <= recipe.average_decay < 1.0:
        return f"average_decay is {recipe.average_decay!r}: give a number from 0 (no average) to below 1, such as 0.999"
    if recipe.whitening is not None and not (type(recipe.whitening) in (int, float) and 0.0 <= recipe.whitening <= 1.0):
        return f"whitening is {recipe.whitening!r}: give a number from 0 to 1, such as 0.5, or null for plain features"
    for key, kind in _BUILT.items():
        if not isinstance(value := getattr(recipe, key), kind):
            return f"{key} is {value!r}: it is declared in the file, not given as a value"
    if not callable(recipe.opt_class):
        return f"opt_class is {recipe.opt_class!r}: it is declared in the file, not given as a value"
    if recipe.schedule not in SCHEDULES:
        return f"schedule is {recipe.schedule!r}: choose one of {', '.join(SCHEDULES)}"
    schemes = {
        "joint": all(phase.exits == recipe.network.exits for phase in recipe.phases),
        "layerwise": all(len(phase.exits) == 1 for phase in recipe.phases),
    }
    if recipe.scheme not in schemes:
        return f"scheme is {recipe.scheme!r}: choose one of {', '.join(schemes)}"
    if not schemes[recipe.scheme]:
        return f"its phases are not {recipe.scheme}: choose hparams/{recipe.family}_{recipe.scheme}.yaml"
    if recipe.shards is not None and recipe.data_folder is None:
        return "shards are for training only: give --data_folder too, its part valid is for validation"
    if recipe.baseline is not None and recipe.family != "pretrain":
        return f"--baseline is for the pretrain family, not for {recipe.family}: leave it out"
    return ""
