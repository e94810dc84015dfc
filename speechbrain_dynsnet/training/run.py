"""A whole run: data, phases one after the other, and the bundle of the result."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from speechbrain.dataio.dataloader import SaveableDataLoader
from speechbrain.utils.distributed import ddp_barrier, if_main_process, infer_device, run_on_main
from speechbrain.utils.logger import get_logger
from torch import cuda
from torch.distributed import get_rank, get_world_size, is_initialized
from torch.utils.data import DataLoader

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.data.manifest import Corpus, read_corpus
from speechbrain_dynsnet.data.pairs import EpochSampler, PairDataset, collate, open_corpus
from speechbrain_dynsnet.data.shard_fetching import cache_of, fetch_shards, is_address
from speechbrain_dynsnet.data.shards import ShardDataset, ShardSampler, ShardSet, open_shards
from speechbrain_dynsnet.data.trial import make_trial_set
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model.bundle import (
    check_bundle,
    describe_difference,
    load_bundle,
    remove_unfinished,
    save_bundle,
)
from speechbrain_dynsnet.model.device import check_device
from speechbrain_dynsnet.model.network import DynamicNsNet2
from speechbrain_dynsnet.model.whitening import Whitening, check_whitening
from speechbrain_dynsnet.processes import end_with_parent
from speechbrain_dynsnet.training.brain import DynBrain
from speechbrain_dynsnet.training.distillation import Teacher
from speechbrain_dynsnet.training.divergence import Diverged
from speechbrain_dynsnet.training.folder import (
    check_same_run,
    open_run_folder,
    public_settings,
    run_folder,
    settings,
)
from speechbrain_dynsnet.training.progress import logging_to
from speechbrain_dynsnet.training.recipe import Recipe
from speechbrain_dynsnet.training.whitening import whitening_of_run

logger = get_logger(__name__)


class Loaders(NamedTuple):
    """A maker of training loaders (each phase has its own), their dataset and sampler, and the validation loader."""

    make_train: Callable[[], SaveableDataLoader]
    trained_on: PairDataset | ShardDataset
    sampler: EpochSampler
    valid: DataLoader[Any]


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
        For data that is not there, a run folder that belongs to another run, or training that diverges.
    """
    folder = run_folder(recipe)
    bundle = folder / "bundle"
    on_trial_set = recipe.data_folder is None
    if on_trial_set:
        recipe = _as_trial(recipe)
    if on_trial_set:
        logger.info(
            "no --data_folder: a trial run on the generated set in %s; its model is of no use on recordings",
            recipe.data_folder,
        )
        run_on_main(make_trial_set, args=[Path(str(recipe.data_folder))])
    data = _find_data(recipe)
    _load_baseline(recipe)
    teacher = Teacher(recipe.teacher, recipe.teacher_weight) if recipe.teacher is not None else None
    values = settings(recipe, data, run_opts)
    check_same_run(folder, values)
    if bundle.is_dir() and any(bundle.iterdir()):
        logger.info("this run is finished: its model is in %s; delete %s to train it again", bundle, folder)
        return bundle
    _check_device(run_opts, values["options"]["precision"])
    if recipe.whitening is not None:
        check_whitening(recipe.network)  # what could not be saved is not trained
    loaders = _make_loaders(recipe, data)
    open_run_folder(folder, values, yaml_path, overrides)  # all input is checked: from here on there is a run
    so_far = folder / "bundle_so_far"
    if if_main_process():
        for path in (bundle, so_far):
            remove_unfinished(path)
    with logging_to(folder / "log.txt"):
        logger.info("this run is in %s", folder)
        whitening = whitening_of_run(folder, loaders.trained_on, recipe.whitening)
        if whitening is not None and recipe.baseline is not None:
            whitening.unfold(recipe.network)

        def save(network: DynamicNsNet2, best: dict[str, float], to: Path) -> None:
            network = deepcopy(network)
            if whitening is not None:
                whitening.fold(network)
            save_bundle(network.cpu(), to, training=public_settings(values) | {"best": best})

        debug = run_opts.get("debug")
        keep = None if debug else partial(save, to=so_far)
        try:
            best = _train_phases(recipe, folder, loaders, run_opts, whitening, teacher, keep)
        except Diverged as error:
            kept = f"; the best model so far is {so_far}" if so_far.is_dir() else ""
            raise Diverged(f"{error}{kept}") from error
        if debug:
            logger.info("this was a debug run of a few batches: no model is kept")
        elif if_main_process():
            save(recipe.network, best, bundle)
            shutil.rmtree(so_far, ignore_errors=True)
            logger.info("the run is finished: its model is in %s", bundle)
        ddp_barrier()
    return bundle


def _train_phases(
    recipe: Recipe,
    folder: Path,
    loaders: Loaders,
    run_opts: Any,
    whitening: Whitening | None,
    teacher: Teacher | None,
    keep: Callable[[DynamicNsNet2, dict[str, float]], None] | None,
) -> dict[str, float]:
    """One phase after the other; what the best checkpoint of the last one was saved with.

    `keep` is called in the last phase only: before that there are exits that nothing has trained.
    """
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
            whitening,
            recipe.options,
            run_opts,
            recipe.average_decay,
            teacher,
            keep if index == len(recipe.phases) - 1 else None,
        )
        loaders.sampler.earlier_epochs = sum(earlier.max_epochs for earlier in recipe.phases[:index])
        best = brain.train_phase(loaders.make_train(), loaders.sampler, loaders.valid)
    return best


def _check_device(run_opts: Any, precision: str) -> None:
    """Refuse a device that is not there before there is a run."""
    device = run_opts.get("device") or infer_device()
    check_device(device)
    if device == "cpu" and precision == "fp16":
        raise InputError("--precision fp16 needs a GPU: use bf16 or fp32 on the CPU")


def _as_trial(recipe: Recipe) -> Recipe:
    """The same recipe on the generated trial set, with its few epochs."""
    folder = Path(recipe.results_folder) / "trial_set"
    phases = [replace(phase, max_epochs=min(phase.max_epochs, recipe.trial_epochs)) for phase in recipe.phases]
    return replace(recipe, data_folder=str(folder), phases=phases)


def _load_baseline(recipe: Recipe) -> None:
    """Start `pretrain` from a trained baseline; say so when there is none."""
    if recipe.baseline is None:
        if recipe.family == "pretrain":
            logger.warning("no --baseline: the pretrain family starts from random weights, not from a trained baseline")
        return
    baseline, own = check_bundle(recipe.baseline), recipe.network.architecture
    if baseline.family != "baseline":
        raise InputError(f"{recipe.baseline}: holds a {baseline.family} model; give a bundle of the baseline family")
    if baseline.fc1_activation != own.fc1_activation:
        raise InputError(
            f"{recipe.baseline}: has fc1_activation {baseline.fc1_activation}, this network {own.fc1_activation}; "
            "set fc1_activation under network in the YAML file"
        )
    weights = load_bundle(recipe.baseline).state_dict()
    # Stages after the deepest exit are not built, and not needed.
    weights = {name: value for name, value in weights.items() if name in recipe.network.state_dict()}
    if difference := describe_difference(recipe.network, weights):
        raise InputError(f"{recipe.baseline}: does not fit this pretrain network: {difference}")
    recipe.network.load_state_dict(weights)


def _find_data(recipe: Recipe) -> dict[str, Corpus | ShardSet]:
    """What to train and to validate on, found and checked."""
    if recipe.shards is None:
        return {**read_corpus(str(recipe.data_folder))}
    valid = read_corpus(str(recipe.data_folder), ("valid",))
    cache = None
    if is_address(recipe.shards):
        cache = cache_of(recipe.shards, Path(recipe.results_folder) / "shards")
        run_on_main(fetch_shards, args=[recipe.shards, cache])
    return {"train": open_shards(recipe.shards, cache), **valid}


def _make_loaders(recipe: Recipe, data: dict[str, Corpus | ShardSet]) -> Loaders:
    rank, ranks = (get_rank(), get_world_size()) if is_initialized() else (0, 1)
    datasets: dict[str, ShardDataset | PairDataset] = {}
    if isinstance(train_data := data["train"], ShardSet):
        datasets["train"] = shards = ShardDataset(train_data, recipe.clip_s, recipe.seed)
        sampler: EpochSampler = ShardSampler(shards, recipe.batch_size, rank, ranks)
    else:
        sampler = EpochSampler(recipe.clips_per_epoch, recipe.batch_size, rank, ranks)
    valid_sampler = EpochSampler(recipe.valid_clips, recipe.batch_size, rank, ranks, name="valid_clips")
    decoded = Path(recipe.results_folder) / "decoded"
    if rank > 0:
        ddp_barrier()  # the main process decodes what must be decoded; the others find it done
    for offset, (split, part) in enumerate(data.items()):
        if isinstance(part, Corpus):
            tracks = open_corpus(part, decoded)
            logger.info(
                "%s: %.2f h of speech (speakers: %d), %.2f h of noise, impulse responses: %d",
                split,
                tracks.clean.samples.sum() / SAMPLE_RATE / 3600,
                len(tracks.clean.group_names),
                tracks.noise.samples.sum() / SAMPLE_RATE / 3600,
                len(tracks.impulse_responses),
            )
            datasets[split] = PairDataset(tracks, recipe.mixing, recipe.clip_s, recipe.seed + offset)
    if rank == 0:
        ddp_barrier()
    options: dict[str, Any] = {
        "batch_size": recipe.batch_size,
        "num_workers": recipe.num_workers,
        "collate_fn": collate,
        "persistent_workers": recipe.num_workers > 0,  # to start one from the fork server takes seconds
        "pin_memory": cuda.is_available(),
        # Not forked from here: until Python 3.12 a child that is forked while another thread starts or ends may hang
        # for ever. The fork server has no threads.
        "multiprocessing_context": "forkserver" if recipe.num_workers else None,
        "worker_init_fn": end_with_parent,
    }
    return Loaders(
        lambda: SaveableDataLoader(datasets["train"], sampler=sampler, **options),
        datasets["train"],
        sampler,
        DataLoader(datasets["valid"], sampler=valid_sampler, **options),
    )
