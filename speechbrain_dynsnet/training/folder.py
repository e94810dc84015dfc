"""The folder of a run: where it is, whose it is, and what it holds so that the run can be repeated."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch
from hyperpyyaml import resolve_references
from speechbrain.utils.distributed import ddp_barrier, if_main_process
from torch.distributed import get_world_size, is_initialized

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.training.progress import write_whole
from speechbrain_dynsnet.training.recipe import PATHS, Recipe

_SETTINGS = "settings.json"
# A stopped run may go on with other values of these; any other change is another run.
_FREE_SETTINGS = (
    *PATHS,
    "num_workers",
    "options",
    "trial_epochs",  # where it matters, the phases have it
)


def run_folder(recipe: Recipe) -> Path:
    """Where the run's files go."""
    if recipe.output_folder is not None:
        return Path(recipe.output_folder)
    trial = "trial_" if recipe.data_folder is None else ""
    exits = "".join(map(str, recipe.network.exits))
    return Path(recipe.results_folder) / f"{trial}{recipe.family}_{recipe.scheme}_{exits}"


def settings(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain values: kept beside the run."""
    plain: dict[str, Any] = {
        name: value for name, value in vars(recipe).items() if isinstance(value, (int, float, str, type(None)))
    }
    plain |= {
        "exits": list(recipe.network.exits),
        "mixing": vars(recipe.mixing),
        "options": dict(recipe.options),
    }
    plain["phases"] = [vars(phase) for phase in recipe.phases]
    plain["processes"] = get_world_size() if is_initialized() else 1
    return json.loads(json.dumps(plain))  # type: ignore[no-any-return]


def public_settings(recipe: Recipe) -> dict[str, Any]:
    """The settings without the paths of this machine: what a bundle may carry."""
    return {name: value for name, value in settings(recipe).items() if name not in PATHS}


def check_same_run(folder: Path, recipe: Recipe) -> None:
    """Raise InputError when `folder` holds a run of other settings, naming what differs."""
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


def open_run_folder(folder: Path, recipe: Recipe, yaml_path: str | Path, overrides: str) -> None:
    """Make the folder, with the recipe as it runs (overrides resolved), its settings and the environment.

    All ranks must call it; the main process writes.
    """
    if if_main_process():
        with open(yaml_path, encoding="utf-8") as file:
            resolved = resolve_references(file, overrides).read()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / "hyperparams.yaml", resolved)
            write_whole(folder / "env.log", _environment())
            write_whole(folder / _SETTINGS, json.dumps(settings(recipe), indent=2) + "\n")
        except OSError as error:
            raise InputError(f"{folder}: not writable ({error.strerror}); give another --output_folder") from error
    ddp_barrier()


def _environment() -> str:
    # SpeechBrain's own description asks the first pip on the PATH, which may serve another environment.
    revision = "unknown"
    if git := shutil.which("git"):
        found = subprocess.run([git, "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True)
        revision = found.stdout.strip() or revision
    facts = [
        f"command: {shlex.join(sys.argv)}",
        f"Python: {' '.join(sys.version.split())}",
        f"CUDA: {torch.version.cuda if torch.cuda.is_available() else 'none'}",
        f"git revision: {revision}",
    ]
    packages = sorted({f"{one.name}=={one.version}" for one in distributions()}, key=str.lower)
    return "\n".join([*facts, "", *packages, ""])
