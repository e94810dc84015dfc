"""What each exit costs and what it gives: points of operations, time and quality, and the figure of them."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.evaluation.complexity import exit_costs
from speechbrain_dynsnet.evaluation.configurations import (
    SCHEMES,
    Configuration,
    Run,
    baseline_of,
    by_configuration,
    mean_rows,
    scores_of,
)
from speechbrain_dynsnet.evaluation.engines import RUNTIME
from speechbrain_dynsnet.evaluation.evaluate import Row
from speechbrain_dynsnet.evaluation.figures import NOISY_COLOUR, QUALITY, SERIES, spread, tidy
from speechbrain_dynsnet.evaluation.metrics import METRICS
from speechbrain_dynsnet.evaluation.summary import interval
from speechbrain_dynsnet.model.architecture import LAST_STAGE, Architecture
from speechbrain_dynsnet.model.network import DynamicNsNet2

TIME = f"{RUNTIME}_frame_median_ms"  # of the columns of `dynsnet bench`
_MANY = 4  # exits, of which a model with more has hollow markers
_FEW = 3  # models whose details can be told apart
_SAME_MACS = 1e-3  # relative; a summary has its shares with six digits


@dataclass(frozen=True)
class CostPoint:
    """What an exit costs and gives.

    Arguments
    ---------
    series : str
        The model; points of one are joined by a line, shallow to deep.
    exit : int
        The stage.
    metric : str
        One of `QUALITY`.
    mean, low, high : float
        Over clips, with a 95 % interval; of one clip that is the mean itself.
    macs_per_second : float
        Multiply-accumulates a second of audio.
    ms_per_frame : float or None
        Measured.
    configuration : Configuration or None
        What was trained; None for a model from elsewhere.
    """

    series: str
    exit: int
    metric: str
    mean: float
    low: float
    high: float
    macs_per_second: float
    ms_per_frame: float | None = None
    configuration: Configuration | None = None


def cost_points(runs: Sequence[Run], times: Sequence[Row] = ()) -> list[CostPoint]:
    """The exits of all configurations, and of a baseline from elsewhere, for each of `QUALITY`.

    Arguments
    ---------
    runs : sequence of Run
        See `read_runs`. Seeds of one configuration are averaged, clip by clip.
    times : sequence of dict
        See `read_times`.

    Returns
    -------
    list of CostPoint
        An exit whose cost its evaluation does not know, or that has no score, is left out.
    """
    points = []
    for configuration, some in by_configuration(runs).items():
        rows = mean_rows(some)
        for exit, system in sorted(some[0].systems.items()):
            found = _points(str(configuration), rows, system, exit, some[0].macs_shares, times)
            points += [replace(point, configuration=configuration) for point in found]
    baseline = baseline_of(runs)
    if baseline and baseline[0] not in baseline[1].systems.values():
        system, run = baseline
        first = next(row for row in run.rows if row["system"] == system)
        name = f"{system} ({first['model']})"
        points += _points(name, run.rows, system, int(first["exit"]), run.macs_shares, times)
    return points


def read_times(path: Path) -> list[Row]:
    """What `dynsnet bench` measured, as `exit`, `macs_per_second` and `ms_per_frame`: the runtime's median.

    Raises
    ------
    InputError
        When the file is no such table.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV file ({error}); give what `dynsnet bench` wrote") from error
    if not rows or not {"exit", "macs_per_second", TIME} <= rows[0].keys():
        raise InputError(f"{path}: needs a row and exit, macs_per_second, {TIME}; give what `dynsnet bench` wrote")
    try:
        return [
            {
                "exit": str(int(row["exit"])),
                "macs_per_second": f"{float(row['macs_per_second']):g}",
                "ms_per_frame": f"{float(row[TIME]):g}",
            }
            for row in rows
        ]
    except ValueError as error:
        raise InputError(f"{path}: a row has no number ({error}); give what `dynsnet bench` wrote") from error


def draw_costs(points: Sequence[CostPoint], noisy: dict[str, float] | None = None) -> Figure:
    """Quality against operations, and against time where it was measured (arXiv 2308.16678, Figure 4).

    Arguments
    ---------
    points : sequence of CostPoint
        Of any number of models.
    noisy : dict or None
        The mean of the noisy input, by metric: a line to beat.

    Returns
    -------
    Figure
        Colours are families, broken lines layerwise training, hollow markers models with more than four exits. Numbers
        are exits; those and the intervals of more than three models would hide each other: they are left out.

    Raises
    ------
    InputError
        When there are no points.
    """
    if not points:
        raise InputError("no exit with a known cost: measure a model, not only files or peers")
    metrics = [metric for metric in QUALITY if any(point.metric == metric for point in points)]
    has_times = any(point.ms_per_frame is not None for point in points)
    figure = Figure(figsize=(10, 3.3 * len(metrics)), layout="constrained")
    grid = figure.subplots(len(metrics), 1 + has_times, sharex="col", sharey="row", squeeze=False)
    names = list(dict.fromkeys(point.series for point in points))
    styles = _styles(points)
    for row, metric in zip(grid, metrics, strict=True):
        for axes, of_time in zip(row, (False, True), strict=False):
            if noisy and metric in noisy:
                axes.axhline(noisy[metric], color=NOISY_COLOUR, linestyle=":", label="noisy input")
            for name in names:
                of_series = [point for point in points if (point.series, point.metric) == (name, metric)]
                of_series.sort(key=lambda point: point.exit)
                _draw_series(axes, of_series, of_time, styles[name], has_details=len(names) <= _FEW)
            tidy(axes, "both")
            axes.margins(x=0.08, y=0.16)
        row[0].set_ylabel(METRICS[metric])
    for axes, label in zip(grid[-1], ("million MACs a second of audio", "ms a frame of 16 ms, one core"), strict=False):
        axes.set_xlabel(label)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
    return figure


def _styles(points: Sequence[CostPoint]) -> dict[str, dict[str, Any]]:
    """Matplotlib's words for each series."""
    configurations = {point.series: point.configuration for point in points}
    groups = list(dict.fromkeys(known.family if known else series for series, known in configurations.items()))
    styles: dict[str, dict[str, Any]] = {}
    for series, known in configurations.items():
        colour, marker = SERIES[groups.index(known.family if known else series) % len(SERIES)]
        is_hollow = known is not None and len(known.exits) > _MANY
        style = {"color": colour, "marker": marker, "markerfacecolor": "white" if is_hollow else colour}
        lines = ["--" if known is not None and known.scheme == SCHEMES[0] else "-", ":", "-."]
        # Two models may differ in their exits alone.
        styles[series] = next(
            (both for line in lines if (both := style | {"linestyle": line}) not in styles.values()), style
        )
    return styles


def _points(
    series: str, rows: Sequence[Row], system: str, exit: int, macs_shares: Mapping[str, float], times: Sequence[Row]
) -> list[CostPoint]:
    if system not in macs_shares:
        return []
    whole = exit_costs(DynamicNsNet2(Architecture("baseline", (LAST_STAGE,))))[-1].macs_per_second
    macs = macs_shares[system] * whole
    points = []
    for metric in QUALITY:
        scores = scores_of(rows, system, metric)
        mean, low, high = interval(np.array([scores[clip] for clip in sorted(scores)]))
        if mean is not None:
            low, high = (mean, mean) if low is None or high is None else (low, high)
            points.append(CostPoint(series, exit, metric, mean, low, high, macs, _time(times, exit, macs)))
    return points


def _time(times: Sequence[Row], exit: int, macs_per_second: float) -> float | None:
    """Measured at that exit of a model of that cost, whichever it is: the same layers take the same time."""
    for row in times:
        if int(row["exit"]) == exit and math.isclose(
            float(row["macs_per_second"]), macs_per_second, rel_tol=_SAME_MACS
        ):
            return float(row["ms_per_frame"])
    return None


def _draw_series(
    axes: Axes, points: Sequence[CostPoint], of_time: bool, style: Mapping[str, Any], has_details: bool
) -> None:
    places = [(point.ms_per_frame if of_time else point.macs_per_second / 1e6, point) for point in points]
    known = [(place, point) for place, point in places if place is not None]
    if not known:
        return
    low, mean, high = (np.array([getattr(point, name) for _, point in known]) for name in ("low", "mean", "high"))
    axes.errorbar(
        [place for place, _ in known],
        mean,
        yerr=spread(low, mean, high) if has_details else None,
        capsize=3,
        label=points[0].series,
        **style,
    )
    for place, point in known if has_details else ():
        axes.annotate(
            str(point.exit),
            (place, point.mean),
            xytext=(7, -12),
            textcoords="offset points",
            fontsize=9,
            color=style["color"],
        )
