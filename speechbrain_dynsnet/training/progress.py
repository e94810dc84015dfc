"""What a run says while it goes: running losses of the exits, a line and a CSV row an epoch, TensorBoard."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, distributed
from torch.utils.tensorboard import SummaryWriter


class Averages:
    """Means of named losses over batches, and over ranks."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._batches = 0

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Count one batch: scalars on any device, the same names each time."""
        for name, loss in losses.items():
            value = loss.detach().double()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._batches += 1

    def local(self) -> dict[str, float]:
        """The means on this rank."""
        return {name: float(total) / self._batches for name, total in self._sums.items()}

    def over_ranks(self) -> dict[str, float]:
        """The means over all ranks, the same numbers on each; every rank must call it."""
        if not distributed.is_initialized():
            return self.local()
        means = torch.stack(list(self._sums.values())) / self._batches
        distributed.all_reduce(means)
        # Sums may be rounded in another order on another rank: decisions follow rank 0.
        distributed.broadcast(means, src=0)
        return dict(zip(self._sums, (means / distributed.get_world_size()).tolist(), strict=True))


class EpochLog:
    """A CSV row an epoch, and the same numbers for TensorBoard.

    Arguments
    ---------
    folder : Path
        Gets `log.csv` and `tensorboard/`.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "log.csv"
        self._writer = SummaryWriter(str(folder / "tensorboard"))

    def write(self, epoch: int, values: Mapping[str, float]) -> None:
        """Append one epoch."""
        fresh = not self._path.exists()
        with self._path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(["epoch", *values])
            writer.writerow([epoch, *(f"{value:.6g}" for value in values.values())])
        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()
