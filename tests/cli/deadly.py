"""A model that ends in every way there is: how many channels a file has is the order. For processes of their own."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from pathlib import Path

import numpy as np

from speechbrain_dynsnet.audio.enhancement import MaskStream
from speechbrain_dynsnet.cli.worklog import Row, Worklog
from speechbrain_dynsnet.processes import clean_start
from tests.audio.masks import KnownMasks

KILLS, KILLS_ONCE, NO_MEMORY, NO_MEMORY_IN_TORCH, FAULT, BARE_FAULT, INTERRUPTED = range(3, 10)
GAIN = 0.5
_ERRORS: dict[int, BaseException] = {
    NO_MEMORY: MemoryError(),
    NO_MEMORY_IN_TORCH: RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 1 bytes"),
    FAULT: ValueError("two\nlines"),
    BARE_FAULT: AssertionError(),
    INTERRUPTED: KeyboardInterrupt(),
}


def kill_once(marker: Path) -> None:
    """End this process as the system does when memory is short, unless it was done before."""
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class DeadlyModel(KnownMasks):
    """Halves mono and stereo."""

    marker: Path = Path("killed")

    def start(self, channels: int, exit: int) -> MaskStream:
        if channels == KILLS:
            os.kill(os.getpid(), signal.SIGKILL)
        if channels == KILLS_ONCE:
            kill_once(self.marker)
        if channels in _ERRORS:
            raise _ERRORS[channels]
        return _halve


def _halve(features: np.ndarray) -> np.ndarray:
    return np.full_like(features, GAIN)


@dataclass(frozen=True)
class DeadlyChoice:
    """In place of a `ModelChoice`."""

    path: Path = Path("deadly.onnx")
    loads: bool = True

    def load(self, threads: int | None = None) -> DeadlyModel:
        if threads and not self.loads:
            raise MemoryError
        return DeadlyModel(lambda: _halve, marker=self.path.with_suffix(".killed"))

    def processes(self) -> BaseContext:
        return clean_start()

    def fingerprint(self) -> str:
        return "deadly"


class DyingWorklog(Worklog):
    """Kills the process once, when a file is done: before that is recorded, or just after."""

    def __init__(self, folder: Path, is_recorded: bool) -> None:
        super().__init__(folder)
        self._is_recorded = is_recorded

    def append(self, row: Row) -> None:
        if row.facts and not self._is_recorded:
            kill_once(self.folder / "killed")
        super().append(row)
        if row.facts and self._is_recorded:
            kill_once(self.folder / "killed")
