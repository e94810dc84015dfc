"""How the models of a table were trained: what their bundles record, and which of them are alike in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from speechbrain_dynsnet.evaluation.configurations import Run, by_configuration


def trainings_to_markdown(runs: Sequence[Run]) -> str:
    """A line for each way of training, with the models that it is of.

    Arguments
    ---------
    runs : sequence of Run
        See `read_runs`.

    Returns
    -------
    str
        A list in Markdown.
    """
    alike: dict[str, list[str]] = {}
    for configuration, some in by_configuration(runs).items():
        for told in dict.fromkeys(_describe(run.training) for run in some):
            alike.setdefault(told, []).append(str(configuration))
    return "How they were trained:\n\n" + "\n".join(f"- {'; '.join(names)}: {told}." for told, names in alike.items())


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
    facts = [
        "" if hours is None else f"at most {hours:.{0 if hours >= 10 else 2}f} hours of audio",
        "from a trained baseline" if training.get("baseline_weights") else "from random weights",
        f"batches of {training['batch_size']} clips of {training['clip_s']:g} s"
        if {"batch_size", "clip_s"} <= training.keys()
        else "",
        f"learning rate {training['lr']:g} ({training['schedule']})" if {"lr", "schedule"} <= training.keys() else "",
        f"precision {options['precision']}" if "precision" in options else "",
        f"features whitened by {training['whitening']:g}" if training.get("whitening") else "",
        _teacher(training),
    ]
    return ", ".join(filter(None, facts))


def _teacher(training: Mapping[str, Any]) -> str:
    digest = training.get("teacher_weights")
    if not digest:
        return "no teacher"
    weight = f", weighted {training['teacher_weight']:g}" if "teacher_weight" in training else ""
    return f"the masks of a teacher as a second target for every exit{weight} (SHA-256 {digest[:12]}...)"
