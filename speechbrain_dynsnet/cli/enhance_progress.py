"""How far `dynsnet enhance` is: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import click
from tqdm import tqdm

from speechbrain_dynsnet.audio.reader import AudioReader
from speechbrain_dynsnet.cli.enhance_files import size_of
from speechbrain_dynsnet.cli.worklist import Task
from speechbrain_dynsnet.cli.worklog import Row

_EVERY_S = 30.0
_BAR = "{percentage:3.0f}%|{bar}|{postfix} [{elapsed}<{remaining}]"


class Progress:
    """Counts files, and tells the time left by their size; a context manager.

    Arguments
    ---------
    tasks : sequence of Task
        What is to be done.
    quiet : bool
        Say nothing: for all ranks but one.
    every_s : float
        Seconds between two lines, where there is no terminal.
    """

    def __init__(self, tasks: Sequence[Task], quiet: bool = False, every_s: float = _EVERY_S) -> None:
        self._sizes = {os.path.abspath(task.source): size_of(task.source) for task in tasks}  # as rows name them
        self._files, self._failed, self._seconds = 0, 0, 0.0
        self._quiet, self._every_s = quiet, every_s
        self._begun = self._said = time.monotonic()
        self._bytes, self._bytes_in_all = 0, sum(self._sizes.values())
        on_terminal = sys.stderr.isatty() and not quiet
        self._bar: Any = tqdm(total=self._bytes_in_all, bar_format=_BAR, disable=not on_terminal)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def add(self, row: Row) -> None:
        """Count a file that is done, or failed."""
        self._files += 1
        self._failed += bool(row.failure)
        self._seconds += row.seconds
        size = self._sizes.get(row.source, 0)
        self._bytes += size
        self._bar.set_postfix_str(self._text(), refresh=False)
        self._bar.update(size)
        now = time.monotonic()
        if self._bar.disable and not self._quiet and now - self._said >= self._every_s:
            self._said = now
            left_s = (now - self._begun) * (self._bytes_in_all / max(self._bytes, 1) - 1)
            click.echo(f"{self._text()}, about {tqdm.format_interval(left_s)} left", err=True)

    def _text(self) -> str:
        failed = f", {self._failed} failed" if self._failed else ""
        speed = self._seconds / max(time.monotonic() - self._begun, 1e-9)
        return f"{self._files} of {len(self._sizes)} files{failed}, {speed:.0f} x real time"


class FileProgress:
    """A bar for one file, by its seconds, where there is a terminal; a context manager, called with frames done."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bar: Any = None
        self._rate = 1

    def __enter__(self) -> FileProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, frames: int) -> None:
        if self._bar is None:
            with AudioReader(self._path) as reader:  # not before: reading has begun, so it is a sound file
                self._rate, seconds = reader.rate, reader.frames / reader.rate
            self._bar = tqdm(total=seconds, unit="s of audio", unit_scale=True, disable=not sys.stderr.isatty())
        self._bar.update(frames / self._rate - self._bar.n)
