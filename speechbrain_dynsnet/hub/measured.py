"""What was measured of a model: the tables of `dynsnet evaluate` and `dynsnet bench`, held against its bundle."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.evaluation.complexity import ExitCost
from speechbrain_dynsnet.evaluation.engines import ENGINES
from speechbrain_dynsnet.evaluation.evaluate import Row
from speechbrain_dynsnet.evaluation.results import CLIPS, SETTINGS, SUMMARY, read_clips
from speechbrain_dynsnet.evaluation.systems import digest_files
from speechbrain_dynsnet.hub.prose import counted
from speechbrain_dynsnet.model.bundle import CONFIG, WEIGHTS

REQUIRED = ("pesq_wb", "p808_mos")  # no card without these
SHOWN = ("pesq_wb", "p808_mos", "ovrl_mos", "stoi", "si_sdr_db")  # in tables and to the Hub; P.835 by its whole alone
_ROUNDING = 1e-6  # of the shares of MACs in a summary
_COMPARISON = ("compared_with", "difference", "difference_low", "difference_high")
_SUMMARY_COLUMNS = ("system", "exit", "macs_share", "metric", "clips", "failures", "mean", "low", "high", *_COMPARISON)
_NUMBERS = ("macs_share", "mean", "low", "high", *_COMPARISON[1:])
_WHOLE = ("exit", "clips", "failures")
_BENCH_COLUMNS = ("family", "exit", "macs_per_frame", "frames_timed", "cpu", "threads")
_BENCH_WHOLE = ("exit", "macs_per_frame", "frames_timed")


@dataclass(frozen=True)
class Results:
    """The summary of an evaluation.

    Arguments
    ---------
    systems : mapping of str to mapping of str to dict
        From system and metric to the row of `summary.csv`.
    clips : int
        How many the test set has.
    test_set : mapping
        `name` and `sha256`, where the evaluation's settings are beside the summary; else empty.
    conditions : sequence of str
        What the evaluation's clips tell of the test set, such as `SNR 0.5 to 19.9 dB`.
    """

    systems: Mapping[str, Mapping[str, Row]]
    clips: int
    test_set: Mapping[str, Any] = field(default_factory=dict)
    conditions: Sequence[str] = ()

    def metrics(self, wanted: Sequence[str]) -> list[str]:
        """Those of `wanted` that any system has a score of."""
        return [metric for metric in wanted if any(self.value(system, metric) is not None for system in self.systems)]

    def value(self, system: str, metric: str, name: str = "mean") -> float | None:
        """A number of one row, or None where there is none."""
        row = self.systems[system].get(metric, {})
        return float(row[name]) if _has(row, name) else None


def exit_system(exit: int) -> str:
    """What an evaluation calls an exit."""
    return f"exit_{exit}"


def read_results(path: Path, bundle: Path, costs: Sequence[ExitCost]) -> Results:
    """The summary of an evaluation of one model at all of its exits.

    Arguments
    ---------
    path : Path
        `summary.csv`, or the folder that holds it. What `dynsnet evaluate` wrote beside it is read too.
    bundle : Path
        The model.
    costs : sequence of ExitCost
        Of each of its exits.

    Returns
    -------
    Results
        Checked against the bundle.

    Raises
    ------
    InputError
        When there is no such file, it is no summary, it is of another model or of other exits, or PESQ or P.808 is
        missing at an exit.
    """
    path = path / SUMMARY if path.is_dir() else path
    advice = f"give the {SUMMARY} that `dynsnet evaluate` wrote for this model"
    rows = _read(path, _SUMMARY_COLUMNS, _NUMBERS, _WHOLE, advice)
    systems: dict[str, dict[str, Row]] = {}
    for row in rows:
        systems.setdefault(row["system"], {})[row["metric"]] = row
    own = [int(row["exit"]) for rows in systems.values() for row in [_first(rows)] if _is_exit(row)]
    _check_exits(path, own, costs, advice)
    for cost in costs:
        scores = systems[exit_system(cost.exit)]
        share = _first(scores)["macs_share"]
        if share and abs(float(share) - cost.share_of_baseline) > _ROUNDING:
            raise InputError(f"{path}: exit {cost.exit} costs something else there, so it is another model; {advice}")
        if missing := [metric for metric in REQUIRED if not _has(scores.get(metric, {}), "mean")]:
            raise InputError(f"{path}: has no {' and no '.join(missing)} of exit {cost.exit}; evaluate the model again")
    noted = _read_settings(path)
    _check_weights(path, noted, bundle, costs, advice)
    clips = max(int(row.get("clips") or 0) + int(row.get("failures") or 0) for row in rows)
    test_set = noted.get("test_set")
    return Results(systems, clips, test_set if isinstance(test_set, dict) else {}, _conditions(path, clips))


def read_bench(path: Path, costs: Sequence[ExitCost], family: str) -> dict[int, Row]:
    """The rows of a bench, by exit.

    Raises
    ------
    InputError
        When there is no such file, it is no table of a bench, or of another model.
    """
    advice = "give the CSV that `dynsnet bench -o` wrote for this model"
    times = [f"{engine}_frame_median_ms" for engine in ENGINES]
    rows = _read(path, _BENCH_COLUMNS, times, _BENCH_WHOLE, advice)
    _check_exits(path, [int(row["exit"] or -1) for row in rows], costs, advice)
    by_exit = {int(row["exit"]): row for row in rows}
    for cost in costs:
        row = by_exit[cost.exit]
        if (row["family"], int(row["macs_per_frame"] or 0)) != (family, cost.macs_per_frame):
            raise InputError(f"{path}: is of another model: exit {cost.exit} is {row['family']} there; {advice}")
    return by_exit


def _read(path: Path, columns: Sequence[str], numbers: Sequence[str], whole: Sequence[str], advice: str) -> list[Row]:
    if not path.is_file():
        raise InputError(f"{path}: no such file; {advice}")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV file ({error}); {advice}") from error
    if not rows:
        raise InputError(f"{path}: has no rows; {advice}")
    if missing := [name for name in columns if name not in rows[0]]:
        raise InputError(f"{path}: lacks the columns {', '.join(missing)}; {advice}")
    for number, row in enumerate(rows, start=1):
        if any(row[name] is None for name in columns):
            raise InputError(f"{path}: row {number} has too few columns; {advice}")
        for name in (*numbers, *whole):
            if _has(row, name) and not (row[name].isdecimal() if name in whole else _is_number(row[name])):
                raise InputError(f"{path}: row {number} has {name} {row[name]!r}, which is no number; {advice}")
    return rows


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _has(row: Mapping[str, str], name: str) -> bool:
    return bool(row.get(name))


def _first(rows: Mapping[str, Row]) -> Row:
    return next(iter(rows.values()))


def _is_exit(row: Row) -> bool:
    return row["exit"].isdecimal() and row["system"] == exit_system(int(row["exit"]))


def _check_exits(path: Path, found: Sequence[int], costs: Sequence[ExitCost], advice: str) -> None:
    expected = [cost.exit for cost in costs]
    if sorted(found) != expected:
        told = f"the exits {sorted(found)}" if found else "no exit of a model"
        raise InputError(f"{path}: has {told}, and this model {expected}; {advice}")


def _read_settings(path: Path) -> Mapping[str, Any]:
    settings = path.parent / SETTINGS
    if path.name != SUMMARY or not settings.is_file():
        return {}
    try:
        noted = json.loads(settings.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{settings}: damaged; evaluate the model again") from error
    return noted if isinstance(noted, dict) else {}


def _check_weights(path: Path, noted: Mapping[str, Any], bundle: Path, costs: Sequence[ExitCost], advice: str) -> None:
    """Another training run of the same architecture has the same exits, and other weights."""
    models = noted.get("models")
    own = digest_files([bundle / CONFIG, bundle / WEIGHTS])
    for cost in costs:
        told = models.get(exit_system(cost.exit)) if isinstance(models, dict) else None
        if isinstance(told, dict) and told.get("sha256", own) != own:
            raise InputError(f"{path}: was measured with other weights than those in {bundle}; {advice}")


def _conditions(path: Path, clips: int) -> list[str]:
    """What the clips beside a summary tell of the test set; nothing when they are not there, or are others."""
    if path.name != SUMMARY or not (path.parent / CLIPS).is_file():
        return []
    rows = list({row["clip"]: row for row in read_clips(path.parent)}.values())
    if len(rows) != clips:
        return []
    told = []
    snr_db = [row.get("snr_db", "") for row in rows]
    if all(map(_is_number, snr_db)):
        told.append(f"SNR {min(map(float, snr_db)):.1f} to {max(map(float, snr_db)):.1f} dB")
    for column, *words in (("speaker", "speaker"), ("noise_category", "category of noise", "categories of noise")):
        if all(names := [row.get(column, "") for row in rows]):
            told.append(counted(len(set(names)), *words))
    return told
