"""Figures of what an evaluation found: scores by exit, by SNR and by type of noise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.evaluation.configurations import scores_of
from speechbrain_dynsnet.evaluation.evaluate import Row
from speechbrain_dynsnet.evaluation.metrics import METRICS
from speechbrain_dynsnet.evaluation.pictures import save_figure
from speechbrain_dynsnet.evaluation.summary import interval
from speechbrain_dynsnet.evaluation.systems import NOISY
from speechbrain_dynsnet.model.architecture import LAST_STAGE

FORMATS = (".png", ".svg")
QUALITY = ("pesq_wb", "p808_mos")  # what the paper's table and figures are of
_SNR_BIN_DB = 5.0
_MOST_TYPES = 20  # of noise; the rest are one
_BOX = "box: quartiles, bar: median, diamond: mean; whiskers: furthest clip within 1.5 box lengths, dots: clips beyond"
# Of Okabe and Ito (2008), which can be told apart with any colour vision, and a marker each.
SERIES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#E69F00", "v"), ("#56B4E9", "P"))
NOISY_COLOUR, _OTHER_COLOUR = "#8c8c8c", "#D55E00"


def draw_boxes(rows: Sequence[Row], title: str = "") -> Figure:
    """Box plots of the clips' scores: a panel a metric, a box a system (arXiv 2308.16678, Figure 3).

    Arguments
    ---------
    rows : sequence of dict
        Of an evaluation: a row for each clip and system. Clips without a score are left out.
    title : str
        Above everything.

    Returns
    -------
    Figure
        Of matplotlib; not yet saved.

    Raises
    ------
    InputError
        When no clip has a score.
    """
    _check(rows)
    systems = _systems(rows)
    metrics = [metric for metric in METRICS if any(row[metric] for row in rows)]
    columns = min(4, len(metrics))
    lines = -(-len(metrics) // columns)
    figure = Figure(figsize=(11, lines * (0.27 * len(systems) + 0.8) + 0.4), layout="constrained")
    grid = figure.subplots(lines, columns, sharey=True, squeeze=False)
    for axes, metric in zip(grid.flat, metrics, strict=False):
        values = [list(scores_of(rows, system, metric).values()) for system in systems]
        drawn = axes.boxplot(
            values,
            orientation="horizontal",
            widths=0.65,
            patch_artist=True,
            showmeans=True,
            meanprops={"marker": "D", "markersize": 3, "markerfacecolor": "white", "markeredgecolor": "black"},
            medianprops={"color": "black"},
            flierprops={"marker": ".", "markersize": 3, "markeredgecolor": "#555555"},
        )
        for box, system in zip(drawn["boxes"], systems, strict=True):
            box.set_facecolor(system_colour(system))
            box.set_alpha(0.75)
        axes.set_yticks(range(1, len(systems) + 1), [_title(system) for system in systems])
        axes.set_xlabel(METRICS[metric])
        tidy(axes, "x")
    grid[0, 0].invert_yaxis()  # shared: for all
    for axes in grid.flat[len(metrics) :]:
        axes.remove()
    # Below, not in a panel: there is not always one to spare.
    figure.supxlabel(_BOX, fontsize=9, color="#444444")
    figure.suptitle(title)
    return figure


def draw_gains(rows: Sequence[Row], metric: str = "pesq_wb", title: str = "") -> Figure:
    """What each exit adds to the one before it, by the SNR of the input (arXiv 2308.16678, Figure 6).

    Arguments
    ---------
    rows : sequence of dict
        Of an evaluation, with the column `snr_db`.
    metric : str
        One of `METRICS`.
    title : str
        Above everything.

    Returns
    -------
    Figure
        Means of the differences of each clip, and their 95 % intervals, in bins of 5 dB. The shallowest exit is
        compared with the noisy input. A clip that lacks one of two scores is left out of that pair.

    Raises
    ------
    InputError
        When no clip has an SNR and two scores to compare.
    """
    _check(rows)
    snrs = {row["clip"]: float(row["snr_db"]) for row in rows if row.get("snr_db")}
    pairs = [(later, earlier, _gains(rows, later, earlier, metric, snrs)) for later, earlier in _neighbours(rows)]
    pairs = [pair for pair in pairs if pair[2]]
    if not pairs:
        raise InputError(f"no clip has an SNR (the column snr_db) and the {METRICS[metric]} of two exits to compare")
    used = [snrs[clip] for clip in {clip for _, _, gains in pairs for clip in gains}]
    first = int(np.floor(min(used) / _SNR_BIN_DB))
    bins = range(first, max(first + 1, int(np.ceil(max(used) / _SNR_BIN_DB))))
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0.0, color="black", linewidth=0.8)
    for place, (later, earlier, gains) in enumerate(pairs):
        offset = min(0.16, 0.8 / len(pairs)) * (place - (len(pairs) - 1) / 2)
        found = [
            interval(np.array([gain for clip, gain in sorted(gains.items()) if _bin(snrs[clip], bins) == one]))
            for one in bins
        ]
        low, mean, high = (np.array([values[part] for values in found], float) for part in (1, 0, 2))
        axes.errorbar(
            np.arange(len(bins)) + offset,
            mean,
            yerr=spread(low, mean, high),
            fmt=system_marker(later),
            color=system_colour(later),
            markeredgecolor="black",
            markeredgewidth=0.5,
            markersize=7,
            capsize=3,
            label=f"{_title(later)} over {_title(earlier)}",
        )
    counts = [sum(_bin(snr, bins) == one for snr in used) for one in bins]
    edges = [(one * _SNR_BIN_DB, (one + 1) * _SNR_BIN_DB) for one in bins]
    ticks = [f"{low:g} to {high:g}\n{count} clips" for (low, high), count in zip(edges, counts, strict=True)]
    axes.set_xticks(range(len(bins)), ticks)
    axes.set_xlim(-0.6, len(bins) - 0.4)
    axes.set_xlabel("SNR of the input (dB)")
    axes.set_ylabel(f"{METRICS[metric]} added")
    tidy(axes, "y")
    figure.legend(loc="outside lower center", ncols=min(4, len(pairs)), frameon=False)
    figure.suptitle(title)
    return figure


def draw_noise_types(rows: Sequence[Row], title: str = "") -> Figure:
    """The mean of each type of noise, a dot a system.

    Arguments
    ---------
    rows : sequence of dict
        Of an evaluation, with the column `noise_category`.
    title : str
        Above everything.

    Returns
    -------
    Figure
        A panel for each of `QUALITY`; the type in which the deepest exit does best is on top. Of more than 20 types
        the rarest are taken together.

    Raises
    ------
    InputError
        When no clip has a type, or the rows hold neither an exit nor the noisy input.
    """
    _check(rows)
    categories = {row["clip"]: row["noise_category"] for row in rows if row.get("noise_category")}
    if not categories:
        raise InputError("no clip has a type of noise: the test set's log.csv needs the column noise_category")
    clips = _by_type(categories)
    systems = [system for system in _systems(rows) if system == NOISY or _exit(rows, system)]
    if not systems:
        raise InputError("no exit of a model to draw by types of noise")
    scores = {(system, metric): scores_of(rows, system, metric) for system in systems for metric in QUALITY}
    best = scores[systems[-1], QUALITY[0]]
    # A type without a score comes last: NaN has no order.
    order = sorted(clips, key=lambda name: (not best.keys().isdisjoint(clips[name]), _mean(best, clips[name])))
    figure = Figure(figsize=(10, 0.3 * len(order) + 1.5), layout="constrained")
    grid = figure.subplots(1, len(QUALITY), sharey=True)
    for axes, metric in zip(grid, QUALITY, strict=True):
        for system in systems:
            is_noisy = system == NOISY
            axes.plot(
                [_mean(scores[system, metric], clips[name]) for name in order],
                range(len(order)),
                linestyle="none",
                marker=system_marker(system),
                color=system_colour(system),
                markeredgecolor=system_colour(system) if is_noisy else "black",
                markeredgewidth=2 if is_noisy else 0.5,
                markersize=11 if is_noisy else 6,
                label=_title(system),
            )
        axes.set_xlabel(f"{METRICS[metric]}, mean")
        tidy(axes, "both")
    names = [f"{name.replace('_', ' ')} ({len(clips[name])})" for name in order]
    grid[0].set_yticks(range(len(order)), names)
    grid[0].set_ylabel("type of noise (clips)")
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(systems), frameon=False)
    figure.suptitle(title)
    return figure


def save_figures(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as PNG and as SVG, each whole or not at all; InputError when it cannot be written."""
    paths = [folder / f"{name}{suffix}" for suffix in FORMATS]
    for path in paths:
        save_figure(figure, path)
    return paths


def system_marker(system: str) -> str:
    """One for each stage, a bar for the noisy input, a cross for anything else."""
    stage = _stage(system)
    return SERIES[stage % len(SERIES)][1] if stage is not None else "|" if system == NOISY else "X"


def system_colour(system: str) -> str:
    """Exits from dark to light by their stage, the noisy input grey, anything else of one colour."""
    if (stage := _stage(system)) is not None:
        rgba = matplotlib.colormaps["viridis"](0.95 * stage / LAST_STAGE)
        return "#" + "".join(f"{round(255 * part):02x}" for part in rgba[:3])
    return NOISY_COLOUR if system == NOISY else _OTHER_COLOUR


def spread(low: NDArray[np.float64], mean: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of an interval, below and above the mean, as `errorbar` has it."""
    return np.stack([mean - low, high - mean])


def tidy(axes: Axes, grid: Literal["both", "x", "y"]) -> None:
    """No frame at the top and right, and thin lines behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def _stage(system: str) -> int | None:
    stage = system.removeprefix("exit_")
    return int(stage) if stage != system and stage.isdecimal() else None


def _check(rows: Sequence[Row]) -> None:
    needed = {"clip", "system", "exit", *METRICS}
    if not rows:
        raise InputError("no rows to draw: the evaluation holds no clip")
    if missing := sorted(needed - rows[0].keys()):
        raise InputError(f"the rows lack {', '.join(missing)}: give those that `dynsnet evaluate` wrote")
    if not any(row[metric] for row in rows for metric in METRICS):
        raise InputError("no clip has a score: see the column failures of the clips")


def _systems(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(row["system"] for row in rows))


def _exit(rows: Iterable[Row], system: str) -> bool:
    """Whether it is an exit of the model that the evaluation is of."""
    return any(row["system"] == system == f"exit_{row['exit']}" for row in rows)


def _neighbours(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Each exit and the one before it, the first of which is the noisy input."""
    systems = _systems(rows)
    exits = sorted((system for system in systems if _exit(rows, system)), key=lambda name: int(name[5:]))
    before = [*([NOISY] if NOISY in systems else []), *exits]
    return list(zip(before[1:], before[:-1], strict=True))


def _gains(rows: Sequence[Row], later: str, earlier: str, metric: str, snrs: dict[str, float]) -> dict[str, float]:
    own, other = scores_of(rows, later, metric), scores_of(rows, earlier, metric)
    return {clip: own[clip] - other[clip] for clip in own.keys() & other.keys() & snrs.keys()}


def _bin(snr_db: float, bins: range) -> int:
    """The upper end of the last bin belongs to it."""
    return min(int(np.floor(snr_db / _SNR_BIN_DB)), bins[-1])


def _by_type(categories: dict[str, str]) -> dict[str, set[str]]:
    clips: dict[str, set[str]] = {}
    for clip, name in categories.items():
        clips.setdefault(name, set()).add(clip)
    common = sorted(clips, key=lambda name: (-len(clips[name]), name))
    if len(common) > _MOST_TYPES:
        rest = {name: clips.pop(name) for name in common[_MOST_TYPES - 1 :]}
        clips[f"{len(rest)} others"] = set().union(*rest.values())
    return clips


def _mean(scores: dict[str, float], clips: set[str]) -> float:
    values = [scores[clip] for clip in clips if clip in scores]
    return sum(values) / len(values) if values else float("nan")


def _title(system: str) -> str:
    return system.replace("exit_", "exit ")
