"""Masks that cross over from one exit to another without a click."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.constants import BINS

FADE_FRAMES = 4


class MaskFade:
    """Fades from the last mask before a switch to the masks after it.

    At a switch the last emitted mask h is held, and the new exit's masks n come in linearly: the emitted mask e is
    h + w (n - h) with w = 1/4, 2/4, 3/4, 1. The exit that was left need not run any more. At the switch a gain steps by
    a quarter of the distance to the new mask, and during the fade by no more than

        |e_t - e_(t-1)| <= |n_t - h| / 4 + 3/4 |n_t - n_(t-1)|:

    at most 1/4 beyond what the new exit does by itself. A switch during a fade starts again from the last emitted mask.
    """

    def __init__(self) -> None:
        self.held = np.zeros(BINS, np.float32)  # the mask that fades out
        self.frame = FADE_FRAMES  # frames of the fade that are done

    def start(self, last: NDArray[np.float32]) -> None:
        """Hold the mask emitted last, (257,)."""
        self.held = last.copy()
        self.frame = 0

    def apply(self, mask: NDArray[np.float32]) -> None:
        """Turn the new exit's mask, (257,), into the one to emit, in place."""
        if self.frame == FADE_FRAMES:
            return
        self.frame += 1
        if self.frame < FADE_FRAMES:  # the last one is the new mask itself
            mask -= self.held
            mask *= np.float32(self.frame / FADE_FRAMES)
            mask += self.held

    def stop(self) -> None:
        """Emit masks as they are."""
        self.frame = FADE_FRAMES
