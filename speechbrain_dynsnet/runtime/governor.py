"""Keeps frames within a budget of time by leaving at an earlier exit while the machine is busy."""

from __future__ import annotations

import math
from collections.abc import Mapping

from speechbrain_dynsnet.audio.constants import HOP, SAMPLE_RATE
from speechbrain_dynsnet.errors import InputError

HOP_MS = 1000 * HOP / SAMPLE_RATE
DOWN_SHARE, UP_SHARE = 0.8, 0.7  # of the budget, that a predicted time must fit: the gap is the hysteresis
HOLD_FRAMES = 62  # 1 s
LONGEST_HOLD_FRAMES = 30 * HOLD_FRAMES
GOOD_STRETCH_FRAMES = 60 * HOLD_FRAMES
# What a frame costs besides the network (STFT, overlap-add, calls), as MACs that take as long.
FRAME_OVERHEAD_MACS = 400_000


class Governor:
    """Chooses the exit of each frame from the time that the frame before took.

    The time of another exit is predicted as the last frame's, times the ratio of their MACs, each with a constant for
    what the network does not do. Then:

    - A frame over the budget: at once down to the deepest exit whose prediction fits 0.8 of it, else the earliest.
    - Up one exit when its prediction has fitted 0.7 of the budget for each frame of a hold, of 1 s at first.
    - A late frame within four holds of a climb says that it was a mistake: the hold doubles, up to 30 s. A minute
      without a late frame brings it back to 1 s.

    No frame takes longer than a hop (16 ms), as long as the earliest exit fits and the time of a frame exceeds what the
    frame before it predicts by less than a factor of 16 / `budget_ms`: a smaller budget guards against larger jumps.

    Arguments
    ---------
    macs_per_frame : mapping
        From each exit to its multiply-accumulates.
    budget_ms : float
        Time for a frame, above 0 and at most 16.
    ceiling : int
        The deepest exit to use.

    Raises
    ------
    InputError
        For another budget.
    """

    def __init__(self, macs_per_frame: Mapping[int, int], budget_ms: float, ceiling: int) -> None:
        if not (math.isfinite(budget_ms) and 0 < budget_ms <= HOP_MS):
            raise InputError(f"budget_ms is {budget_ms}: give milliseconds above 0, at most the {HOP_MS:g} of a frame")
        self._budget_ms = budget_ms
        self._costs = {exit: macs + FRAME_OVERHEAD_MACS for exit, macs in sorted(macs_per_frame.items())}
        self._ceiling = ceiling
        self.exit = ceiling
        self._ms_per_cost: float | None = None  # of the last frame
        self._fitting = 0  # frames in a row in which the next exit up would fit
        self._hold = HOLD_FRAMES
        self._since_climb = math.inf
        self._since_late = 0

    @property
    def ceiling(self) -> int:
        """The deepest exit to use. When it is raised, the exit follows at once as far as it is predicted to fit."""
        return self._ceiling

    @ceiling.setter
    def ceiling(self, exit: int) -> None:
        free = self.exit == self._ceiling  # nothing but the old ceiling kept it here
        self._ceiling = exit
        if exit < self.exit:
            self.exit = exit
        elif free:
            self.exit = max(self.exit, self._deepest_that_fits())

    def update(self, frame_ms: float) -> None:
        """Take note of a frame that ran at `exit`, and choose the exit of the next."""
        self._ms_per_cost = frame_ms / self._costs[self.exit]
        self._since_climb += 1
        if frame_ms > self._budget_ms:
            self._descend()
        else:
            self._consider_climbing()

    def _descend(self) -> None:
        if self._since_climb <= 4 * self._hold:
            self._hold = min(2 * self._hold, LONGEST_HOLD_FRAMES)
            self._since_climb = math.inf  # one mistake counts once
        self._since_late = self._fitting = 0
        self.exit = min(self.exit, self._deepest_that_fits())

    def _consider_climbing(self) -> None:
        self._since_late += 1
        if self._since_late >= GOOD_STRETCH_FRAMES:
            self._hold = HOLD_FRAMES
        above = [exit for exit in self._costs if self.exit < exit <= self._ceiling]
        if not above or not self._fits(above[0], UP_SHARE):
            self._fitting = 0
            return
        self._fitting += 1
        if self._fitting >= self._hold:
            self.exit = above[0]
            self._since_climb = self._fitting = 0

    def _deepest_that_fits(self) -> int:
        allowed = [exit for exit in self._costs if exit <= self._ceiling]
        return max((exit for exit in allowed if self._fits(exit, DOWN_SHARE)), default=allowed[0])

    def _fits(self, exit: int, share: float) -> bool:
        return self._ms_per_cost is None or self._ms_per_cost * self._costs[exit] <= share * self._budget_ms
