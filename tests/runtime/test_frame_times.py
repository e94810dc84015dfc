"""Means and percentiles of frame times, in memory that does not grow."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from speechbrain_dynsnet.runtime.frame_times import FrameTimes


@pytest.mark.parametrize("spread", [0.0, 0.1, 1.0, 3.0])
@pytest.mark.parametrize("typical_s", [2e-5, 1e-4, 3e-3, 0.1])
def test_the_99th_percentile_is_right_to_5_percent(typical_s: float, spread: float) -> None:
    seconds = typical_s * np.exp(np.random.default_rng(0).normal(0, spread, 5000))
    times = FrameTimes([0])
    for one in seconds:
        times.record(0, float(one))
    stats = times.stats()
    exact = np.sort(seconds)[int(np.ceil(0.99 * len(seconds))) - 1]
    assert stats.p99_ms == pytest.approx(1000 * exact, rel=0.05)
    assert stats.mean_ms == pytest.approx(1000 * seconds.mean())
    assert stats.max_ms == pytest.approx(1000 * seconds.max())
    assert stats.real_time_factor == pytest.approx(seconds.mean() / 0.016)
    assert stats.overruns == (seconds > 0.016).sum()


def test_times_beyond_the_scale_are_counted_too() -> None:
    times = FrameTimes([0], late_s=0.002)
    for seconds in (0.0, -1e-9, 1e-12, 1e6):
        times.record(0, seconds)
    stats = times.stats(bad_samples=3)
    assert (stats.frames, stats.late, stats.overruns, stats.bad_samples) == (4, 1, 1, 3)
    assert stats.max_ms == 1e9


def test_switches_and_exits_are_counted() -> None:
    times = FrameTimes([0, 1, 5])
    for exit in (5, 5, 1, 1, 5, 0):
        times.record(exit, 0.001)
    stats = times.stats()
    assert (stats.frames_by_exit, stats.switches) == ({0: 1, 1: 2, 5: 3}, 3)


def test_nothing_yet_is_no_error() -> None:
    stats = FrameTimes([0]).stats()
    assert (stats.frames, stats.mean_ms, stats.p99_ms, stats.real_time_factor) == (0, 0, 0, 0)


def test_memory_does_not_grow_with_frames() -> None:
    times = FrameTimes([0])

    def size() -> int:
        return sum(sys.getsizeof(value) for value in vars(times).values())

    times.record(0, 0.001)
    before = size()
    for number in range(10_000):
        times.record(0, 1e-5 * (1 + number % 999))
    assert size() <= before + 64  # counts become longer numbers
