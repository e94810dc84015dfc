"""What a run says while it goes: running losses of the exits, a line and a CSV row an epoch, TensorBoard."""

from __future__ import annotations

import csv
import io
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from speechbrain.utils.distributed import if_main_process
from speechbrain.utils.logger import TqdmCompatibleStreamHandler
from torch import Tensor, distributed
from torch.utils.tensorboard import SummaryWriter

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.writing import write_text

_PACKAGE = __name__.split(".")[0]


def log_to_terminal() -> None:
    """Show this package's messages on stdout and everybody's warnings on stderr, from the main process only.

    SpeechBrain's own notes (each checkpoint written or deleted, each option) go to `log.txt` alone.
    """
    said, warned = TqdmCompatibleStreamHandler(sys.stdout), TqdmCompatibleStreamHandler(sys.stderr)
    said.addFilter(lambda record: record.levelno < logging.WARNING and record.name.startswith(_PACKAGE))
    warned.setLevel(logging.WARNING)
    warned.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    level = logging.INFO if if_main_process() else logging.ERROR
    # force: an import may have set up logging of its own
    logging.basicConfig(level=level, format="%(message)s", handlers=[said, warned], force=True)


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Append every message of the main process to a file, with its time, and the error that ends it."""
    if not if_main_process():
        yield
        return
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s - %(name)s - %(levelname)s - %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    except InputError as error:  # to the file alone: whoever called says it where it is read now
        handler.handle(logging.makeLogRecord({"name": __name__, "levelname": "ERROR", "msg": str(error)}))
        raise
    finally:
        root.removeHandler(handler)
        handler.close()


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


class Skipped:
    """What loaders could not read and replaced: each reason is told once."""

    def __init__(self) -> None:
        self._new: set[str] = set()
        self._told: set[str] = set()

    def add(self, reasons: Iterable[str]) -> None:
        """Note the reasons of one batch."""
        self._new.update(reasons)

    def new_over_ranks(self) -> list[str]:
        """What no earlier call gave, of all ranks, sorted; every rank must call it."""
        new = [sorted(self._new)]
        if distributed.is_initialized():
            new = [[]] * distributed.get_world_size()
            distributed.all_gather_object(new, sorted(self._new))
        fresh = set().union(*new) - self._told
        self._told |= fresh
        self._new.clear()
        return sorted(fresh)


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
        """Add one epoch, in place of what a run that was stopped wrote of it or of later ones."""
        before: list[list[str]] = []
        if self._path.exists():
            with self._path.open(newline="", encoding="utf-8") as file:
                before = [row for row in list(csv.reader(file))[1:] if int(row[0]) < epoch]
        table = io.StringIO()
        writer = csv.writer(table)
        writer.writerow(["epoch", *values])
        writer.writerows(before)
        writer.writerow([epoch, *(f"{value:.6g}" for value in values.values())])
        write_text(self._path, table.getvalue())
        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()


def line_of(losses: Mapping[str, float]) -> str:
    """Losses as the log and the progress bar show them."""
    return "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
