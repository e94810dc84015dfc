"""Timing on one core of a machine that does other things too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

_BLOCK = 50
_WARM_UP = 5  # calls before each block: they bring a task's own weights back into the caches

Name = TypeVar("Name")


@dataclass(frozen=True)
class Timing:
    """How long the calls of one task took.

    Arguments
    ---------
    calls_s : array
        (calls,), seconds.
    """

    calls_s: NDArray[np.float64]

    @property
    def median_s(self) -> float:
        """What a call takes when nothing disturbs it; the one to compare by."""
        return float(np.median(self.calls_s))

    @property
    def mean_s(self) -> float:
        """What a call takes on average, disturbances included."""
        return float(np.mean(self.calls_s))

    @property
    def p99_s(self) -> float:
        """What 99 of 100 calls stay below."""
        return float(np.percentile(self.calls_s, 99))


def time_interleaved(
    tasks: Mapping[Name, Callable[[], object]], calls: int, block: int = _BLOCK, warm_up: int = _WARM_UP
) -> dict[Name, Timing]:
    """Time each call of several tasks, in turns, so that whatever else the machine does meets all of them.

    A turn is a block of calls, not one, since a task would else find the weights of the others in the caches, and not
    its own as it does in a stream.

    Arguments
    ---------
    tasks : mapping
        Functions without arguments, by any name.
    calls : int
        How many are timed of each.
    block : int
        How many make a turn.
    warm_up : int
        How many go before each turn without being timed.

    Returns
    -------
    dict of Timing
        By the names of the tasks.
    """
    seconds: dict[Name, list[float]] = {name: [] for name in tasks}
    for start in range(0, calls, block):
        for name, task in tasks.items():
            for _ in range(warm_up):
                task()
            for _ in range(min(block, calls - start)):
                before = perf_counter()
                task()
                seconds[name].append(perf_counter() - before)
    return {name: Timing(np.array(one)) for name, one in seconds.items()}


@contextmanager
def one_core() -> Iterator[None]:
    """One thread for torch, BLAS and OpenMP, and what they had before afterwards."""
    threads = torch.get_num_threads()
    try:
        with threadpool_limits(1):
            torch.set_num_threads(1)
            yield
    finally:
        torch.set_num_threads(threads)
