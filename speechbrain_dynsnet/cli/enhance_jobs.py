"""Enhance in several processes, and go on when one is killed: a file that kills its process is named."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from itertools import chain

from tqdm import tqdm

from speechbrain_dynsnet.cli.batches import Batch, batches
from speechbrain_dynsnet.cli.enhance_files import FileWorker, clear_unfinished
from speechbrain_dynsnet.cli.worklist import Task
from speechbrain_dynsnet.cli.worklog import Row
from speechbrain_dynsnet.processes import map_until_killed

_KILLED = (
    "the process that enhanced it was killed, and again with no other beside it; free some memory, or convert the file "
    "with another program"
)


def enhance_all(worker: FileWorker, tasks: Sequence[Task], jobs: int) -> Iterator[Row]:
    """The rows of all tasks, as they are finished, in so many processes of one thread each.

    When a process is killed, by a crash or for want of memory, the files that were under way are tried again one at a
    time. One that is killed again has failed; when none is, they were too many at once, and go on in one process less.
    """
    jobs = min(jobs, len(tasks))
    rows = map(worker, batches(tasks)) if jobs <= 1 else _in_processes(worker, tasks, jobs)
    return chain.from_iterable(rows)


def _in_processes(worker: FileWorker, tasks: Sequence[Task], jobs: int) -> Iterator[list[Row]]:
    worker.model = None
    worker.threads = 1
    left = deque(batches(tasks, jobs))
    while left:
        killed = yield from map_until_killed(worker, left, jobs, context=worker.choice.processes())
        failed = yield from _one_at_a_time(worker, list(chain.from_iterable(killed)))
        if left and jobs > 1 and not failed:
            jobs -= 1
            tqdm.write(f"a process was killed, perhaps for want of memory; going on in {jobs}", file=sys.stderr)


def _one_at_a_time(worker: FileWorker, tasks: Sequence[Task]) -> Generator[list[Row], None, bool]:
    """The rows of files that were under way when a process was killed; whether one was killed again."""
    clear_unfinished(tasks)
    left = deque[Batch]()
    for task in tasks:
        # It may have been done already, and the process killed before it could say so.
        row = worker.worklog.outcome(task, worker.key)
        if row is None:
            left.append((task,))
        else:
            yield [row]
    failed = False
    while left:
        killed = yield from map_until_killed(worker, left, 1, ahead=1, context=worker.choice.processes())
        again = list(chain.from_iterable(killed))
        clear_unfinished(again)
        for task in again:
            row = worker.worklog.outcome(task, worker.key) or worker.failed(task, _KILLED)
            failed = failed or bool(row.failure)
            yield [row]
    return failed
