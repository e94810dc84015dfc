"""Trained models against each other, clip by clip: what tells differences that the intervals of means do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from speechbrain_dynsnet.evaluation.configurations import (
    SCHEMES,
    Configuration,
    Run,
    baseline_of,
    by_configuration,
    mean_rows,
    scores_of,
)
from speechbrain_dynsnet.evaluation.evaluate import Row
from speechbrain_dynsnet.evaluation.metrics import METRICS
from speechbrain_dynsnet.evaluation.summary import BASELINE, difference

_METRICS = ("pesq_wb", "p808_mos", "ovrl_mos")
_DECIMALS = 2


def pairs_to_markdown(runs: Sequence[Run]) -> str:
    """Differences between models on the same clips, and their 95 % intervals.

    Arguments
    ---------
    runs : sequence of Run
        See `read_runs`. Seeds of one configuration are averaged, clip by clip.

    Returns
    -------
    str
        Markdown: joint against layerwise training at each exit, and the deepest exit against the baseline's; empty
        when there is nothing to compare.
    """
    found = by_configuration(runs)
    rows = {configuration: mean_rows(some) for configuration, some in found.items()}
    parts = [_schemes(found, rows), _baseline(runs, found, rows)]
    told = [part for part in parts if part]
    heading = "Differences on the same clips, with 95 % intervals over clips (bootstrap), which say nothing of seeds."
    return "\n\n".join([heading, *told]) if told else ""


def _schemes(found: Mapping[Configuration, Sequence[Run]], rows: Mapping[Configuration, Sequence[Row]]) -> str:
    """Rows of a family, exits and metric; columns of exits."""
    layerwise, joint = SCHEMES
    lines = []
    columns = sorted({exit for some in found.values() for exit in some[0].systems})
    for configuration in found:
        other = Configuration(layerwise, configuration.family, configuration.exits)
        if configuration.scheme != joint or other not in found:
            continue
        systems = found[configuration][0].systems
        common = {exit: system for exit, system in systems.items() if exit in found[other][0].systems}
        for metric in _METRICS:
            cells = [
                _cell(rows[configuration], rows[other], (common[exit], found[other][0].systems[exit]), metric)
                if exit in common
                else ""
                for exit in columns
            ]
            exits = ", ".join(map(str, configuration.exits))
            lines.append(f"| {' | '.join([configuration.family, exits, METRICS[metric], *cells])} |")
    if not lines:
        return ""
    headings = ["model", "exits", "", *(f"exit {exit}" for exit in columns)]
    return "\n".join(
        ["**Joint minus layerwise**", "", f"| {' | '.join(headings)} |", "|---" * len(headings) + "|", *lines]
    )


def _baseline(
    runs: Sequence[Run], found: Mapping[Configuration, Sequence[Run]], rows: Mapping[Configuration, Sequence[Row]]
) -> str:
    """Rows of configurations; columns of metrics."""
    baseline = baseline_of(runs)
    if baseline is None:
        return ""
    system, run = baseline
    name = "our baseline" if run.configuration.family == BASELINE else f"the baseline {_model(run, system)}"
    theirs = rows[run.configuration] if run.configuration.family == BASELINE else run.rows
    lines = []
    for configuration, some in found.items():
        if configuration.family != BASELINE:
            deepest = some[0].systems[max(some[0].systems)]
            cells = [_cell(rows[configuration], theirs, (deepest, system), metric) for metric in _METRICS]
            lines.append(f"| {' | '.join([str(configuration), *cells])} |")
    if not lines:
        return ""
    headings = ["", *(METRICS[metric] for metric in _METRICS)]
    title = f"**Deepest exit minus {name}**"
    return "\n".join([title, "", f"| {' | '.join(headings)} |", "|---" * len(headings) + "|", *lines])


def _model(run: Run, system: str) -> str:
    return next(row["model"] for row in run.rows if row["system"] == system)


def _cell(own: Sequence[Row], other: Sequence[Row], systems: tuple[str, str], metric: str) -> str:
    row = difference(scores_of(own, systems[0], metric), scores_of(other, systems[1], metric))
    if not row["difference"]:
        return ""
    text = f"{float(row['difference']):+.{_DECIMALS}f}"
    if not row["difference_low"]:
        return text
    return text + f" [{float(row['difference_low']):+.{_DECIMALS}f}, {float(row['difference_high']):+.{_DECIMALS}f}]"
