"""The floor reads as many bytes as it is asked for, from the cache or from beyond it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from speechbrain_dynsnet.evaluation import floor as module
from speechbrain_dynsnet.evaluation.complexity import exit_costs
from speechbrain_dynsnet.evaluation.floor import GemvFloor, last_level_cache_bytes
from speechbrain_dynsnet.model.network import make_network

CACHE = 3 * 2**20
COSTS = exit_costs(make_network("concat", (0, 1, 2, 3, 4, 5)))
SIZES = [cost.weight_bytes for cost in COSTS]


@pytest.fixture(scope="module")
def floor() -> GemvFloor:
    return GemvFloor(max(SIZES), CACHE)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The matrices of all products, in order."""
    matrices: list[np.ndarray] = []
    multiply = np.dot

    def spy(matrix: np.ndarray, vector: np.ndarray, out: np.ndarray) -> np.ndarray:
        matrices.append(matrix)
        return multiply(matrix, vector, out=out)

    monkeypatch.setattr(np, "dot", spy)
    return matrices


def repeat(task: Callable[[], None], times: int) -> None:
    for _ in range(times):
        task()


@pytest.mark.parametrize("size", SIZES)
def test_a_product_reads_what_the_exit_reads(floor: GemvFloor, read: list[np.ndarray], size: int) -> None:
    floor.cached(size)()
    floor.uncached(size)()
    assert [matrix.nbytes for matrix in read] == pytest.approx([size, size], rel=0.02)
    assert all(matrix.dtype == np.float32 and matrix.flags.c_contiguous for matrix in read)


def test_the_cached_weights_are_the_same_each_time(floor: GemvFloor, read: list[np.ndarray]) -> None:
    repeat(floor.cached(SIZES[1]), 5)
    assert len({matrix.ctypes.data for matrix in read}) == 1


@pytest.mark.parametrize("size", SIZES)
def test_weights_come_back_only_after_twice_the_cache(floor: GemvFloor, read: list[np.ndarray], size: int) -> None:
    repeat(floor.uncached(size), len(floor.copies(size)) + 2)
    starts = [matrix.ctypes.data for matrix in read]
    period = starts.index(starts[0], 1)
    assert len(set(starts)) == period
    gaps = np.diff(sorted(set(starts)))
    assert (gaps >= read[0].nbytes).all(), "copies overlap"
    assert (period - 1) * read[0].nbytes >= 2 * CACHE * 0.97


def test_the_last_level_is_the_largest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index, size in enumerate(("48K", "32K", "1024K", "33M")):
        (tmp_path / f"index{index}").mkdir()
        (tmp_path / f"index{index}" / "size").write_text(f"{size}\n")
    monkeypatch.setattr(module, "_CACHES", tmp_path)
    assert last_level_cache_bytes() == 33 * 2**20


def test_a_system_that_does_not_tell_counts_as_one_with_a_large_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CACHES", tmp_path / "missing")
    assert last_level_cache_bytes() == 64 * 2**20
