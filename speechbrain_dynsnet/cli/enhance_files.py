"""Enhance the files of a work list in one process or several; each ends as a row, a failure as well."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from speechbrain_dynsnet.audio.enhancement import FileFacts, MaskModel, Settings, enhance_file
from speechbrain_dynsnet.audio.unfinished import remove_unfinished
from speechbrain_dynsnet.cli.enhance_model import ModelChoice
from speechbrain_dynsnet.cli.worklist import Task
from speechbrain_dynsnet.cli.worklog import Row, Worklog, version_of
from speechbrain_dynsnet.errors import InputError, one_line
from speechbrain_dynsnet.processes import map_unordered


@dataclass
class FileWorker:
    """Turns a task into a row, in any process: the model is loaded there, at the first file.

    Arguments
    ---------
    choice : ModelChoice
        The model.
    settings : Settings
        How to enhance.
    worklog : Worklog
        Where rows are kept.
    key : str
        What stands for model and settings in the rows.
    threads : int or None
        Threads of a process; None leaves them to the engine.
    model : MaskModel or None
        The model, where it is loaded already.
    """

    choice: ModelChoice
    settings: Settings
    worklog: Worklog
    key: str
    threads: int | None = None
    model: MaskModel | None = None

    def __call__(self, task: Task) -> Row:
        """Enhance a file; what is wrong with it, or with the disk, ends in its row."""
        if self.model is None:
            self.model = self.choice.load(self.threads)
        before = version_of(task.source)
        begun = time.perf_counter()
        try:
            if task.in_place:
                self.worklog.announce(task, self.key)
            task.target.parent.mkdir(parents=True, exist_ok=True)
            facts = asdict(enhance_file(self.model, task.source, task.target, self.settings, task.in_place))
            row = self.worklog.row(task, self.key, before, time.perf_counter() - begun, facts)
            self.worklog.append(row)
        except (InputError, OSError) as error:
            row = self.worklog.row(task, self.key, before, failure=_reason(task, error))
            with contextlib.suppress(InputError):  # a full disk: the failure itself, most likely, and that is told
                self.worklog.append(row)
        return row


def enhance_all(worker: FileWorker, tasks: Sequence[Task], jobs: int) -> Iterator[Row]:
    """The rows of all tasks, as they are finished, in so many processes of one thread each."""
    jobs = min(jobs, len(tasks))
    if jobs <= 1:
        return map(worker, tasks)
    worker.model = None
    worker.threads = 1
    # Long ones first, so that none runs alone at the end.
    return map_unordered(worker, sorted(tasks, key=lambda task: size_of(task.source), reverse=True), jobs)


def enhance_alone(
    model: MaskModel, task: Task, settings: Settings, progress: Callable[[int], None] | None
) -> FileFacts:
    """One file; InputError when it cannot be, and then no folder is left that was made for it."""
    folder = task.target.parent
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror}); choose another output") from error
    remove_unfinished(folder)
    try:
        return enhance_file(model, task.source, task.target, settings, task.in_place, progress)
    except InputError:
        for path in missing:
            path.rmdir()
        raise


def clear_unfinished(tasks: Sequence[Task]) -> None:
    """Remove what killed runs have left where the results go."""
    for folder in {task.target.parent for task in tasks}:
        if folder.is_dir():
            remove_unfinished(folder)


def size_of(path: Path) -> int:
    """In bytes; 0 for what is not there, which is told when it is read."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _reason(task: Task, error: Exception) -> str:
    """The message without the file that the row names."""
    if isinstance(error, InputError):
        error = InputError(str(error).removeprefix(f"{task.source}: "))
    return one_line(error)
