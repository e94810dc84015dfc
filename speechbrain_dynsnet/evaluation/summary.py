"""Means over clips with their 95 % intervals, what one exit gives beyond the last, and the share of a baseline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.evaluation.evaluate import Row
from speechbrain_dynsnet.evaluation.metrics import METRICS
from speechbrain_dynsnet.evaluation.systems import NOISY

# A row for each system and metric. `low` to `high` holds the mean of 95 % of resampled sets of clips. The difference to
# another system, and the share of the baseline's mean, are over the clips that have a score of both.
COLUMNS = (
    *("system", "model", "exit", "macs_share", "metric", "clips", "failures", "mean", "low", "high"),
    *("compared_with", "common_clips", "difference", "difference_low", "difference_high", "share_of_baseline"),
)
BASELINE = "baseline"
_NO_SHARE = {"si_sdr_db"}  # a share of decibels says nothing
_DIFFERENCE = ("difference", "difference_low", "difference_high")
_RESAMPLES = 10000
_SAME = 1e-3  # scores of one noisy clip, measured on two machines
_DECIMALS = {"stoi": 3}

_Table = dict[str, dict[str, dict[str, float]]]  # system, metric, clip


def summarise(
    rows: Sequence[Row],
    baseline: Sequence[Row] | None = None,
    macs_shares: Mapping[str, float] | None = None,
) -> list[Row]:
    """The rows of `summary.csv`, with `COLUMNS`.

    Arguments
    ---------
    rows : sequence of dict
        Of an evaluation; systems are kept in their order.
    baseline : sequence of dict or None
        Of the evaluation that holds the baseline, which may be `rows`; see `find_baseline`.
    macs_shares : mapping or None
        The multiply-accumulates of systems, as shares of nsNet2's.

    Returns
    -------
    list of dict
        An exit is compared with the exit before it, and everything else with the noisy input.

    Raises
    ------
    InputError
        When `baseline` has no or several systems that could be meant, or is of other clips.
    """
    scores = _scores(rows)
    reference = None if baseline is None else _baseline(baseline, scores)
    first_of = {row["system"]: row for row in reversed(rows)}
    total = len({row["clip"] for row in rows})
    result = []
    for system, compared in _comparisons(rows):
        first = first_of[system]
        share = (macs_shares or {}).get(system)
        for metric in METRICS:
            own = scores[system][metric]
            mean, low, high = interval(_values(own))
            row = {
                **{name: first[name] for name in ("system", "model", "exit")},
                "macs_share": "" if share is None else f"{share:.6f}",
                "metric": metric,
                "clips": str(len(own)),
                "failures": str(total - len(own)),
                **_formatted({"mean": mean, "low": low, "high": high}),
            }
            if compared:
                row |= {"compared_with": compared} | difference(own, scores[compared][metric])
            if reference and metric not in _NO_SHARE:
                row |= _formatted({"share_of_baseline": _share(own, reference[metric])})
            result.append({name: row.get(name, "") for name in COLUMNS})
    return result


def find_baseline(rows: Sequence[Row]) -> str:
    """The system of an evaluation that others are measured by: `baseline`, or else the only one beside the input.

    Raises
    ------
    InputError
        When there is none, or several.
    """
    systems = list(dict.fromkeys(row["system"] for row in rows if row["system"] != NOISY))
    if BASELINE in systems:
        return BASELINE
    if len(systems) != 1:
        raise InputError(
            f"the baseline's results hold {', '.join(systems) or 'no system'}: give those of one system, or a model"
        )
    return systems[0]


def interval(values: NDArray[np.float64]) -> tuple[float | None, float | None, float | None]:
    """The mean and its 95 % interval: percentiles of the means of resampled clips (Efron and Tibshirani 1993, 13).

    Arguments
    ---------
    values : array
        (clips,). For a paired comparison, the difference of each clip.

    Returns
    -------
    tuple
        Mean, low, high; None for what so few clips do not have. The same values always give the same interval.
    """
    if not len(values):
        return None, None, None
    mean = float(values.mean())
    if len(values) == 1:
        return mean, None, None
    rng = np.random.default_rng(0)
    # A hundred at a time: all at once would take gigabytes for thousands of clips.
    sizes = [(100, len(values))] * (_RESAMPLES // 100)
    means = np.concatenate([values[rng.integers(len(values), size=size)].mean(axis=1) for size in sizes])
    low, high = np.percentile(means, [2.5, 97.5])
    return mean, float(low), float(high)


def difference(own: Mapping[str, float], other: Mapping[str, float]) -> Row:
    """How much one system scores above another, on the clips that have a score of both.

    Arguments
    ---------
    own, other : mapping
        Scores of one metric, by clip.

    Returns
    -------
    dict
        `common_clips`, and the mean of the clips' `difference` with its interval; empty for what so few clips do not
        have.
    """
    common = sorted(own.keys() & other.keys())
    values = np.array([own[clip] - other[clip] for clip in common])
    return {"common_clips": str(len(common))} | _formatted(dict(zip(_DIFFERENCE, interval(values), strict=True)))


def to_markdown(summary: Sequence[Row]) -> str:
    """The summary as tables: means, differences and (with a baseline) shares."""
    by_system: dict[str, dict[str, Row]] = {}
    for row in summary:
        by_system.setdefault(row["system"], {})[row["metric"]] = row
    clips = max(int(row["clips"]) + int(row["failures"]) for row in summary)
    parts = [
        f"Means over {clips} clips and their 95 % intervals (bootstrap over clips):",
        _markdown(by_system, "MACs of nsNet2", _macs, lambda row: _cell(row, "mean", "low", "high")),
    ]
    if any(row["compared_with"] for row in summary):
        parts += [
            "Differences on the same clips, and their 95 % intervals:",
            _markdown(by_system, "compared with", _compared, lambda row: _cell(row, *_DIFFERENCE)),
        ]
    if any(row["share_of_baseline"] for row in summary):
        parts += ["Shares of the baseline's mean:", _markdown(by_system, "MACs of nsNet2", _macs, _share_cell)]
    failures = [
        f"- {row['system']}, {METRICS[row['metric']]}: {row['clips']} of {clips} clips have a score"
        for row in summary
        if row["failures"] != "0"
    ]
    if failures:
        parts += ["Without a score (the reasons are in the column `failures` of the clips):", "\n".join(failures)]
    return "\n\n".join(parts)


def _scores(rows: Sequence[Row]) -> _Table:
    table: _Table = {}
    for row in rows:
        system = table.setdefault(row["system"], {metric: {} for metric in METRICS})
        for metric in METRICS:
            if row[metric]:
                system[metric][row["clip"]] = float(row[metric])
    return table


def _comparisons(rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """Each system, and the one to compare it with, if any."""
    systems = {row["system"]: row["exit"] for row in rows}
    last_exit = ""
    for system, exit in systems.items():
        if system == NOISY:
            yield system, ""
        elif system == f"exit_{exit}":
            yield system, last_exit or (NOISY if NOISY in systems else "")
            last_exit = system
        else:
            yield system, NOISY if NOISY in systems else ""


def _baseline(rows: Sequence[Row], scores: _Table) -> dict[str, dict[str, float]]:
    table = _scores(rows)
    ours, theirs = (one.get(NOISY, {}).get("si_sdr_db", {}) for one in (scores, table))
    common = ours.keys() & theirs.keys()
    if any(abs(ours[clip] - theirs[clip]) > _SAME for clip in common):
        raise InputError("the baseline's results are of another test set: its noisy clips have other scores")
    found = table[find_baseline(rows)]
    if not any(found[metric].keys() & scores[system][metric].keys() for system in scores for metric in METRICS):
        raise InputError("the baseline's results have no clip in common with these: measure both on one test set")
    return found


def _share(own: Mapping[str, float], other: Mapping[str, float]) -> float | None:
    common = sorted(own.keys() & other.keys())
    if not common:
        return None
    return sum(own[clip] for clip in common) / sum(other[clip] for clip in common)


def _values(scores: Mapping[str, float]) -> NDArray[np.float64]:
    # In the order of names, so that the interval does not depend on that of rows.
    return np.array([scores[clip] for clip in sorted(scores)])


def _formatted(values: Mapping[str, float | None]) -> Row:
    return {name: "" if value is None else f"{value:.6f}" for name, value in values.items()}


def _macs(row: Row) -> str:
    return f"{float(row['macs_share']):.1%}" if row["macs_share"] else ""


def _compared(row: Row) -> str:
    return row["compared_with"]


def _cell(row: Row, mean: str, low: str, high: str) -> str:
    decimals = _DECIMALS.get(row["metric"], 2)
    if not row[mean]:
        return ""
    spread = f" [{float(row[low]):.{decimals}f}, {float(row[high]):.{decimals}f}]" if row[low] else ""
    return f"{float(row[mean]):.{decimals}f}{spread}"


def _share_cell(row: Row) -> str:
    return f"{float(row['share_of_baseline']):.1%}" if row["share_of_baseline"] else ""


def _markdown(
    systems: Mapping[str, Mapping[str, Row]], heading: str, label: Callable[[Row], str], cell: Callable[[Row], str]
) -> str:
    """A row for each system that has anything to show, a column for each metric, and one before them."""
    lines = [f"| | {heading} | {' | '.join(METRICS.values())} |", f"|---|---|{'---|' * len(METRICS)}"]
    for system, rows in systems.items():
        cells = [cell(rows[metric]) for metric in METRICS]
        if any(cells):
            lines.append(f"| {system} | {label(rows[next(iter(METRICS))])} | {' | '.join(cells)} |")
    return "\n".join(lines)
