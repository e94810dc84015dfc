"""A budget of audio for a whole run: how many epochs of how many clips come to so many hours, over all phases."""

from __future__ import annotations

import math
from dataclasses import dataclass

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.data.pairs import clip_samples
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.training.recipe import Recipe

TOLERANCE = 0.01  # an epoch is whole batches


@dataclass(frozen=True)
class Budget:
    """What to set in a recipe.

    Arguments
    ---------
    max_epochs, clips_per_epoch : int
        The recipe's keys.
    patience : int
        So much that no phase stops early: the budget is spent.
    hours : float
        Of audio that the run hears then.
    """

    max_epochs: int
    clips_per_epoch: int
    patience: int
    hours: float


def share_out(hours: float, recipe: Recipe) -> Budget:
    """Share hours of audio out among the phases of a recipe, as the caps of their epochs have it.

    Arguments
    ---------
    hours : float
        To within `TOLERANCE`.
    recipe : Recipe
        Whose epochs become about as long as they were.

    Returns
    -------
    Budget
        What comes to these hours.

    Raises
    ------
    InputError
        When these are too few for whole batches in all epochs.
    """
    max_epochs, batches = _divide(hours / _hours_of_batches(recipe), recipe.clips_per_epoch / recipe.batch_size)
    if not batches:
        raise InputError(
            f"{hours:g} hours are too few for {sum(_caps(recipe))} epochs of whole batches of {recipe.batch_size} "
            f"clips: give {least_hours(recipe):g} or more, or a smaller batch_size"
        )
    spent = max_epochs * batches * _hours_of_batches(recipe)
    return Budget(max_epochs, batches * recipe.batch_size, max_epochs * max(_caps(recipe)), spent)


def least_hours(recipe: Recipe) -> float:
    """Hours that `share_out` can share out, and so any more."""
    return math.ceil(1000 * _hours_of_batches(recipe) * 0.5 / TOLERANCE) / 1000


def _hours_of_batches(recipe: Recipe) -> float:
    """Of one in each epoch, with max_epochs 1."""
    hours_of_batch = recipe.batch_size * clip_samples(recipe.clip_s) / SAMPLE_RATE / 3600.0
    return hours_of_batch * sum(_caps(recipe))


def _caps(recipe: Recipe) -> list[int]:
    """How the caps grow from phase to phase is the scheme's own affair; they are multiples of max_epochs."""
    return [phase.max_epochs // recipe.max_epochs for phase in recipe.phases]


def _divide(total: float, usual: float) -> tuple[int, int]:
    """Epochs, and about the usual number of batches for each, that come near enough to a total; else (0, 0)."""
    for epochs in range(max(1, round(total / usual)), 0, -1):
        batches = round(total / epochs)
        if abs(epochs * batches - total) <= TOLERANCE * total:
            return epochs, batches
    return 0, 0
