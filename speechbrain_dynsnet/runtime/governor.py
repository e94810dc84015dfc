"""Keeps frames within a budget of time by leaving at an earlier exit while the machine is busy."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from statistics import median

from speechbrain_dynsnet.audio.constants import HOP_S
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.runtime.arguments import is_number

DOWN_SHARE, UP_SHARE = 0.8, 0.7  # of the budget, that a predicted time must fit: the gap is the hysteresis
RECENT_FRAMES = 8
HOLD_FRAMES = 31  # 0.5 s
LONGEST_HOLD_FRAMES = 64 * HOLD_FRAMES
TRIAL_FRAMES = 62  # 1 s, after a climb
GOOD_FRAMES = 2 * TRIAL_FRAMES
# What a frame costs besides the network (STFT, overlap-add, calls), as MACs that take as long.
FRAME_OVERHEAD_MACS = 400_000


class Governor:
    """Chooses the exit of each frame from the times of the frames before it.

    The time of another exit is predicted as that of this one, times the ratio of their MACs, each with a constant for
    what the network does not do. Then:

    - A frame over the budget: at once down to the deepest exit that fits 0.8 of it as that frame predicts, else the
      earliest.
    - After a hold, of 0.5 s at first: up to the deepest exit that fits 0.7 of the budget, as the median of the last 8
      frames predicts and the last one does.
    - A late frame in the second after a climb says that it was a mistake if half of the frames since then are late, or
      if the climb before it ended so too; one alone can be a hiccup of the system. After a mistake the hold doubles, up
      to 32 s, and whenever a climb has lasted 2 s more it halves.

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
        hop_ms = 1000 * HOP_S
        if not is_number(budget_ms) or not 0 < budget_ms <= hop_ms:
            raise InputError(
                f"budget_ms is {budget_ms!r}: give milliseconds above 0, at most the {hop_ms:g} of a frame"
            )
        self._budget_ms = float(budget_ms)
        self._costs = {exit: macs + FRAME_OVERHEAD_MACS for exit, macs in sorted(macs_per_frame.items())}
        self._ceiling = ceiling
        self.exit = ceiling
        self._recent: deque[float] = deque(maxlen=RECENT_FRAMES)  # ms per cost, at this exit
        self._last = 0.0  # of them
        self._frames = 0  # since the exit changed or a frame was late
        self._hold = HOLD_FRAMES
        self._climbed = False  # to this exit, and no frame was late since
        self._short_climbs = 0  # in a row

    @property
    def ceiling(self) -> int:
        """The deepest exit to use. When it is raised, the exit follows at once as far as it is predicted to fit."""
        return self._ceiling

    @ceiling.setter
    def ceiling(self, exit: int) -> None:
        free = self.exit == self._ceiling  # nothing but the old ceiling kept it here
        self._ceiling = exit
        if exit < self.exit:
            self._go_to(exit)
        elif free:
            self._go_to(max(self.exit, self._deepest_that_fits(self._last, DOWN_SHARE)))

    def update(self, frame_ms: float) -> None:
        """Take note of a frame that ran at `exit`, and choose the exit of the next."""
        self._last = frame_ms / self._costs[self.exit]
        self._recent.append(self._last)
        self._frames += 1
        if frame_ms > self._budget_ms:
            self._descend()
        else:
            self._consider_climbing()

    def _descend(self) -> None:
        if self._climbed:
            is_short = self._frames <= TRIAL_FRAMES
            self._short_climbs = self._short_climbs + 1 if is_short else 0
            late_by_half = median(self._recent) * self._costs[self.exit] > self._budget_ms
            if is_short and (late_by_half or self._short_climbs > 1):
                self._hold = min(2 * self._hold, LONGEST_HOLD_FRAMES)
        self._frames = 0
        self._climbed = False
        self._go_to(min(self.exit, self._deepest_that_fits(self._last, DOWN_SHARE)))

    def _consider_climbing(self) -> None:
        if self._climbed and self._frames % GOOD_FRAMES == 0:
            self._hold = max(self._hold // 2, HOLD_FRAMES)
        if self._frames >= self._hold and self.exit < self._ceiling:
            exit = self._deepest_that_fits(max(self._last, median(self._recent)), UP_SHARE)
            if exit > self.exit:
                self._go_to(exit)
                self._climbed = True

    def _go_to(self, exit: int) -> None:
        if exit != self.exit:
            self.exit = exit
            self._frames = 0
            self._climbed = False
            self._recent.clear()

    def _deepest_that_fits(self, ms_per_cost: float, share: float) -> int:
        allowed = [exit for exit in self._costs if exit <= self._ceiling]
        fitting = [exit for exit in allowed if ms_per_cost * self._costs[exit] <= share * self._budget_ms]
        return max(fitting, default=allowed[0])
