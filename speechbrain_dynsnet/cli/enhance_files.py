"""Enhance files of a work list: each ends as a row of the record, a failure as well; or alone, as an error."""

from __future__ import annotations

import logging
import os
import re
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from speechbrain_dynsnet.audio.enhancement import FileFacts, MaskModel, Settings, enhance_file
from speechbrain_dynsnet.audio.together import enhance_together
from speechbrain_dynsnet.audio.unfinished import remove_unfinished
from speechbrain_dynsnet.cli.enhance_model import ModelChoice
from speechbrain_dynsnet.cli.worklist import Task
from speechbrain_dynsnet.cli.worklog import Row, Worklog, replaced_since, version_of
from speechbrain_dynsnet.errors import InputError, one_line, printable

logger = logging.getLogger(__name__)
_NO_MEMORY = re.compile("allocate memory|out of memory")  # torch and onnxruntime raise a RuntimeError with these words


@dataclass
class FileWorker:
    """Turns tasks into rows, in any process: the model is loaded there, at the first file.

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

    def __call__(self, tasks: Sequence[Task]) -> list[Row]:
        """Enhance files, side by side if there are several and they fit; in the rows is whatever goes wrong with one.

        A fault of ours, too: the others are to go on.
        """
        if self.model is None:
            self.model = self._load()
        rows = self._side_by_side(self.model, tasks) if len(tasks) > 1 else {}
        return [rows[task] if task in rows else self._alone(self.model, task) for task in tasks]

    def _side_by_side(self, model: MaskModel, tasks: Sequence[Task]) -> dict[Task, Row]:
        """The rows of all; if something goes wrong, of those done by then: it shows again when the others go alone."""
        rows: dict[Task, Row] = {}
        before: list[list[int] | None] = []
        begun = time.perf_counter()
        try:
            before.extend(map(self._prepare, tasks))
            files = [(task.source, task.target) for task in tasks]
            for index, facts in enhance_together(model, files, self.settings, tasks[0].in_place):
                took_s = (time.perf_counter() - begun) / len(tasks)  # its part
                rows[tasks[index]] = self._done(tasks[index], before[index], took_s, facts)
        except Exception as error:
            if _is_fault(error):  # alone it may not show, and would never be seen
                logger.warning("files go one at a time, not side by side: %s", _reason(tasks[0], error))
            for task, state in zip(tasks, before, strict=False):  # not twice, if it went wrong just after
                if task not in rows and replaced_since(state, task):
                    rows[task] = self.worklog.row(task, self.key, state)
        return rows

    def _alone(self, model: MaskModel, task: Task) -> Row:
        before = version_of(task.source)
        begun = time.perf_counter()
        try:
            self._prepare(task)
            facts = enhance_file(model, task.source, task.target, self.settings, task.in_place)
        except Exception as error:
            return self.failed(task, _reason(task, error), before)
        return self._done(task, before, time.perf_counter() - begun, facts)

    def _prepare(self, task: Task) -> list[int] | None:
        """Say what will be done and make room for it; the version of the source."""
        before = version_of(task.source)
        if task.in_place:
            self.worklog.announce(task, self.key)
        task.target.parent.mkdir(parents=True, exist_ok=True)
        return before

    def _done(self, task: Task, source_state: list[int] | None, took_s: float, facts: FileFacts) -> Row:
        row = self.worklog.row(task, self.key, source_state, took_s, asdict(facts))
        try:
            self.worklog.append(row)
        except InputError as error:
            return self.failed(task, _reason(task, error), source_state)
        return row

    def failed(self, task: Task, reason: str, source_state: list[int] | None = None) -> Row:
        """The row of a file that could not be enhanced; kept, where the disk lets it."""
        row = self.worklog.row(task, self.key, source_state, failure=reason)
        with suppress(InputError):  # a full disk: the failure itself, most likely, and that is told
            self.worklog.append(row)
        return row

    def _load(self) -> MaskModel:
        try:
            return self.choice.load(self.threads)
        except MemoryError as error:
            raise InputError("there is too little memory for a model in each process; give fewer --jobs") from error


def enhance_alone(
    model: MaskModel, task: Task, settings: Settings, progress: Callable[[int], None] | None
) -> FileFacts:
    """One file, into a folder that is there; InputError when it cannot be."""
    remove_unfinished(task.target.parent)
    try:
        return enhance_file(model, task.source, task.target, settings, task.in_place, progress)
    except MemoryError as error:
        raise InputError(f"{task.source}: {_reason(task, error)}") from error


@contextmanager
def made(folder: Path) -> Iterator[None]:
    """Make a folder if it is missing; after an error what was made goes again, if nothing has come into it.

    InputError when it cannot be made.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder}: cannot be made ({error.strerror}); choose another output") from error
        yield
    except BaseException:
        for path in missing:
            with suppress(OSError):  # not empty, or never made; and the error is the one to tell
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


def _is_fault(error: Exception) -> bool:
    """Whether it is one in the program."""
    return not (isinstance(error, InputError | OSError | MemoryError) or _NO_MEMORY.search(str(error)))


def _reason(task: Task, error: Exception) -> str:
    """The message without the file that the row names."""
    if isinstance(error, InputError):
        return one_line(InputError(str(error).removeprefix(f"{task.source}: ")))
    if isinstance(error, OSError):
        return one_line(error)
    if not _is_fault(error):
        return "there is too little memory for it; end other programs, or give fewer --jobs"
    place = traceback.extract_tb(error.__traceback__)[-1]
    said = f"{type(error).__name__}: {one_line(error)}" if str(error) else type(error).__name__
    where = printable(f"{Path(place.filename).name}, line {place.lineno}")
    return f"{said} ({where}); this is a fault in the program, please report it"
