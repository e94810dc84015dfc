"""What came of a run of `dynsnet enhance`: a few lines to read, and a CSV file with a row a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from speechbrain_dynsnet.cli.worklist import Task
from speechbrain_dynsnet.cli.worklog import Row
from speechbrain_dynsnet.errors import InputError, printable
from speechbrain_dynsnet.writing import check_writable, write_table

TABLE = "enhanced.csv"  # with the results, when no other is asked for
COLUMNS = ("path", "source", "seconds", "channels", "rate", "took_s", "failure")
_NAMED = 100  # failures; the CSV file has all


@dataclass(frozen=True)
class Outcome:
    """Rows of a run.

    Arguments
    ---------
    rows : sequence of Row
        What was done in this run, failures too.
    skipped : sequence of Row
        What was done before.
    wall_s : float
        Seconds that the run took.
    """

    rows: Sequence[Row]
    skipped: Sequence[Row]
    wall_s: float

    @property
    def failures(self) -> list[Row]:
        """What failed, by name."""
        return sorted((row for row in self.rows if row.failure), key=lambda row: row.target)

    def counts(self) -> str:
        """How many files."""
        before = f", {len(self.skipped)} done before" if self.skipped else ""
        return f"{len(self.rows) - len(self.failures)} enhanced{before}, {len(self.failures)} failed"

    def lines(self) -> list[str]:
        """The table at the end."""
        seconds = sum(row.seconds for row in self.rows)
        return [
            f"files     {self.counts()}",
            f"audio     {seconds / 3600:.3f} h",
            f"time      {tqdm.format_interval(self.wall_s)}",
            f"speed     {seconds / max(self.wall_s, 1e-9):.0f} x real time",
        ]

    def failure_lines(self) -> list[str]:
        """A line a failure."""
        failures = self.failures
        lines = [f"Error: {printable(_short(row.source))}: {row.failure}" for row in failures[:_NAMED]]
        return lines + ([f"and {len(failures) - _NAMED} more"] if len(failures) > _NAMED else [])

    def write(self, path: Path) -> None:
        """The CSV file; InputError when it cannot be written."""
        write_table(path, COLUMNS, map(_cells, sorted([*self.skipped, *self.rows], key=lambda row: row.target)))


def _cells(row: Row) -> dict[str, object]:
    facts = row.facts or {}
    return {
        "path": _text(row.target),
        "source": _text(row.source),
        "seconds": round(row.seconds, 4) if facts else "",
        "channels": facts.get("channels", ""),
        "rate": facts.get("rate", ""),
        "took_s": row.took_s if facts else "",
        "failure": row.failure,
    }


def _text(name: str) -> str:
    """A name as UTF-8 has it: bytes that are none become escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


def _short(path: str) -> str:
    """As the user would call it from here."""
    return os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else path


def check_table(path: Path, tasks: Sequence[Task], folder: Path) -> None:
    """Find out before any work whether a table may be written: InputError when it would take the place of other data.

    Arguments
    ---------
    path : Path
        The table.
    tasks : sequence of Task
        The files of the run.
    folder : Path
        That of the results, which the run makes when it is missing.
    """
    if path.suffix.lower() != ".csv":
        raise InputError(f"{path}: give a file name that ends in .csv")
    if folder.exists() or path.parent != folder:
        check_writable(path, "CSV file")
    named = {os.path.realpath(file) for task in tasks for file in (task.source, task.target)}
    if os.path.realpath(path) in named:
        raise InputError(f"{path}: is a file of this run; give the table another name")
    if path.is_file() and path.stat().st_size and not path.read_bytes().startswith(",".join(COLUMNS).encode()):
        raise InputError(f"{path}: is not a table of this command, and would be replaced; name another by --table")
