"""Evaluations that never ran: folders as `dynsnet evaluate` writes them, with scores that are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from speechbrain_dynsnet.evaluation.evaluate import COLUMNS, Row
from speechbrain_dynsnet.evaluation.metrics import METRICS
from speechbrain_dynsnet.evaluation.results import ResultFolder
from speechbrain_dynsnet.evaluation.summary import COLUMNS as SUMMARY_COLUMNS
from speechbrain_dynsnet.evaluation.summary import summarise

SNRS_DB = (0.0, 2.5, 7.0, 12.0)
CATEGORIES = ("fan", "fan", "birds", "babble")
SHARES = {"exit_0": 0.024, "exit_1": 0.214, "exit_3": 0.570, "exit_5": 0.676, "baseline": 1.0}

Values = Sequence[float | None]


def make_rows(systems: Mapping[str, Values], model: str = "known") -> list[Row]:
    """Every metric of a clip has the same value; None is a failure."""
    clips = len(next(iter(systems.values())))
    rows = []
    for clip in range(clips):
        for system, values in systems.items():
            value = values[clip]
            exit = "5" if system == "baseline" else system.removeprefix("exit_") if "exit_" in system else ""
            rows.append(
                {
                    "clip": f"fileid_{clip}",
                    "system": system,
                    "model": model if exit else "",
                    "exit": exit,
                    **dict.fromkeys(METRICS, "" if value is None else f"{value:.6f}"),
                    "failures": "pesq_wb: silent" if value is None else "",
                    "snr_db": f"{SNRS_DB[clip % 4]:g}",
                    "noise_category": CATEGORIES[clip % 4],
                }
            )
    return rows


def write_results(
    folder: Path,
    systems: Mapping[str, Values],
    model: str = "concat_joint_4",
    test_set: str = "known",
    identities: Mapping[str, Mapping[str, Any]] | None = None,
) -> Path:
    """A finished evaluation; `identities` adds to what its settings say of a system."""
    rows = make_rows(systems, model)
    exits = [int(name.removeprefix("exit_")) for name in systems if "exit_" in name]
    settings = {
        "systems": list(systems),
        "models": {
            name: ({"model": model, "exits": exits} if "exit_" in name else {}) | dict((identities or {}).get(name, {}))
            for name in systems
        },
        "test_set": {"name": test_set, "clips": len(rows) // len(systems), "sha256": f"of {test_set}"},
    }
    results = ResultFolder(folder, settings, (*COLUMNS, "snr_db", "noise_category"))
    results.finish(rows)
    results.write_summary(SUMMARY_COLUMNS, summarise(rows, macs_shares=SHARES))
    return folder
