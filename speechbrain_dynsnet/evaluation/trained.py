"""How the models of a table were trained: what their bundles record, and which of them are alike in it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from speechbrain_dynsnet.evaluation.configurations import Run, by_configuration

_SHORT = 12  # digits of a checksum
# What tells configurations apart, or shares a budget out among their phases.
_OWN = (
    *("seed", "family", "scheme", "exits", "architecture", "phases", "best", "max_epochs", "clips_per_epoch"),
    *("patience", "num_workers", "trial_epochs", "baseline_weights"),
)


def trainings_to_markdown(runs: Sequence[Run]) -> str:
    """A line for each way of training, with the models that it is of.

    Arguments
    ---------
    runs : sequence of Run
        See `read_runs`.

    Returns
    -------
    str
        A list in Markdown. Models share a line when all that is recorded of them is alike, but for what tells the
        configurations apart.
    """
    alike: dict[tuple[str, str], list[str]] = {}
    for configuration, some in by_configuration(runs).items():
        ways = [(_describe(run.training), _rest(run.training)) for run in some]
        for way in dict.fromkeys(ways):
            seeds = ", ".join(str(run.seed) for run, its in zip(some, ways, strict=True) if its == way)
            name = str(configuration) if len(set(ways)) == 1 else f"{configuration} (seed {seeds})"
            alike.setdefault(way, []).append(name)
    lines = [f"- {'; '.join(names)}: {told}." for (told, _), names in alike.items()]
    if len({told for told, _ in alike}) < len(alike):
        lines += ["", "Where two of these lines read alike, other settings differ: see `config.json` of the models."]
    return "\n".join(["How they were trained:", "", *lines])


def hours_heard(training: Mapping[str, Any]) -> float | None:
    """Hours of audio in all phases, when none stops early; None when that is not recorded, or read from shards."""
    shards = (training.get("data") or {}).get("train", {}).get("shards")
    if shards or not {"phases", "clips_per_epoch", "clip_s"} <= training.keys():
        return None
    epochs = sum(phase.get("max_epochs", 0) for phase in training["phases"])
    return float(epochs * training["clips_per_epoch"] * training["clip_s"] / 3600.0)


def _describe(training: Mapping[str, Any]) -> str:
    if "phases" not in training:
        return "not recorded"
    hours = hours_heard(training)
    options = training.get("options") or {}
    data = (training.get("data") or {}).get("train", {})
    facts = [
        "" if hours is None else f"at most {hours:.{0 if hours >= 10 else 2}f} hours of audio",
        "from a trained baseline, whose own hours are not among them"
        if training.get("baseline_weights")
        else "from random weights",
        f"batches of {training['batch_size']} clips of {training['clip_s']:g} s"
        if {"batch_size", "clip_s"} <= training.keys()
        else "",
        f"learning rate {training['lr']:g} ({training['schedule']})" if {"lr", "schedule"} <= training.keys() else "",
        f"precision {options['precision']}" if "precision" in options else "",
        f"features whitened by {training['whitening']:g}" if training.get("whitening") else "",
        f"moving average {training['average_decay']:g}" if training.get("average_decay") else "",
        f"training data {str(data['sha256'])[:_SHORT]}..." if "sha256" in data else "",
        _teacher(training),
    ]
    return ", ".join(filter(None, facts))


def _rest(training: Mapping[str, Any]) -> str:
    return json.dumps({name: value for name, value in training.items() if name not in _OWN}, sort_keys=True)


def _teacher(training: Mapping[str, Any]) -> str:
    digest = training.get("teacher_weights")
    if not digest:
        return "no teacher"
    weight = f", weighted {training['teacher_weight']:g}" if "teacher_weight" in training else ""
    return f"the masks of a teacher as a second target for every exit{weight} (SHA-256 {digest[:_SHORT]}...)"
