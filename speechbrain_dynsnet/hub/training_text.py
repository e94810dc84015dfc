"""How a model was trained, in sentences, from what its bundle records; what is not recorded is said to be not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from speechbrain_dynsnet.hub.prose import counted, listing, percent

_PROBABILITIES = {
    "reverb_probability": "reverberant (the target too)",
    "second_noise_probability": "with two noises",
    "babble_probability": "with babble of several speakers",
    "band_limit_probability": "band-limited as by telephones and codecs",
}


def describe_training(training: Mapping[str, Any], teacher_note: str = "") -> str:
    """Paragraphs on schedule, pairs, loss, start and teacher.

    Arguments
    ---------
    training : mapping
        `training` of the bundle's `config.json`.
    teacher_note : str
        What the teacher was: the bundle has no more than a checksum.

    Returns
    -------
    str
        Markdown.
    """
    if "phases" not in training:  # nothing, or what somebody else noted: then what is missing is unknown
        noted = "; ".join(f"{name}: {value}" for name, value in training.items())
        told = f"The bundle records of it: `{noted}`." if noted else "The bundle does not record how."
        return "\n\n".join([told, *_given(teacher_note)])
    parts = [_schedule(training), _pairs(training), _loss(training), _validation(training)]
    return "\n\n".join([" ".join(filter(None, parts)), *_start(training), _teacher(training, teacher_note)])


def _given(teacher_note: str) -> list[str]:
    return [f"Teacher, as given with the card: {teacher_note}"] if teacher_note else []


def _schedule(training: Mapping[str, Any]) -> str:
    phases = training.get("phases") or []
    scheme = training.get("scheme", "a scheme that is not recorded")
    told = f"Trained by the scheme `{scheme}`"
    if len(phases) > 1:
        told += f" in {len(phases)} phases"
    epochs = sum(phase.get("max_epochs", 0) for phase in phases)
    if epochs:
        told += f", at most {counted(epochs, 'epoch')}"
    if "clips_per_epoch" in training:
        told += f" of {counted(training['clips_per_epoch'], 'pair')}"
    best = training.get("best") or {}
    if "epoch" in best:
        told += f"; these weights are of epoch {int(best['epoch'])}{' of the last phase' if len(phases) > 1 else ''}"
        told += ", the best on the validation pairs"
    facts = [
        f"{training['optimizer']['class']}" if "class" in (training.get("optimizer") or {}) else "",
        f"schedule `{training['schedule']}`" if "schedule" in training else "",
        f"learning rate {training['lr']:g}" if "lr" in training else "",
        f"batches of {training['batch_size']}" if "batch_size" in training else "",
        f"precision {training['options']['precision']}" if "precision" in (training.get("options") or {}) else "",
        f"a moving average of the weights ({training['average_decay']:g})" if training.get("average_decay") else "",
        f"features whitened by {training['whitening']:g}" if training.get("whitening") else "",
        f"seed {training['seed']}" if "seed" in training else "",
    ]
    return f"{told}. " + (f"{', '.join(filter(None, facts))}." if any(facts) else "")


def _pairs(training: Mapping[str, Any]) -> str:
    mixing = training.get("mixing") or {}
    shards = (training.get("data") or {}).get("train", {}).get("shards")
    how = "read from shards" if shards else "mixed on the fly"
    ranges = [
        f"{what} {mixing[name][0]:g} to {mixing[name][1]:g} {unit}"
        for name, what, unit in (("snr_db", "SNR", "dB"), ("level_dbfs", "level", "dBFS"))
        if name in mixing
    ]
    shares = [f"{percent(mixing[name])} {what}" for name, what in _PROBABILITIES.items() if mixing.get(name)]
    if shards or not mixing or "clip_s" not in training:
        return f"Pairs were {how}." if shards else ""
    return f"Pairs of {training['clip_s']:g} s were {how}: {', '.join([*ranges, *shares])}."


def _loss(training: Mapping[str, Any]) -> str:
    phases = training.get("phases") or []
    if "loss" not in training:
        return ""
    told = "The loss is that of arXiv 2308.16678, equations 3 and 4"
    if len(phases) == 1 and len(phases[0].get("exits", [])) > 1:
        weights = [f"{weight:g}" for weight in phases[0]["exit_weights"]]
        told += f", exits {listing(phases[0]['exits'])} weighted {listing(weights)}"
    return f"{told}."


def _validation(training: Mapping[str, Any]) -> str:
    best = training.get("best") or {}
    losses = {name.removeprefix("exit_"): value for name, value in best.items() if name.startswith("exit_")}
    if not losses:
        return ""
    told = listing(f"{value:.3f} at exit {exit}" for exit, value in losses.items())
    beside = f" (a mask of ones, which changes nothing: {best['ones']:.3f})" if "ones" in best else ""
    return f"Validation loss: {told}{beside}."


def _start(training: Mapping[str, Any]) -> list[str]:
    if digest := training.get("baseline_weights"):
        return [f"It started from a trained baseline (SHA-256 of its weights: `{digest}`)."]
    return ["It started from random weights."]


def _teacher(training: Mapping[str, Any], note: str) -> str:
    """Distillation is named, for then what the teacher learned from is in the model too."""
    digest = training.get("teacher_weights")
    if not digest:
        return "\n\n".join(["No teacher was used.", *_given(note)])
    weight = f", weighted {training['teacher_weight']:g}," if "teacher_weight" in training else ""
    return (
        f"**Distilled from a teacher**: beside that loss stands{weight} the distance of each exit's mask to a "
        f"teacher's (SHA-256 of its weights: `{digest}`). What the teacher learned from is so in this model too, "
        "besides the training data below. "
        f"{note or 'What the teacher is, and what it was trained on, is not given.'}"
    )
