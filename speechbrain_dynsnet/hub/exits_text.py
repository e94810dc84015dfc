"""The figures of a card: a table with a row an exit, what it was measured on, and where an exit gains nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from speechbrain_dynsnet.evaluation.complexity import ExitCost, baseline_macs_per_frame
from speechbrain_dynsnet.evaluation.engines import INT8, RUNTIME
from speechbrain_dynsnet.evaluation.evaluate import Row
from speechbrain_dynsnet.evaluation.metrics import METRICS
from speechbrain_dynsnet.evaluation.systems import NOISY
from speechbrain_dynsnet.hub.measured import REQUIRED, SHOWN, Results, exit_system
from speechbrain_dynsnet.hub.prose import listing, table

_NO_NAME = "bundle"  # the folder in which every run leaves its model
_DECIMALS = {"stoi": 3}
_PRECISIONS = {RUNTIME: "ms a frame, float32", INT8: "ms a frame, int8"}


def exits_table(costs: Sequence[ExitCost], results: Results, bench: Mapping[int, Row] | None) -> str:
    """What each exit costs and gives, after the noisy input and before other systems of the same evaluation.

    Arguments
    ---------
    costs : sequence of ExitCost
        Of each exit.
    results : Results
        Scores.
    bench : mapping of int to dict or None
        Times, by exit.

    Returns
    -------
    str
        A table in Markdown, a row a system.
    """
    metrics = results.metrics(SHOWN)
    timed = [engine for engine in _PRECISIONS if bench and all(_ms(row, engine) for row in bench.values())]
    header = ["", "MACs a frame", "of nsNet2", *(METRICS[metric] for metric in metrics)]
    rows = []
    exits = {exit_system(cost.exit): cost for cost in costs}
    for system in sorted(results.systems, key=lambda name: 0 if name == NOISY else 1 if name in exits else 2):
        cost = exits.get(system)
        cells = [_name(system, cost, results)]
        share = cost.share_of_baseline if cost else results.value(system, REQUIRED[0], "macs_share")
        if share is None:
            cells += ["", ""]
        else:
            cells += [f"{round(share * baseline_macs_per_frame()):,}", f"{100 * share:.1f} %"]
        cells += [_score(results.value(system, metric), metric) for metric in metrics]
        cells += [f"{float(_ms(bench[cost.exit], engine)):.3f}" if cost and bench else "" for engine in timed]
        rows.append(cells)
    return table([*header, *(_PRECISIONS[engine] for engine in timed)], rows)


def measurement(results: Results, bench: Mapping[int, Row] | None, note: str) -> str:
    """On what, and with how much certainty, the figures of the table were measured."""
    name = results.test_set.get("name")
    test_set = f"the test set `{name}`" if name else "a test set that is not named"
    conditions = f" ({', '.join(results.conditions)})" if results.conditions else ""
    digest = results.test_set.get("sha256")
    parts = [
        f"Means over {results.clips:,} clips of {test_set}{conditions}, scored by `dynsnet evaluate`"
        + (f" (SHA-256 of the set: `{digest}`)." if digest else "."),
        "" if results.test_set else "That it was these weights is not recorded beside the figures.",
        note or "What the test set holds otherwise, and whether its speakers are in the training data, is not given.",
        _certainty(results),
        "DNSMOS has two scales, and papers mix them up: P.808 is one overall opinion score, P.835 OVRL the overall "
        "score of the three-part test.",
        f"MACs are multiply-accumulates of the weights; nsNet2 itself has {baseline_macs_per_frame():,} a frame of "
        "16 ms.",
        *_failures(results),
    ]
    if bench is None:
        parts.append("Times were not measured.")
    else:
        first = next(iter(bench.values()))
        parts.append(
            f"Times are medians of {first['frames_timed']} frames of 16 ms, the network alone, in onnxruntime "
            f"on {first['threads']} thread of {first['cpu']} (`dynsnet bench`)."
        )
    return " ".join(filter(None, parts))


def comparisons(results: Results, costs: Sequence[ExitCost]) -> list[str]:
    """Where an exit is worse than what it was compared with, and where a deeper one is not measurably better.

    By the 95 % interval of the mean difference on the same clips; with other systems the deepest exit is compared by
    its means, as they are printed.
    """
    told = []
    for cost in costs:
        system = exit_system(cost.exit)
        worse, same = [], []
        compared = ""
        for metric, row in results.systems[system].items():
            low, high = (results.value(system, metric, f"difference_{end}") for end in ("low", "high"))
            if metric not in SHOWN or low is None or high is None:
                continue
            compared = row["compared_with"]
            if high < 0:
                worse.append(f"{METRICS[metric]} ({_score(float(row['difference']), metric)})")
            elif low <= 0:
                same.append(METRICS[metric])
        against = "the noisy input" if compared == NOISY else compared.replace("_", " ")
        if worse:
            told.append(f"Exit {cost.exit} scores below {against} in {listing(worse)}.")
        if same:
            told.append(f"Exit {cost.exit} is not measurably better than {against} in {listing(same)}.")
    exits = {exit_system(cost.exit) for cost in costs}
    deepest = costs[-1].exit
    for system in results.systems:
        if system == NOISY or system in exits:
            continue
        pairs = {
            metric: [_score(results.value(one, metric), metric) for one in (exit_system(deepest), system)]
            for metric in results.metrics(SHOWN)
        }
        less = [f"{METRICS[m]} ({a} against {b})" for m, (a, b) in pairs.items() if a and b and float(a) < float(b)]
        if less:
            told.append(f"Exit {deepest} has a lower mean than {system} in {listing(less)}.")
    return told


def _name(system: str, cost: ExitCost | None, results: Results) -> str:
    if system == NOISY:
        return "noisy input"
    if cost:
        return f"exit {cost.exit}"
    model = next(iter(results.systems[system].values())).get("model", "")
    return system if model in ("", system, _NO_NAME) else f"{system} ({model})"


def _score(value: float | None, metric: str) -> str:
    return "" if value is None else f"{value:.{_DECIMALS.get(metric, 2)}f}"


def _ms(row: Row, engine: str) -> str:
    return row.get(f"{engine}_frame_median_ms") or ""


def _certainty(results: Results) -> str:
    """The widest 95 % interval of each figure that no card is without."""
    told = []
    for metric in REQUIRED:
        ends = [
            (results.value(system, metric, "high"), results.value(system, metric, "low")) for system in results.systems
        ]
        widths = [high - low for high, low in ends if high is not None and low is not None]
        if widths:
            told.append(f"±{max(widths) / 2:.2f} in {METRICS[metric]}")
    return f"The 95 % intervals over clips are at most {listing(told)}." if told else ""


def _failures(results: Results) -> list[str]:
    return [
        f"{system.replace('_', ' ')} has no {METRICS.get(metric, metric)} on {int(row['failures'])} of these clips."
        for system, rows in results.systems.items()
        for metric, row in rows.items()
        if int(row["failures"] or 0)
    ]
