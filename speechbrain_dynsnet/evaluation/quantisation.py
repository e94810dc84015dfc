"""What an exported file loses against the network that it came from, in PESQ and DNSMOS P.808, exit by exit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.evaluation.configurations import scores_of
from speechbrain_dynsnet.evaluation.evaluate import Row, evaluate
from speechbrain_dynsnet.evaluation.metrics import METRICS
from speechbrain_dynsnet.evaluation.summary import difference
from speechbrain_dynsnet.evaluation.systems import Network, Pair, find_exits

# A row for each exit and metric: the means of both over the clips that both have a score of, and the mean change with
# its 95 % interval (bootstrap over clips; negative is lost).
COLUMNS = (
    *("exit", "metric", "reference", "exported"),
    *("common_clips", "difference", "difference_low", "difference_high"),
)
LOSS_METRICS = ("pesq_wb", "p808_mos")
LARGEST_LOSS = 0.02  # of either metric, at any exit: what a file in int8 may cost
_REFERENCE, _EXPORTED = "reference", "exported"


def quantisation_loss(reference: Path, exported: Path, pairs: Sequence[Pair], jobs: int = 1) -> list[Row]:
    """Score both at every exit of the exported file, and compare them clip by clip.

    Arguments
    ---------
    reference : Path
        A bundle, public nsNet2 weights (.npz), or an exported file in float32.
    exported : Path
        The `.onnx` file in question; with an open time axis it takes the least time.
    pairs : sequence of Pair
        A test set.
    jobs : int
        Processes, of about 1 GB each. Any number gives the same rows.

    Returns
    -------
    list of dict
        With `COLUMNS`; what has no score is empty.

    Raises
    ------
    InputError
        When the exported file has an exit that the reference lacks, or a file cannot be read.
    """
    exits = find_exits(exported)
    if missing := sorted(set(exits) - set(find_exits(reference))):
        raise InputError(f"{reference}: has no exit {missing[0]}, and {exported.name} has; compare files of one model")
    systems = [Network(reference, _REFERENCE, exits), Network(exported, _EXPORTED, exits)]
    rows = [
        row | {"system": f"{row['model']} {row['exit']}"} for rows in evaluate(pairs, systems, jobs) for row in rows
    ]
    return [_compare(rows, exit, metric) for exit in exits for metric in LOSS_METRICS]


def to_markdown(rows: Sequence[Row]) -> str:
    """What `quantisation_loss` found as a table, and whether it is within `LARGEST_LOSS`."""
    lines = [
        "| exit | metric | clips | before | after | change | 95 % interval | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        interval = (
            f"{float(row['difference_low']):+.3f} to {float(row['difference_high']):+.3f}"
            if row["difference_low"]
            else ""
        )
        means = (f"{float(row[name]):.3f}" if row[name] else "" for name in (_REFERENCE, _EXPORTED))
        change = f"{float(row['difference']):+.3f}" if row["difference"] else ""
        verdict = "" if not row["difference"] else "met" if is_met(row) else "missed"
        cells = (row["exit"], METRICS[row["metric"]], row["common_clips"], *means, change, interval, verdict)
        lines.append(f"| {' | '.join(cells)} |")
    return f"At most {LARGEST_LOSS} of each may be lost:\n\n" + "\n".join(lines)


def is_met(row: Row) -> bool:
    """Whether the mean change of a row loses no more than `LARGEST_LOSS`; not without a score."""
    return bool(row["difference"]) and float(row["difference"]) >= -LARGEST_LOSS


def _compare(rows: Sequence[Row], exit: int, metric: str) -> Row:
    before, after = (scores_of(rows, f"{model} {exit}", metric) for model in (_REFERENCE, _EXPORTED))
    common = sorted(before.keys() & after.keys())
    return {
        "exit": str(exit),
        "metric": metric,
        _REFERENCE: _mean([before[clip] for clip in common]),
        _EXPORTED: _mean([after[clip] for clip in common]),
        **difference(after, before),
    }


def _mean(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.6f}" if values else ""
