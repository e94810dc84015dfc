"""Learning-rate schedules by name, each one of torch's."""

from __future__ import annotations

from dataclasses import dataclass

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau

from speechbrain_dynsnet.errors import InputError

SCHEDULES = ("plateau", "one_cycle")


@dataclass(frozen=True)
class Schedule:
    """A torch scheduler, and when it moves."""

    scheduler: LRScheduler

    def after_step(self) -> None:
        """Call once an optimiser step."""
        if not isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step()

    def after_epoch(self, valid_loss: float) -> None:
        """Call once an epoch."""
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(valid_loss)


def make_schedule(name: str, optimizer: Optimizer, total_steps: int) -> Schedule:
    """The schedule of a phase.

    Arguments
    ---------
    name : str
        `plateau`: times 0.9 after 5 epochs without improvement, as in the paper (torch acts when bad epochs
        exceed its patience, hence 4). `one_cycle`: a short warm-up, then a cosine down to nothing at the
        last step of the phase, for a budget that is known beforehand.
    optimizer : Optimizer
        Its learning rate is the start (`plateau`) or the peak (`one_cycle`).
    total_steps : int
        Steps of the whole phase.

    Returns
    -------
    Schedule
        Told of each step and epoch by the Brain.

    Raises
    ------
    InputError
        For a name that does not exist.
    """
    if name == "plateau":
        return Schedule(ReduceLROnPlateau(optimizer, factor=0.9, patience=4))
    if name == "one_cycle":
        peaks = [group["lr"] for group in optimizer.param_groups]
        warmup = min(0.3, 500 / total_steps)
        return Schedule(OneCycleLR(optimizer, peaks, total_steps=total_steps, pct_start=warmup, cycle_momentum=False))
    raise InputError(f"no schedule {name!r}: choose one of {', '.join(SCHEDULES)}")
