"""A whole run: data, phases one after the other, and the bundle of the result."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import speechbrain as sb
from speechbrain.dataio.dataloader import SaveableDataLoader
from speechbrain.utils.distributed import if_main_process, run_on_main
from torch import cuda
from torch.distributed import get_rank, get_world_size, is_initialized
from torch.utils.data import DataLoader

from speechbrain_dynsnet.data.manifest import Corpus, read_corpus
from speechbrain_dynsnet.data.pairs import EpochSampler, PairDataset, open_corpus
from speechbrain_dynsnet.data.trial import make_trial_set
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model.bundle import (
    check_bundle,
    describe_difference,
    load_bundle,
    save_bundle,
)
from speechbrain_dynsnet.model.features import fold_affine
from speechbrain_dynsnet.training.brain import DynBrain
from speechbrain_dynsnet.training.recipe import Recipe

logger = logging.getLogger(__name__)
_SETTINGS = "settings.json"
# A stopped run may go on with other values of these; any other change is another run.
_FREE_SETTINGS = (
    "num_workers",
    "data_folder",
    "results_folder",
    "output_folder",
    "baseline",
    "options",
)


def train(recipe: Recipe, run_opts: Any, yaml_path: str | Path, overrides: str = "") -> Path:
    """Train a recipe to its end, going on where an earlier call was stopped.

    Arguments
    ---------
    recipe : Recipe
        What to train, on what, how.
    run_opts : dict or RunOptions
        SpeechBrain's, from the command line.
    yaml_path : str or Path
        The file that the recipe came from, and
    overrides : str
        what the command line replaced in it: both are kept with the run.

    Returns
    -------
    Path
        The bundle of the trained model.

    Raises
    ------
    InputError
        For data that is not there, or a run folder that belongs to another run.
    """
    folder = run_folder(recipe)
    bundle = folder / "bundle"
    recipe = _with_data(recipe)
    corpora = read_corpus(str(recipe.data_folder))
    _check_same_run(folder, recipe)
    if bundle.is_dir():
        logger.info("this run is finished: its model is in %s; delete %s to train it again", bundle, folder)
        return bundle
    sb.create_experiment_directory(str(folder), str(yaml_path), overrides)
    run_on_main(_keep_settings, kwargs={"folder": folder, "recipe": recipe})
    _load_baseline(recipe)
    train_loader, sampler, valid_loader = _make_loaders(recipe, corpora)
    best: dict[str, float] = {}
    for index, phase in enumerate(recipe.phases):
        brain = DynBrain(
            recipe.network,
            phase,
            folder / f"phase_{index}_{phase.name}",
            recipe.loss,
            recipe.opt_class,
            recipe.schedule,
            recipe.patience,
            (recipe.feature_shift, recipe.feature_scale),
            recipe.options,
            run_opts,
        )
        best = brain.train_phase(train_loader(), sampler, valid_loader)
    if if_main_process():
        network = recipe.network.cpu()
        fold_affine(network, recipe.feature_shift, recipe.feature_scale)
        save_bundle(network, bundle, training=settings(recipe) | {"best": best})
        logger.info("the run is finished: its model is in %s", bundle)
    return bundle


def run_folder(recipe: Recipe) -> Path:
    """Where the run's files go."""
    if recipe.output_folder is not None:
        return Path(recipe.output_folder)
    trial = "trial_" if recipe.data_folder is None else ""
    exits = "".join(map(str, recipe.network.exits))
    return Path(recipe.results_folder) / f"{trial}{recipe.family}_{recipe.scheme}_{exits}"


def settings(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain values: kept beside the run, and in the bundle."""
    plain: dict[str, Any] = {
        name: value for name, value in vars(recipe).items() if isinstance(value, (int, float, str, type(None)))
    }
    plain |= {
        "exits": list(recipe.network.exits),
        "mixing": vars(recipe.mixing),
        "options": dict(recipe.options),
    }
    plain["phases"] = [vars(phase) for phase in recipe.phases]
    return json.loads(json.dumps(plain))  # type: ignore[no-any-return]


def _with_data(recipe: Recipe) -> Recipe:
    """The recipe itself, or with no data folder the same on a generated trial set, with its few epochs."""
    if recipe.data_folder is not None:
        return recipe
    folder = Path(recipe.results_folder) / "trial_set"
    run_on_main(make_trial_set, args=[folder])
    logger.info(
        "no --data_folder: a trial run on the generated set in %s; its model is of no use on recordings",
        folder,
    )
    phases = [replace(phase, max_epochs=min(phase.max_epochs, recipe.trial_epochs)) for phase in recipe.phases]
    return replace(recipe, data_folder=str(folder), phases=phases)


def _check_same_run(folder: Path, recipe: Recipe) -> None:
    kept = folder / _SETTINGS
    if not kept.is_file():
        return
    before, now = json.loads(kept.read_text(encoding="utf-8")), settings(recipe)
    different = [
        f"{name} {before.get(name)!r} -> {now.get(name)!r}"
        for name in sorted(set(before) | set(now))
        if name not in _FREE_SETTINGS and before.get(name) != now.get(name)
    ]
    if different:
        raise InputError(
            f"{folder}: holds another run ({'; '.join(different)}); give another --output_folder or delete it"
        )


def _keep_settings(folder: Path, recipe: Recipe) -> None:
    fresh = folder / f"{_SETTINGS}.new"
    fresh.write_text(json.dumps(settings(recipe), indent=2) + "\n", encoding="utf-8")
    os.replace(fresh, folder / _SETTINGS)


def _load_baseline(recipe: Recipe) -> None:
    """Start `pretrain` from a trained baseline; say so when there is none."""
    if recipe.baseline is None:
        if recipe.family == "pretrain":
            logger.warning("no --baseline: the pretrain family starts from random weights, not from a trained baseline")
        return
    if recipe.family != "pretrain":
        raise InputError(f"--baseline is for the pretrain family, not for {recipe.family}: leave it out")
    family = check_bundle(recipe.baseline).family
    if family != "baseline":
        raise InputError(f"{recipe.baseline}: holds a {family} model; give a bundle of the baseline family")
    weights = load_bundle(recipe.baseline).state_dict()
    # Stages after the deepest exit are not built, and not needed.
    weights = {name: value for name, value in weights.items() if name in recipe.network.state_dict()}
    if difference := describe_difference(recipe.network, weights):
        raise InputError(f"{recipe.baseline}: does not fit this pretrain network: {difference}")
    recipe.network.load_state_dict(weights)
    fold_affine(recipe.network, -recipe.feature_shift * recipe.feature_scale, 1.0 / recipe.feature_scale)


def _make_loaders(
    recipe: Recipe, corpora: dict[str, Corpus]
) -> tuple[Callable[[], SaveableDataLoader], EpochSampler, DataLoader[Any]]:
    """A maker of training loaders (each phase has its own), their sampler, and the validation loader."""
    decoded = Path(recipe.results_folder) / "decoded"
    run_on_main(lambda: [open_corpus(corpus, decoded) for corpus in corpora.values()])
    rank, ranks = (get_rank(), get_world_size()) if is_initialized() else (0, 1)
    datasets = {
        split: PairDataset(open_corpus(corpus, decoded), recipe.mixing, recipe.clip_s, recipe.seed + offset)
        for offset, (split, corpus) in enumerate(corpora.items())
    }
    sampler = EpochSampler(recipe.clips_per_epoch, recipe.batch_size, rank, ranks)
    valid_sampler = EpochSampler(recipe.valid_clips, recipe.batch_size, rank, ranks)
    options: dict[str, Any] = {
        "batch_size": recipe.batch_size,
        "num_workers": recipe.num_workers,
        "pin_memory": cuda.is_available(),
    }
    return (
        lambda: SaveableDataLoader(datasets["train"], sampler=sampler, **options),
        sampler,
        DataLoader(datasets["valid"], sampler=valid_sampler, **options),
    )
