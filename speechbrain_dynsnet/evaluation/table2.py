"""Trained models side by side, as Table 2 of the paper puts them, and beside what is known of its own numbers."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.evaluation.configurations import (
    PAPER_CONFIGURATIONS,
    Run,
    baseline_of,
    by_configuration,
    scores_of,
)
from speechbrain_dynsnet.evaluation.evaluate import Row
from speechbrain_dynsnet.evaluation.metrics import METRICS
from speechbrain_dynsnet.evaluation.summary import BASELINE, interval
from speechbrain_dynsnet.evaluation.systems import NOISY
from speechbrain_dynsnet.model.architecture import LAST_STAGE

# DNSMOS is there twice: papers name neither scale.
TABLE_METRICS = ("pesq_wb", "p808_mos", "ovrl_mos")
# A row for each configuration, exit and metric; one row with `status` alone for what nobody trained. Over the `clips`
# that have a score of every seed: the `mean`, its 95 % interval `low` to `high` over clips, and `seed_spread`, half the
# 95 % interval over seeds.
COLUMNS = (
    *("training", "model", "exits", "exit", "metric", "seeds", "clips", "mean", "low", "high", "seed_spread"),
    *("is_best", "status"),
)
PAPER_COLUMNS = ("training", "model", "exit", "metric", "kind", "value", "source")
# What the paper's file calls them, and what is held against each here.
_PAPER_METRICS = {"pesq": "PESQ", "p808_mos": "DNSMOS P.808", "macs": "MACs"}
_OURS = {"pesq": "pesq_wb", "p808_mos": "p808_mos"}
_NOT_TRAINED = "not trained"
_NO_BASELINE = "no baseline measured"
_DECIMALS = 2


def make_table(runs: Sequence[Run]) -> list[Row]:
    """The rows of `table2.csv`, with `COLUMNS`.

    Arguments
    ---------
    runs : sequence of Run
        See `read_runs`.

    Returns
    -------
    list of dict
        The configurations of the paper first, in its order. `is_best` marks the best of each exit and metric, as it is
        printed, where there are at least two to choose from.
    """
    found = by_configuration(runs)
    rows = []
    for configuration in dict.fromkeys([*PAPER_CONFIGURATIONS, *found]):
        some = found.get(configuration, [])
        exits = sorted({exit for run in some for exit in run.systems})
        cells = [_cell(some, exit, metric) for metric in TABLE_METRICS for exit in exits] or [{"status": _NOT_TRAINED}]
        named = {
            "training": configuration.scheme,
            "model": configuration.family,
            "exits": " ".join(map(str, configuration.exits)),
        }
        rows += [dict.fromkeys(COLUMNS, "") | named | cell for cell in cells]
    for column in {(row["metric"], row["exit"]) for row in rows if row["mean"]}:
        of_column = [row for row in rows if row["mean"] and (row["metric"], row["exit"]) == column]
        best = max(_rounded(row["mean"]) for row in of_column)
        for row in of_column:
            row["is_best"] = "yes" if len(of_column) > 1 and _rounded(row["mean"]) == best else ""
    return rows


def to_markdown(table: Sequence[Row]) -> str:
    """The table as Markdown: a part a metric, a row a configuration, a column an exit; the best are bold."""
    measured = [row for row in table if row["exit"]]
    exits = sorted({row["exit"] for row in measured})
    told = ["in brackets 95 % intervals over clips (bootstrap)"] if any(row["low"] for row in measured) else []
    told += ["after ± those over seeds (Student's t)"] if any(row["seed_spread"] for row in measured) else []
    parts = [f"Means over clips; {', '.join(told)}."] if told else []
    for metric in TABLE_METRICS if measured else ():
        headings = ["training", "model", "exits", "seeds", *(f"exit {exit}" for exit in exits)]
        lines = [f"**{METRICS[metric]}**", "", f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]
        for key in dict.fromkeys(map(_key, table)):
            training, model, names = key
            cells = {row["exit"]: row for row in measured if _key(row) == key and row["metric"] == metric}
            seeds = max((row["seeds"] for row in cells.values()), key=int, default="0")
            shown = {exit: _shown(row) for exit, row in cells.items()}
            if not cells:  # said in the columns of its exits, or where it has none of them
                shown = dict.fromkeys(set(names.split()).intersection(exits) or exits[:1], _NOT_TRAINED)
            row = [training, model, names.replace(" ", ", "), seeds, *(shown.get(exit, "") for exit in exits)]
            lines.append(f"| {' | '.join(row)} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def others_to_markdown(runs: Sequence[Run]) -> str:
    """What was measured on the same clips and is no row of the table: the noisy input, peers, other baselines."""
    own = {system for run in runs for system in run.systems.values()}
    own |= {BASELINE for run in runs if run.configuration.family == BASELINE}
    systems: dict[str, Run] = {}
    for run in runs:
        for row in run.rows:
            if row["system"] not in own:
                systems.setdefault(row["system"], run)
    lines = [f"| on the same clips | {' | '.join(METRICS[metric] for metric in TABLE_METRICS)} |"]
    lines.append("|---" * (1 + len(TABLE_METRICS)) + "|")
    for system, run in systems.items():
        model = next(row["model"] for row in run.rows if row["system"] == system)
        means = [_mean(scores_of(run.rows, system, metric).values()) for metric in TABLE_METRICS]
        shown = ["" if mean is None else f"{mean:.{_DECIMALS}f}" for mean in means]
        lines.append(f"| {system}{f' ({model})' if model else ''} | {' | '.join(shown)} |")
    return "\n".join(lines)


def read_paper(path: Path) -> list[Row]:
    """Numbers of the paper, a row each.

    Arguments
    ---------
    path : Path
        CSV with `PAPER_COLUMNS`. `kind` is `mean`, or `share_of_baseline`; an empty `training` is not known.

    Returns
    -------
    list of dict
        With `PAPER_COLUMNS`, as text.

    Raises
    ------
    InputError
        When it is no such file.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            float(row["value"])
            int(row["exit"] or 0)
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: no such file; give a CSV file with the columns {', '.join(PAPER_COLUMNS)}"
        ) from error
    except (UnicodeDecodeError, csv.Error, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: no table of numbers, a row has no value; correct it") from error
    if not rows or not set(PAPER_COLUMNS) <= rows[0].keys():
        raise InputError(f"{path}: needs the columns {', '.join(PAPER_COLUMNS)} and a row")
    if unknown := {row["metric"] for row in rows} - _PAPER_METRICS.keys():
        raise InputError(f"{path}: no metric {', '.join(sorted(unknown))}; choose from {', '.join(_PAPER_METRICS)}")
    return rows


def compare_with_paper(paper: Iterable[Row], runs: Sequence[Run]) -> str:
    """Each of the paper's numbers beside those of the same models here, as Markdown."""
    lines = ["| | the paper | here |", "|---|---|---|"]
    trained = {run.configuration.family for run in runs}
    for row in paper:
        is_share = row["kind"] == "share_of_baseline"
        show: Callable[[float], str] = "{:.0%}".format if is_share else f"{{:.{_DECIMALS}f}}".format
        where = f", exit {row['exit']}" if row["exit"] else ""
        metric = _PAPER_METRICS[row["metric"]]
        what = f"{row['model']}{where}: {metric}{', of the baseline' if is_share else ''}"
        here = [f"{name}: {show(value)}" if name else show(value) for name, value in _same_here(row, runs)]
        lacks_baseline = is_share and row["model"] in trained and baseline_of(runs) is None
        without = _NO_BASELINE if lacks_baseline else _NOT_TRAINED
        lines.append(f"| {what} | {show(float(row['value']))} | {'; '.join(here) or without} |")
    return "\n".join(lines)


def _key(row: Row) -> tuple[str, str, str]:
    return row["training"], row["model"], row["exits"]


def _cell(runs: Sequence[Run], exit: int, metric: str) -> Row:
    scores = [of_run for run in runs if exit in run.systems and (of_run := run.scores(exit, metric))]
    clips = sorted(set.intersection(*(set(of_run) for of_run in scores))) if scores else []
    cell = {"exit": str(exit), "metric": metric, "seeds": str(len(scores)), "clips": str(len(clips))}
    if not clips:
        return cell | {"status": "no clip has a score"}
    values = np.array([[of_run[clip] for clip in clips] for of_run in scores])
    mean, low, high = interval(values.mean(axis=0))
    found = {"mean": mean, "low": low, "high": high, "seed_spread": seed_spread(values.mean(axis=1))}
    return cell | {name: f"{value:.6f}" for name, value in found.items() if value is not None}


def seed_spread(means: NDArray[np.float64]) -> float | None:
    """Half the 95 % interval of trainings' mean, by Student's t: too few for resampling. One training has none."""
    if len(means) == 1:
        return None
    return float(scipy.stats.t.ppf(0.975, len(means) - 1) * scipy.stats.sem(means))


def _shown(row: Row) -> str:
    if not row["mean"]:
        return row["status"]
    text = f"{_rounded(row['mean']):.{_DECIMALS}f}"
    seeds = f" ± {float(row['seed_spread']):.{_DECIMALS}f}" if row["seed_spread"] else ""
    clips = f" [{float(row['low']):.{_DECIMALS}f}, {float(row['high']):.{_DECIMALS}f}]" if row["low"] else ""
    return (f"**{text}**" if row["is_best"] else text) + seeds + clips


def _rounded(value: str) -> float:
    return round(float(value), _DECIMALS)


def _mean(values: Iterable[float]) -> float | None:
    values = list(values)
    return sum(values) / len(values) if values else None


def _same_here(row: Row, runs: Sequence[Run]) -> list[tuple[str, float]]:
    """Our numbers of one of the paper's, and of which configuration each is."""
    metric = _OURS.get(row["metric"])
    if row["model"] == NOISY:
        values = [_mean(scores_of(run.rows, NOISY, metric).values()) for run in runs[:1] if metric]
        return [("", value) for value in values if value is not None]
    exit = int(row["exit"]) if row["exit"] else LAST_STAGE
    found = []
    for configuration, some in by_configuration(runs).items():
        if configuration.family == row["model"] and row["training"] in ("", configuration.scheme):
            values = [_value(run, exit, row, metric, runs) for run in some if exit in run.systems]
            if (mean := _mean(value for value in values if value is not None)) is not None:
                found.append((str(configuration), mean))
    return found


def _value(run: Run, exit: int, row: Row, metric: str | None, runs: Sequence[Run]) -> float | None:
    if row["metric"] == "macs":
        return run.macs_shares.get(run.systems[exit])
    scores: Mapping[str, float] = run.scores(exit, metric) if metric else {}
    if row["kind"] == "mean":
        return _mean(scores.values())
    baseline = baseline_of(runs)
    if baseline is None or metric is None:
        return None
    theirs = scores_of(baseline[1].rows, baseline[0], metric)
    common = scores.keys() & theirs.keys()
    return sum(scores[clip] for clip in common) / sum(theirs[clip] for clip in common) if common else None
