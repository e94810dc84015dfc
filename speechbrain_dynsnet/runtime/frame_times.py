"""How long frames took: mean, 99th percentile and maximum, in memory that does not grow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from speechbrain_dynsnet.audio.constants import HOP_S

_SHORTEST_S, _LONGEST_S = 1e-6, 100.0
_PER_UNIT = 1 / math.log(1.05)  # bins that are 5 % wide
_BINS = math.ceil(math.log(_LONGEST_S / _SHORTEST_S) * _PER_UNIT) + 1


@dataclass(frozen=True)
class StreamStats:
    """What a stream did so far.

    Arguments
    ---------
    frames : int
        Frames run, of 16 ms each.
    mean_ms, p99_ms, max_ms : float
        Time of a frame, from its samples to its result; the 99th percentile within 5 %.
    real_time_factor : float
        Time taken a second of audio.
    frames_by_exit : dict
        From exit to how many frames left there.
    switches : int
        Changes of the exit from one frame to the next.
    late : int
        Frames that took longer than `budget_ms`.
    overruns : int
        Frames that took longer than a hop lasts, 16 ms.
    bad_samples : int
        NaN, infinite and absurd samples, which were taken as 0.
    """

    frames: int
    mean_ms: float
    p99_ms: float
    max_ms: float
    real_time_factor: float
    frames_by_exit: dict[int, int]
    switches: int
    late: int
    overruns: int
    bad_samples: int


class FrameTimes:
    """Counts frames, by exit and by time on a logarithmic scale.

    Arguments
    ---------
    exits : sequence of int
        That frames may leave at.
    late_s : float
        Seconds after which a frame is late.
    """

    def __init__(self, exits: Sequence[int], late_s: float = math.inf) -> None:
        self._by_exit = dict.fromkeys(exits, 0)
        self._counts = [0] * _BINS
        self._late_s = late_s
        self._total_s = self._longest_s = 0.0
        self._late = self._overruns = self._switches = 0
        self._last_exit: int | None = None

    def record(self, exit: int, seconds: float) -> None:
        """Count a frame."""
        self._by_exit[exit] += 1
        self._total_s += seconds
        self._longest_s = max(self._longest_s, seconds)
        self._late += seconds > self._late_s
        self._overruns += seconds > HOP_S
        self._switches += self._last_exit is not None and self._last_exit != exit
        self._last_exit = exit
        place = int(math.log(max(seconds, _SHORTEST_S) / _SHORTEST_S) * _PER_UNIT)
        self._counts[min(place, _BINS - 1)] += 1

    def stats(self, bad_samples: int = 0) -> StreamStats:
        """All of it."""
        frames = sum(self._by_exit.values())
        mean_s = self._total_s / max(frames, 1)
        return StreamStats(
            frames=frames,
            mean_ms=1000 * mean_s,
            p99_ms=1000 * self._percentile_s(0.99),
            max_ms=1000 * self._longest_s,
            real_time_factor=mean_s / HOP_S,
            frames_by_exit=dict(self._by_exit),
            switches=self._switches,
            late=self._late,
            overruns=self._overruns,
            bad_samples=bad_samples,
        )

    def _percentile_s(self, share: float) -> float:
        """The middle of the bin of that rank; 0 when there are no frames."""
        left = math.ceil(share * sum(self._counts))
        for place, count in enumerate(self._counts):
            left -= count
            if count and left <= 0:
                return min(_SHORTEST_S * math.exp((place + 0.5) / _PER_UNIT), self._longest_s)
        return 0.0
