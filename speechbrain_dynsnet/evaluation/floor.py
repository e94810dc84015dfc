"""The floor of this machine: how long a matrix-vector product takes over as many weights as an exit reads.

A frame of a network is little else than such products, and they are bound by reading the weights. No engine can be much
quicker than that with float32 weights; how far above it an engine is, is what it could still gain.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechbrain_dynsnet.evaluation.complexity import BYTES_PER_WEIGHT

_COLUMNS = 1024  # of the shapes tried, from 128 on, the one that BLAS is quickest with
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_UNKNOWN_CACHE_BYTES = 64 * 2**20  # where the system does not tell: more than most have for a core
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


class GemvFloor:
    """Matrix-vector products over weights that are in the cache, and over weights that are not.

    Arguments
    ---------
    largest_bytes : int
        Of the weights of any product that will be asked for.
    cache_bytes : int or None
        Size of the last-level cache; None asks the system.
    """

    def __init__(self, largest_bytes: int, cache_bytes: int | None = None) -> None:
        cache_bytes = last_level_cache_bytes() if cache_bytes is None else cache_bytes
        rng = np.random.default_rng(0)
        # What has been read since comes to twice the cache, when a copy is read again: none of it can still be there.
        weights = (2 * cache_bytes + 2 * largest_bytes) // BYTES_PER_WEIGHT + _COLUMNS
        self._pool = rng.random(weights, dtype=np.float32)
        self._vector = rng.random(_COLUMNS, dtype=np.float32)

    def copies(self, weight_bytes: int) -> NDArray[np.float32]:
        """As many matrices as there is room for, (copies, rows, columns), of about `weight_bytes` each."""
        rows = max(1, round(weight_bytes / BYTES_PER_WEIGHT / _COLUMNS))
        count = len(self._pool) // (rows * _COLUMNS)
        return self._pool[: count * rows * _COLUMNS].reshape(count, rows, _COLUMNS)

    def cached(self, weight_bytes: int) -> Callable[[], None]:
        """A product with the same weights each time."""
        return self._product(self.copies(weight_bytes)[:1])

    def uncached(self, weight_bytes: int) -> Callable[[], None]:
        """A product with other weights each time, until all copies had their turn."""
        return self._product(self.copies(weight_bytes))

    def _product(self, copies: NDArray[np.float32]) -> Callable[[], None]:
        turns = cycle(list(copies))
        vector, result = self._vector, np.empty(copies.shape[1], np.float32)

        def multiply() -> None:
            np.dot(next(turns), vector, out=result)

        return multiply


def last_level_cache_bytes() -> int:
    """Of the first core; 64 MiB where the system does not tell."""
    sizes = (file.read_text().strip() for file in _CACHES.glob("index*/size"))
    return max((int(size[:-1]) * _UNITS[size[-1]] for size in sizes), default=_UNKNOWN_CACHE_BYTES)
