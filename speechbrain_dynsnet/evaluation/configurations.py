"""Which trained configuration an evaluation is of, told by family, training scheme, exits and seed."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.evaluation.evaluate import Row
from speechbrain_dynsnet.evaluation.metrics import METRICS
from speechbrain_dynsnet.evaluation.results import CLIPS, SETTINGS, SUMMARY, read_clips
from speechbrain_dynsnet.evaluation.summary import BASELINE
from speechbrain_dynsnet.evaluation.systems import NOISY, digest_files
from speechbrain_dynsnet.model.architecture import FAMILIES, LAST_STAGE
from speechbrain_dynsnet.model.bundle import CONFIG, WEIGHTS

SCHEMES = ("layerwise", "joint")
_NAMED = re.compile(rf"^({'|'.join(FAMILIES)})_({'|'.join(SCHEMES)})(?![a-z])")
_SEED = re.compile(r"seed_?(\d+)")


@dataclass(frozen=True)
class Configuration:
    """A row of the paper's Table 2.

    Arguments
    ---------
    scheme : str
        `joint` or `layerwise`; empty for the baseline, which has one exit, and where it is not known.
    family : str
        One of `FAMILIES`, or the name of a model of which no more is known.
    exits : tuple of int
        Ascending.
    """

    scheme: str
    family: str
    exits: tuple[int, ...]

    def __str__(self) -> str:
        exits = "" if self.family == BASELINE else f"{len(self.exits)} exits"
        return ", ".join(filter(None, (self.family, self.scheme, exits)))

    @property
    def slug(self) -> str:
        """For names of files."""
        parts = (self.family, self.scheme, "".join(map(str, self.exits)))
        return re.sub(r"\W+", "_", "_".join(filter(None, parts)))


# What the paper trains: arXiv 2308.16678, section 4.
PAPER_CONFIGURATIONS = (
    Configuration("", BASELINE, (LAST_STAGE,)),
    *(
        Configuration(scheme, family, exits)
        for scheme in SCHEMES
        for family in ("pretrain", "split", "concat")
        for exits in ((0, 1, 3, 5), tuple(range(LAST_STAGE + 1)))
    ),
)


@dataclass(frozen=True, eq=False)
class Run:
    """One training of a configuration, measured.

    Arguments
    ---------
    folder : Path
        The evaluation.
    rows : sequence of dict
        All of that evaluation's, other systems included.
    configuration : Configuration
        What was trained.
    seed : int or None
        None when it is not known.
    systems : dict of int to str
        What each exit is called in `rows`.
    macs_shares : dict of str to float
        The multiply-accumulates of systems, as shares of nsNet2's.
    test_set : dict
        `name`, `clips` and `sha256`.
    digest : str
        Of the weights.
    training : dict
        How it was trained, as its bundle records it; empty when that is not known.
    """

    folder: Path
    rows: Sequence[Row]
    configuration: Configuration
    seed: int | None
    systems: Mapping[int, str]
    macs_shares: Mapping[str, float]
    test_set: Mapping[str, Any]
    digest: str = field(default="", repr=False)
    training: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def scores(self, exit: int, metric: str) -> dict[str, float]:
        """Of each clip that has one."""
        return scores_of(self.rows, self.systems[exit], metric)


def read_runs(folders: Iterable[Path], bundles: Iterable[Path] = ()) -> list[Run]:
    """The trainings that evaluations are of.

    Arguments
    ---------
    folders : iterable of Path
        That `dynsnet evaluate` wrote, all on one test set.
    bundles : iterable of Path
        Models that may be among them: what a bundle says of its training tells more than its name.

    Returns
    -------
    list of Run
        In the order of the folders. A baseline that several evaluations hold is there once.

    Raises
    ------
    InputError
        When a folder is no finished evaluation or of another test set, two are of one configuration and seed, or one
        holds no model.
    """
    configs = _configs(bundles)
    runs: list[Run] = []
    test_set: tuple[Path, Mapping[str, Any]] | None = None
    for folder in folders:
        settings = _read_settings(folder)
        name, first = test_set = test_set or (folder, settings["test_set"])
        if settings["test_set"].get("sha256") != first.get("sha256"):
            raise InputError(
                f"{folder}: measured on {settings['test_set'].get('name')}, and {name} on {first.get('name')} with "
                "other files; put models side by side that were measured on one test set"
            )
        found = _runs_of(folder, settings, configs)
        if not found:
            raise InputError(f"{folder}: holds no exit of a model; measure peers beside one, with --peers")
        for run in found:
            twins = [other for other in runs if run.digest and run.digest == other.digest]
            if not twins:
                _check_new(run, runs)
                runs.append(run)
            elif run.systems != twins[0].systems:
                raise InputError(
                    f"{folder}: has the model of {twins[0].folder} at other exits; measure all its exits in one run"
                )
    return runs


def by_configuration(runs: Iterable[Run]) -> dict[Configuration, list[Run]]:
    """Runs of one configuration and several seeds; the paper's configurations first, in its order."""
    found: dict[Configuration, list[Run]] = {configuration: [] for configuration in PAPER_CONFIGURATIONS}
    for run in runs:
        found.setdefault(run.configuration, []).append(run)
    return {configuration: some for configuration, some in found.items() if some}


def baseline_of(runs: Sequence[Run]) -> tuple[str, Run] | None:
    """What shares are of: the trained baseline, or else one from elsewhere that was measured beside a model."""
    for run in runs:
        if run.configuration.family == BASELINE:
            return run.systems[LAST_STAGE], run
    for run in runs:
        if any(row["system"] == BASELINE for row in run.rows):
            return BASELINE, run
    return None


def mean_rows(runs: Sequence[Run]) -> list[Row]:
    """One evaluation out of those of several seeds: each score the mean of theirs.

    Arguments
    ---------
    runs : sequence of Run
        Of one configuration.

    Returns
    -------
    list of dict
        A row for each clip and system. A score that one run lacks is lacking.
    """
    rows = [row for run in runs for row in run.rows]
    if len(runs) == 1:
        return rows
    order = {key: place for place, key in reversed(list(enumerate(map(_key, rows))))}
    rows.sort(key=lambda row: order[_key(row)])
    return [_mean_row(list(of_key)) for _, of_key in groupby(rows, _key)]


def scores_of(rows: Iterable[Row], system: str, metric: str) -> dict[str, float]:
    """The score of each clip of a system that has one."""
    return {row["clip"]: float(row[metric]) for row in rows if row["system"] == system and row[metric]}


def describe_bundle(config: Mapping[str, Any]) -> tuple[Configuration, int | None]:
    """The configuration and seed in a bundle's `config.json`; what it does not say stays empty."""
    family, exits = config["architecture"]["family"], tuple(config["architecture"]["exits"])
    training = config.get("training") or {}
    return Configuration("" if family == BASELINE else str(training.get("scheme", "")), family, exits), training.get(
        "seed"
    )


def _key(row: Row) -> tuple[str, str]:
    return row["clip"], row["system"]


def _mean_row(rows: Sequence[Row]) -> Row:
    scores = {
        metric: f"{sum(float(row[metric]) for row in rows) / len(rows):.6f}" if all(row[metric] for row in rows) else ""
        for metric in METRICS
    }
    return rows[0] | scores


def _read_settings(folder: Path) -> dict[str, Any]:
    try:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{folder}: no {SETTINGS} in it; give a folder that `dynsnet evaluate` wrote") from error
    except NotADirectoryError as error:
        raise InputError(f"{folder}: is a file; give the folder that `dynsnet evaluate` wrote") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / SETTINGS}: cannot be read ({error}); measure the model again") from error
    if not isinstance(settings, dict) or not all(isinstance(settings.get(k), dict) for k in ("models", "test_set")):
        raise InputError(f"{folder / SETTINGS}: not of an evaluation; give a folder that `dynsnet evaluate` wrote")
    if not all((folder / name).is_file() for name in (CLIPS, SUMMARY)):
        raise InputError(f"{folder}: not finished; give its `dynsnet evaluate` command again, which goes on")
    return settings


def _runs_of(folder: Path, settings: Mapping[str, Any], configs: Mapping[str, Mapping[str, Any]]) -> list[Run]:
    rows = read_clips(folder)
    exits: dict[str, dict[int, str]] = {}  # of a network: the one that is measured, and a baseline beside it
    for row in rows:
        if row["exit"]:
            exits.setdefault(BASELINE if row["system"] == BASELINE else "", {})[int(row["exit"])] = row["system"]
    shares = {row["system"]: float(row["macs_share"]) for row in _read_summary(folder) if row["macs_share"]}
    runs = []
    for role, systems in exits.items():
        identity = settings["models"].get(next(iter(systems.values())), {})
        digest = str(identity.get("sha256", ""))
        config = identity.get("config") or configs.get(digest) or {}
        configuration, seed = _describe(identity, config, tuple(sorted(systems)))
        training = config.get("training") or {}
        run = Run(folder, rows, configuration, seed, systems, shares, settings["test_set"], digest, training)
        if role != BASELINE:
            runs.append(run)
        elif configuration.family == BASELINE:  # one that was trained elsewhere is no row of the table
            runs.append(_alone(run))
    return runs


def _alone(run: Run) -> Run:
    """A baseline out of the evaluation of another model, as if it had been measured by itself."""
    own = f"exit_{LAST_STAGE}"
    rows = [
        row | {"system": own if row["system"] == BASELINE else NOISY}
        for row in run.rows
        if row["system"] in (BASELINE, NOISY)
    ]
    shares = {own: run.macs_shares[BASELINE]} if BASELINE in run.macs_shares else {}
    return replace(run, rows=rows, systems={LAST_STAGE: own}, macs_shares=shares)


def _read_summary(folder: Path) -> list[Row]:
    with (folder / SUMMARY).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"system", "macs_share"} <= rows[0].keys():
        raise InputError(f"{folder / SUMMARY}: not a summary; delete it and give the `dynsnet evaluate` command again")
    return rows


def _describe(
    identity: Mapping[str, Any], config: Mapping[str, Any], measured: tuple[int, ...]
) -> tuple[Configuration, int | None]:
    """From what is recorded of a bundle, or else from the model's name."""
    name = str(identity.get("model", ""))
    if config:
        return describe_bundle(config)
    if named := _NAMED.match(name):
        seed = _SEED.search(name)
        scheme = "" if named[1] == BASELINE else named[2]
        return Configuration(scheme, named[1], measured), int(seed[1]) if seed else None
    return Configuration("", name, measured), None


def _configs(bundles: Iterable[Path]) -> dict[str, Mapping[str, Any]]:
    """What bundles say of themselves, by the digest that evaluations record."""
    return {
        digest_files([bundle / CONFIG, bundle / WEIGHTS]): json.loads((bundle / CONFIG).read_text(encoding="utf-8"))
        for bundle in bundles
    }


def _check_new(run: Run, runs: Iterable[Run]) -> None:
    for other in runs:
        if run.seed is not None and (run.configuration, run.seed) == (other.configuration, other.seed):
            raise InputError(
                f"{other.folder} and {run.folder} are both of {run.configuration} with seed {run.seed}, "
                "and of different weights; give one of them"
            )
