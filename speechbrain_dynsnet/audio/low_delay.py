"""Change the sample rate of a signal while it arrives, with as little delay as the filter allows.

soxr, which does it for recordings, gives blocks of 30 ms and more; that is for calls too late. This is the textbook's
polyphase filter (Crochiere and Rabiner, Multirate Digital Signal Processing, 1983; window by Kaiser), a sample in, what
is ready out, and numpy alone.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
_STOPBAND_DB = 80.0
_PASSED = 0.9  # of the lower rate's half is passed as it is; from 1.0 on nothing is
# At most, where the input is the lower rate. Rates with a small common factor would need more: they take the nearest,
# with errors of -69 dB.
_PHASES = 4096
_FEW = 8  # phases that are gone through one by one


class LowDelayResampler:
    """Linear phase; a sample of the result waits for `delay_s` of the input after it, and no longer.

    Time 0 stays time 0. What is between 0.9 and 1.0 of half the lower rate is turned down, what is above is gone.

    Arguments
    ---------
    from_hz, to_hz : int
        Sample rates in Hz, not the same.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        divisor = math.gcd(from_hz, to_hz)
        self._up, self._down = to_hz // divisor, from_hz // divisor
        share = min(from_hz, to_hz) / from_hz
        width = math.pi * (1 - _PASSED) * share  # of the transition, in radians a sample
        self._half = math.ceil((_STOPBAND_DB - 7.95) / (2.285 * width) / 2)  # Kaiser's formula
        self._phases = min(self._up, math.ceil(_PHASES * share))
        self._filters = _filters(self._phases, self._half, (1 + _PASSED) / 2 * share)
        self.delay_s = (self._half + 1) / from_hz
        self._taken = self._given = 0  # samples
        self._waiting = np.zeros(self._half - 1, np.float32)  # the last samples, which are needed again

    def process(self, samples: Array) -> Array:
        """Take in (time,) float32; what is ready."""
        waiting = np.concatenate([self._waiting, samples])
        first = self._taken - len(self._waiting)  # its place in the signal
        self._taken += len(samples)
        # Output n is at the input's place n * down / up, and needs `half` samples from the next one on.
        begin, end = self._given, max(self._given, -((self._half - self._taken) * self._up // self._down))
        self._given = end
        result = np.zeros(end - begin, np.float32)
        # The first of each phase; after `up` outputs the phases come again, `down` samples later.
        number = end - begin if self._up > _FEW else min(end - begin, self._up)
        before, between = np.divmod(np.arange(begin, begin + number, dtype=np.int64) * self._down, self._up)
        filters = (2 * between * self._phases + self._up) // (2 * self._up)
        starts = before - (self._half - 1) - first
        if end > begin:
            windows = np.lib.stride_tricks.sliding_window_view(waiting, 2 * self._half)
            if self._up > _FEW:
                np.einsum("nt,nt->n", windows[starts], self._filters[filters], out=result)
            else:  # without copies, up to 15 times as fast
                for place, (start, filter) in enumerate(zip(starts, filters, strict=True)):
                    of_phase = result[place :: self._up]
                    rows = windows[start :: self._down][: len(of_phase)]
                    np.einsum("nt,t->n", rows, self._filters[filter], out=of_phase)
        # A copy: a view would keep all of a long chunk in memory.
        self._waiting = waiting[end * self._down // self._up - (self._half - 1) - first :].copy()
        return result

    def finish(self, length: int | None = None) -> Array:
        """The rest, so that all results together are of this length, or cover the input; nothing may come after."""
        if length is None:
            length = -(-self._taken * self._up // self._down)
        given = self._given
        needed = length * self._down // self._up + self._half + 1
        return self.process(np.zeros(max(0, needed - self._taken), np.float32))[: length - given]


@lru_cache(maxsize=8)
def _filters(phases: int, half: int, cutoff: float) -> Array:
    """(phases + 1, 2 half): the weights of the samples around a place between two of them, from one to the next.

    `cutoff` is a share of half the input's rate.
    """
    distance = np.arange(1 - half, half + 1) - np.arange(phases + 1)[:, np.newaxis] / phases
    beta = 0.1102 * (_STOPBAND_DB - 8.7)  # Kaiser's
    window = np.i0(beta * np.sqrt(np.maximum(0.0, 1 - (distance / half) ** 2)))
    weights = np.sinc(cutoff * distance) * window
    normalised: Array = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    normalised.flags.writeable = False  # all have the same
    return normalised
