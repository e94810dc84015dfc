"""Change the sample rate of a signal while it arrives, with as little delay as the filter allows.

soxr, which does it for recordings, gives blocks of 30 ms and more; that is for calls too late. This is the textbook's
polyphase filter (Crochiere and Rabiner, Multirate Digital Signal Processing, 1983; window by Kaiser), a sample in, what
is ready out, and numpy alone.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
_STOPBAND_DB = 80.0
_PASSED = 0.9  # of the lower rate's half is passed as it is; from 1.0 on nothing is
_PHASES = 4096  # at most; rates with a small common factor would have more, and take the nearest (errors of -67 dB)
_AT_ONCE = 4096  # outputs, so that a long chunk takes little memory


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
        lower = min(from_hz, to_hz)
        width = math.pi * (1 - _PASSED) * lower / from_hz  # of the transition, in radians a sample
        self._half = math.ceil((_STOPBAND_DB - 7.95) / (2.285 * width) / 2)  # Kaiser's formula
        self._filters = _filters(min(self._up, _PHASES), self._half, (1 + _PASSED) / 2 * lower / from_hz)
        self.delay_s = (self._half + 1) / from_hz
        self._taken = self._given = 0  # samples
        self._waiting = np.zeros(self._half - 1, np.float32)  # the last samples, which are needed again

    def process(self, samples: Array) -> Array:
        """Take in (time,) float32; what is ready."""
        waiting = np.concatenate([self._waiting, samples])
        first = self._taken - len(self._waiting)  # its place in the signal
        self._taken += len(samples)
        # Output n is at the input's place n * down / up, and needs `half` samples from the next one on.
        ready = max(self._given, -((self._half - self._taken) * self._up // self._down))
        places = np.arange(self._given, ready, dtype=np.int64) * self._down
        starts = places // self._up - (self._half - 1) - first
        phases = places % self._up * len(self._filters) // self._up
        windows = np.lib.stride_tricks.sliding_window_view(waiting, 2 * self._half) if ready > self._given else waiting
        results = [
            np.einsum(
                "nt,nt->n", windows[starts[begin : begin + _AT_ONCE]], self._filters[phases[begin : begin + _AT_ONCE]]
            )
            for begin in range(0, len(starts), _AT_ONCE)
        ]
        self._given = ready
        # A copy: a view would keep all of a long chunk in memory.
        self._waiting = waiting[ready * self._down // self._up - (self._half - 1) - first :].copy()
        return np.concatenate([*results, np.zeros(0, np.float32)])

    def finish(self, length: int | None = None) -> Array:
        """The rest, so that all results together are of this length, or cover the input; nothing may come after."""
        if length is None:
            length = -(-self._taken * self._up // self._down)
        given = self._given
        needed = length * self._down // self._up + self._half + 1
        return self.process(np.zeros(max(0, needed - self._taken), np.float32))[: length - given]


def _filters(phases: int, half: int, cutoff: float) -> Array:
    """(phases, 2 half): the weights of the samples around a place between two of them, for each such place.

    `cutoff` is a share of half the input's rate.
    """
    distance = np.arange(1 - half, half + 1) - np.arange(phases)[:, np.newaxis] / phases
    beta = 0.1102 * (_STOPBAND_DB - 8.7)  # Kaiser's
    window = np.i0(beta * np.sqrt(np.maximum(0.0, 1 - (distance / half) ** 2)))
    weights = np.sinc(cutoff * distance) * window
    normalised: Array = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return normalised
