"""Tasks take turns, only what should be is timed, and the threads are as before afterwards."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from speechbrain_dynsnet.evaluation import timing as module
from speechbrain_dynsnet.evaluation.timing import Timing, one_core, time_interleaved


class Clock:
    """Stands still but for tasks, which take as long as they are told."""

    def __init__(self) -> None:
        self.now = 100.0
        self.calls = ""

    def __call__(self) -> float:
        return self.now

    def task(self, name: str, durations_s: Callable[[int], float]) -> Callable[[], None]:
        def run() -> None:
            self.now += durations_s(self.calls.count(name))
            self.calls += name

        return run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "perf_counter", clock)
    return clock


def test_tasks_take_turns_in_blocks(clock: Clock) -> None:
    tasks = {name: clock.task(name, lambda call: 1.0) for name in "ab"}
    time_interleaved(tasks, calls=5, block=2, warm_up=1)
    assert clock.calls == "aaabbbaaabbbaabb"


def test_the_warm_up_is_not_timed(clock: Clock) -> None:
    slow_before_each_turn = clock.task("a", lambda call: 1000.0 if call % 6 < 2 else 2.0**call)
    timing = time_interleaved({"a": slow_before_each_turn}, calls=8, block=4, warm_up=2)["a"]
    assert timing.calls_s.tolist() == [2.0**call for call in (2, 3, 4, 5, 8, 9, 10, 11)]


@pytest.mark.parametrize("calls", [1, 49, 50, 51, 120])
def test_every_task_is_timed_as_often_as_asked(clock: Clock, calls: int) -> None:
    tasks = {name: clock.task(name, lambda call, s=s: s) for name, s in (("a", 1.0), ("b", 3.0))}
    timings = time_interleaved(tasks, calls)
    assert timings["a"].calls_s.tolist() == [1.0] * calls
    assert timings["b"].calls_s.tolist() == [3.0] * calls


def test_one_disturbance_moves_the_mean_and_the_p99_but_not_the_median() -> None:
    timing = Timing(np.array([1.0] * 98 + [51.0] * 2))
    assert (timing.median_s, timing.mean_s, timing.p99_s) == (1.0, 2.0, 51.0)


def blas_threads() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info()]


def test_one_core_is_for_torch_and_blas_and_ends() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    np.ones((2, 2)) @ np.ones((2, 2))
    pools = blas_threads()
    try:
        with one_core():
            assert torch.get_num_threads() == 1
            assert set(blas_threads()) == {1}
        assert (torch.get_num_threads(), blas_threads()) == (2, pools)
        with pytest.raises(KeyboardInterrupt), one_core():
            raise KeyboardInterrupt
        assert (torch.get_num_threads(), blas_threads()) == (2, pools)
    finally:
        torch.set_num_threads(before)
