"""Which files of a work list are enhanced together, side by side in calls of the model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from speechbrain_dynsnet.cli.enhance_files import size_of
from speechbrain_dynsnet.cli.worklist import Task

Batch = tuple[Task, ...]

# On one core, files of 3 to 10 s take 9/10 of the time in twos, 2/3 in eights, and no less in sixteens.
_MOST = 8
_LONGEST = 4_000_000  # bytes, two minutes at 16 kHz in 16 bits: so much work a killed run may do again
_SHORTEST_SHARE = 0.7  # of the longest beside it, which it is filled up to


def batches(tasks: Sequence[Task], jobs: int = 1) -> list[Batch]:
    """Short files of one format and about one size in groups, the others alone; the most work comes first.

    Arguments
    ---------
    tasks : sequence of Task
        In any order.
    jobs : int
        Processes that share them: each gets two batches at least.

    Returns
    -------
    list of Batch
        Each task is in one of them.
    """
    most = _MOST if jobs == 1 else min(_MOST, max(1, len(tasks) // (2 * jobs)))
    sizes = {task: size_of(task.source) for task in tasks}
    found = []
    for _, alike in groupby(sorted(tasks, key=lambda task: (_format(task), -sizes[task])), key=_format):
        batch: Batch = ()
        for task in alike:
            if batch and (len(batch) == most or not _go_together(sizes[batch[0]], sizes[task])):
                found.append(batch)
                batch = ()
            batch += (task,)
        found.append(batch)
    return sorted(found, key=lambda batch: sum(sizes[task] for task in batch), reverse=True)


def _format(task: Task) -> str:
    return task.source.suffix.lower()


def _go_together(longest: int, size: int) -> bool:
    return longest <= _LONGEST and size >= _SHORTEST_SHARE * longest
