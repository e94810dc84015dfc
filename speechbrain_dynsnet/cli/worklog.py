"""What has been enhanced so far, kept beside the results, so that a killed run goes on where it was.

A folder `.dynsnet_enhance` holds a file a rank, to which each finished file adds a line of JSON; nothing is ever
rewritten. What a kill leaves of a line is no JSON, and is passed over.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from speechbrain_dynsnet.cli.worklist import Task
from speechbrain_dynsnet.errors import InputError

FOLDER = ".dynsnet_enhance"
_BEGUN, _ENDED = "begun", "ended"


@dataclass(frozen=True)
class Row:
    """What became of one file.

    Arguments
    ---------
    source, target : str
        The file read, absolute, and the file written, seen from the folder of results.
    source_state, target_state : list of int or None
        What tells a file's versions apart: its size in bytes, the time of its last change in ns and its inode.
        None for a file that is not there.
    settings : str
        What stands for the model and all settings.
    took_s : float
        Seconds that it took.
    facts : dict or None
        The fields of `FileFacts`; None when there is no result.
    failure : str
        Why not, in one line; empty for a success.
    """

    source: str
    target: str
    source_state: list[int] | None
    target_state: list[int] | None
    settings: str
    took_s: float = 0.0
    facts: dict[str, Any] | None = None
    failure: str = ""

    @property
    def seconds(self) -> float:
        """Length of the audio; 0 when it is not known."""
        return self.facts["frames"] / self.facts["rate"] if self.facts else 0.0


class Worklog:
    """The record of one rank, which it adds to, beside those of the others and of earlier runs.

    Arguments
    ---------
    folder : Path
        Where the results go; made when missing.
    rank, ranks : int
        Which of how many processes that share the work.
    """

    def __init__(self, folder: Path, rank: int = 0, ranks: int = 1) -> None:
        self.folder = folder
        self.rank = rank
        self.ranks = ranks

    def begin(self, settings: str) -> None:
        """Mark the beginning of a run with these settings. InputError when nothing can be written there."""
        folder = self._path(self.rank).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder}: cannot be made ({error.strerror}); choose another output") from error
        self._append(
            {"mark": _BEGUN, "settings": settings}, first="\n"
        )  # ends the line that a killed run may have left

    def end(self, wall_s: float) -> None:
        """Mark that this rank has done its part, in so many seconds."""
        self._append({"mark": _ENDED, "wall_s": wall_s})

    def append(self, row: Row) -> None:
        """Add what became of a file. InputError when that cannot be written."""
        self._append(asdict(row))

    def announce(self, task: Task, settings: str) -> None:
        """Add, before a file is replaced by its result, what it is now: after a kill it tells if it was replaced."""
        self.append(self.row(task, settings, version_of(task.source)))

    def row(
        self,
        task: Task,
        settings: str,
        source_state: list[int] | None,
        took_s: float = 0.0,
        facts: dict[str, Any] | None = None,
        failure: str = "",
    ) -> Row:
        """A row of this folder, with the result as it is now, if there are facts about it. See `Row`."""
        return Row(
            source=os.path.abspath(task.source),
            target=self.name(task),
            source_state=source_state,
            target_state=version_of(task.target) if facts else None,
            settings=settings,
            took_s=round(took_s, 4),
            facts=facts,
            failure=failure,
        )

    def name(self, task: Task) -> str:
        """What a task's result is called in the rows."""
        return _name(task, self.folder)

    def finished(self, settings: str) -> Finished:
        """What all ranks of all runs so far have done with these settings."""
        return Finished(self.folder, settings)

    def outcome(self, task: Task, settings: str) -> Row | None:
        """What became of a file in this run, by the record alone; None when it is still to be done."""
        row = self.of_this_run(settings)[0].get(self.name(task))
        return row if row is not None and (row.facts or row.failure or replaced_since(row.source_state, task)) else None

    def of_this_run(self, settings: str) -> tuple[dict[str, Row], list[int], float]:
        """Rows by target of all ranks since they last began, the ranks that have not ended, the longest time in s.

        A rank that last began with other settings is of another run: it is yet to begin this one.
        """
        rows: dict[str, Row] = {}
        missing, longest_s = [], 0.0
        for rank in range(self.ranks):
            wall_s, rows_of_rank, is_this = None, dict[str, Row](), False
            for entry in _entries(self._path(rank)):
                if entry.get("mark") == _BEGUN:
                    wall_s, rows_of_rank, is_this = None, {}, entry.get("settings") == settings
                elif not is_this:
                    continue
                elif entry.get("mark") == _ENDED:
                    wall_s = float(entry["wall_s"])
                elif (row := _as_row(entry)) is not None:
                    rows_of_rank[row.target] = row
            rows |= rows_of_rank
            if wall_s is None:
                missing.append(rank)
            else:
                longest_s = max(longest_s, wall_s)
        return rows, missing, longest_s

    def _path(self, rank: int) -> Path:
        return self.folder / FOLDER / f"rank{rank}of{self.ranks}.jsonl"

    def _append(self, entry: Mapping[str, Any], first: str = "") -> None:
        path = self._path(self.rank)
        line = f"{first}{json.dumps(entry)}\n".encode("ascii")
        try:
            with path.open("ab", buffering=0) as file:  # one call a line: several processes write here
                whole = file.write(line) == len(line)
        except OSError as error:
            raise InputError(
                f"{path}: cannot be written ({error.strerror}); make room, or choose another output"
            ) from error
        if not whole:
            raise InputError(f"{path}: cannot be written, the disk is full; make room, or choose another output")


class Finished:
    """Which files need no more work, after `Worklog.finished`.

    Arguments
    ---------
    folder : Path
        Where the record is. In place, those of the folders around a file count as well: an earlier run may have begun
        further up or further down.
    settings : str
        See `Row`.
    """

    def __init__(self, folder: Path, settings: str) -> None:
        self._folder = folder
        self._settings = settings
        self._records: dict[Path, dict[str, list[Row]]] = {}

    def find(self, task: Task) -> Row | None:
        """The row of a result that is there, and was made from this file as it is now; None when there is no such.

        In place any settings will do: the recording as it was is gone, and its result is not to be enhanced again.
        """
        around = task.target.parents if task.in_place else ()
        found = (self._find(task, folder) for folder in dict.fromkeys((self._folder, *around)))
        return next(filter(None, found), None)

    def _find(self, task: Task, folder: Path) -> Row | None:
        all_rows = self._record(folder).get(_name(task, folder), [])
        rows = [row for row in all_rows if task.in_place or row.settings == self._settings]
        state = version_of(task.target)
        if state is None or not rows:
            return None
        last = rows[-1]
        if task.in_place and last.facts is None and not last.failure:
            # The run was killed after it said that it would replace this file.
            return last if replaced_since(last.source_state, task) else None
        for row in reversed(rows):
            of_this = task.in_place or (
                row.source == os.path.abspath(task.source) and _same(row.source_state, version_of(task.source))
            )
            if of_this and _same(row.target_state, state):
                return row
        return None

    def _record(self, folder: Path) -> dict[str, list[Row]]:
        if folder not in self._records:
            by_target: dict[str, list[Row]] = {}
            for row in rows_of(folder):
                by_target.setdefault(row.target, []).append(row)
            self._records[folder] = by_target
        return self._records[folder]


def rows_of(folder: Path) -> Iterator[Row]:
    """All rows of all ranks and runs that had their record in this folder, in order within each rank."""
    for path in sorted((folder / FOLDER).glob("rank*of*.jsonl")):
        yield from filter(None, map(_as_row, _entries(path)))


def _name(task: Task, folder: Path) -> str:
    return os.path.relpath(task.target, folder)


def replaced_since(before: list[int] | None, task: Task) -> bool:
    """Whether, in place, another file has taken the place of the one that was announced as this version.

    It has another inode, and another date: the same file has another inode too, once it was put back with its date
    from a backup, or its disk is mounted elsewhere.
    """
    now = version_of(task.target)
    if not task.in_place or before is None or now is None:
        return False
    return before[2] != now[2] and not _same(before, now)


def _same(one: list[int] | None, other: list[int] | None) -> bool:
    """Whether two states are of one version; not by inode, which changes when a disk is mounted elsewhere."""
    return one is not None and other is not None and one[:2] == other[:2]


def version_of(path: Path) -> list[int] | None:
    """See `Row`: what tells the versions of a file apart; None when there is none."""
    try:
        found = path.stat()
    except OSError:  # it says so itself when it is read or written
        return None
    return [found.st_size, found.st_mtime_ns, found.st_ino]


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return
    with path.open("rb") as file:
        for line in file:
            try:
                entry = json.loads(line)
            except ValueError:  # a run was killed while it wrote this
                continue
            if isinstance(entry, dict):
                yield entry


def _as_row(entry: dict[str, Any]) -> Row | None:
    names = {field.name for field in fields(Row)}
    return Row(**entry) if entry.keys() == names else None
