"""The folder of a run: where it is, whose it is, and what it holds so that the run can be repeated."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch
from hyperpyyaml import resolve_references
from speechbrain.utils.distributed import ddp_barrier, if_main_process
from speechbrain.utils.run_opts import RunOptions
from torch.distributed import get_world_size, is_initialized

from speechbrain_dynsnet.data.manifest import Corpus
from speechbrain_dynsnet.data.shards import ShardSet
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.training.distillation import fingerprint
from speechbrain_dynsnet.training.recipe import PATHS, Recipe
from speechbrain_dynsnet.writing import write_text

_SETTINGS = "settings.json"
# A stopped run may go on with other values of these; any other change is another run.
_FREE_SETTINGS = (*PATHS, "num_workers", "trial_epochs")  # where the last one matters, the phases have it
_RESULT_OPTIONS = (
    "precision",
    "eval_precision",
    "max_grad_norm",
    "skip_nonfinite_grads",
    "grad_accumulation_factor",
)


def run_folder(recipe: Recipe) -> Path:
    """Where the run's files go."""
    if recipe.output_folder is not None:
        return Path(recipe.output_folder)
    trial = "trial_" if recipe.data_folder is None else ""
    exits = "".join(map(str, recipe.network.exits))
    return Path(recipe.results_folder) / f"{trial}{recipe.family}_{recipe.scheme}_{exits}"


def settings(recipe: Recipe, data: Mapping[str, Corpus | ShardSet], run_opts: Any) -> dict[str, Any]:
    """All that decides the result of a run, as plain values.

    Arguments
    ---------
    recipe : Recipe
        What is trained.
    data : mapping of str to Corpus or ShardSet
        What it is trained on: counted, and told apart by the files' names and sizes, or by the shards' checksums,
        wherever they are.
    run_opts : dict or RunOptions
        SpeechBrain's, from the command line.

    Returns
    -------
    dict
        As JSON can hold it.
    """
    plain: dict[str, Any] = {
        name: value for name, value in vars(recipe).items() if isinstance(value, (int, float, str, type(None)))
    }
    optimizer = recipe.opt_class if isinstance(recipe.opt_class, partial) else partial(recipe.opt_class)
    plain |= {
        "exits": list(recipe.network.exits),
        "architecture": recipe.network.architecture.to_dict(),
        "loss": vars(recipe.loss),
        "optimizer": {"class": getattr(optimizer.func, "__name__", repr(optimizer.func))}
        | {name: value for name, value in optimizer.keywords.items() if name != "lr"},  # a setting of its own
        "mixing": vars(recipe.mixing),
        "phases": [vars(phase) for phase in recipe.phases],
        "data": {split: _fingerprint(part) for split, part in data.items()},
        "options": _options(recipe, run_opts),
        "processes": get_world_size() if is_initialized() else 1,
    }
    if recipe.baseline is not None:
        plain["baseline_weights"] = fingerprint(recipe.baseline)
    if recipe.teacher is not None:
        plain["teacher_weights"] = fingerprint(recipe.teacher)
    return json.loads(json.dumps(plain))  # type: ignore[no-any-return]


def public_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without the paths of this machine: what a bundle may carry."""
    return {name: value for name, value in values.items() if name not in PATHS}


def check_same_run(folder: Path, now: Mapping[str, Any]) -> None:
    """Raise InputError when `folder` holds a run of other settings, naming what differs."""
    kept = folder / _SETTINGS
    if not kept.is_file():
        return
    try:
        before = dict(json.loads(kept.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{kept}: damaged ({error}); give another --output_folder, or delete {folder}") from error
    different = [
        f"{name} {before.get(name)!r} -> {now.get(name)!r}"
        for name in sorted(set(before) | set(now))
        if name not in _FREE_SETTINGS and before.get(name) != now.get(name)
    ]
    if different:
        raise InputError(
            f"{folder}: holds another run ({'; '.join(different)}); give another --output_folder or delete it"
        )


def open_run_folder(folder: Path, values: Mapping[str, Any], yaml_path: str | Path, overrides: str) -> None:
    """Make the folder, with the recipe as it runs (overrides resolved), its settings and the environment.

    All ranks must call it; the main process writes. InputError when it cannot.
    """
    if if_main_process():
        with open(yaml_path, encoding="utf-8") as file:
            resolved = resolve_references(file, overrides).read()
        log = folder / "env.log"  # a run that is taken up again may run in another environment: both are kept
        try:
            folder.mkdir(parents=True, exist_ok=True)
            before = log.read_text(encoding="utf-8") + "\n" if log.exists() else ""
            write_text(folder / "hyperparams.yaml", resolved)
            write_text(log, before + _environment())
            write_text(folder / _SETTINGS, json.dumps(values, indent=2) + "\n")
        except OSError as error:
            raise InputError(f"{folder}: not writable ({error.strerror}); give another --output_folder") from error
    ddp_barrier()


def _options(recipe: Recipe, run_opts: Any) -> dict[str, Any]:
    """SpeechBrain's run options that change the result, as they are in force."""
    given = RunOptions.from_dictionary(run_opts) if isinstance(run_opts, dict) else run_opts
    return {
        name: given[name] if name in given.overridden_args else recipe.options.get(name, given[name])
        for name in _RESULT_OPTIONS
    }


def _fingerprint(data: Corpus | ShardSet) -> dict[str, Any]:
    if isinstance(data, ShardSet):
        return data.fingerprint()
    # In their order, which decides what is drawn.
    lines = [f"{one.kind}/{one.group}/{one.path.name} {one.path.stat().st_size}" for one in data.sources()]
    return {"files": len(lines), "sha256": sha256("\n".join(lines).encode()).hexdigest()}


def _environment() -> str:
    # SpeechBrain's own description asks the first pip on the PATH, which may serve another environment.
    revision = "unknown"
    if git := shutil.which("git"):
        found = subprocess.run([git, "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True)
        revision = found.stdout.strip() or revision
        changed = subprocess.run([git, "diff", "--quiet", "HEAD"], cwd=Path(__file__).parent, capture_output=True)
        revision += ", with changes" if changed.returncode == 1 else ""
    facts = [
        f"command: {shlex.join(sys.argv)}",
        f"Python: {' '.join(sys.version.split())}",
        f"CUDA: {torch.version.cuda if torch.cuda.is_available() else 'none'}",
        f"git revision: {revision}",
    ]
    packages = sorted({f"{one.name}=={one.version}" for one in distributions()}, key=str.lower)
    return "\n".join([*facts, "", *packages, ""])
