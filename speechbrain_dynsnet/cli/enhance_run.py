"""A run of `dynsnet enhance` over many files, or the part of one rank, from the record before it to the table after."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

import click

from speechbrain_dynsnet.audio.enhancement import MaskModel, Settings
from speechbrain_dynsnet.cli.enhance_files import FileWorker, clear_unfinished
from speechbrain_dynsnet.cli.enhance_jobs import enhance_all
from speechbrain_dynsnet.cli.enhance_model import ModelChoice
from speechbrain_dynsnet.cli.enhance_progress import Progress
from speechbrain_dynsnet.cli.enhance_report import Result, results_of
from speechbrain_dynsnet.cli.enhance_table import Outcome
from speechbrain_dynsnet.cli.worklist import Task, share
from speechbrain_dynsnet.cli.worklog import Worklog
from speechbrain_dynsnet.errors import InputError


class Run:
    """The tasks of all ranks, and what this one does of them.

    Arguments
    ---------
    tasks : sequence of Task
        Of all ranks, in the same order for all.
    folder : Path
        Where the record is kept, and the table when the results are there too.
    settings : Settings
        How to enhance.
    choice : ModelChoice
        The model.
    model : MaskModel
        The same, loaded.
    rank, ranks : int
        Which of how many processes that share the work.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        folder: Path,
        settings: Settings,
        choice: ModelChoice,
        model: MaskModel,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self._tasks = tasks
        self._worklog = Worklog(folder, rank, ranks)
        used = asdict(replace(settings, exit=model.check_exit(settings.exit)))
        self._key = sha256(f"{json.dumps(used, sort_keys=True)} {choice.fingerprint()}".encode()).hexdigest()[:32]
        self._worker = FileWorker(choice, settings, self._worklog, self._key, model=model)

    def enhance(
        self,
        jobs: int = 1,
        resume: bool = False,
        table: Path | None = None,
        write_page: Callable[[Sequence[Result]], None] | None = None,
    ) -> int:
        """Do this rank's part and say what came of it; the exit code: 1 when files failed, 0 otherwise.

        Of several ranks the last to finish speaks for all, with the exit code too: some launchers end all ranks as soon
        as one ends with another code than 0.

        Arguments
        ---------
        jobs : int
            Processes.
        resume : bool
            Leave out what is done.
        table : Path or None
            A CSV file to write.
        write_page : callable or None
            Called at the end, of several ranks by the last to finish, with all results that are there.

        Returns
        -------
        int
            The exit code of the command.
        """
        worklog = self._worklog
        mine = share(self._tasks, worklog.rank, worklog.ranks)
        worklog.begin(self._key)
        clear_unfinished(mine)
        finished = worklog.finished(self._key)
        skipped = {task: row for task in mine if resume and (row := finished.find(task)) is not None}
        left = [task for task in mine if task not in skipped]
        rows = []
        begun = time.monotonic()
        with Progress(left, quiet=worklog.rank > 0) as progress:
            for row in enhance_all(self._worker, left, jobs):
                rows.append(row)
                progress.add(row)
        wall_s = time.monotonic() - begun
        own = Outcome(rows, list(skipped.values()), wall_s)
        together, missing = (own, []) if worklog.ranks == 1 else self._of_all_ranks(own)
        if missing:
            click.echo(
                f"rank {worklog.rank} of {worklog.ranks} has done its part, {own.counts()}; still missing: "
                f"{', '.join(f'rank {rank}' for rank in missing)}"
            )
            return 0
        click.echo("\n".join(together.lines()))
        for line in together.failure_lines():
            click.echo(line, err=True)
        if table is not None:
            together.write(table)
        if write_page is not None:
            write_page(results_of(together, worklog.folder))
        return int(bool(together.failures))

    def _of_all_ranks(self, own: Outcome) -> tuple[Outcome, list[int]]:
        """What all ranks have done so far, and those that have not ended; this one has."""
        self._worklog.end(own.wall_s)
        rows, missing, longest_s = self._worklog.of_this_run(self._key)
        rows |= {row.target: row for row in own.rows}  # a full disk keeps them out of the record
        finished = self._worklog.finished(self._key)
        done, skipped = [], []
        for place, task in enumerate(self._tasks):
            row = rows.get(self._worklog.name(task))
            if row is not None and (row.facts or row.failure):
                done.append(row)
            elif (row := finished.find(task)) is not None:
                skipped.append(row)
            else:
                missing.append(place % self._worklog.ranks)
        return Outcome(done, skipped, max(longest_s, own.wall_s)), sorted(set(missing))


def rank_and_ranks(environment: Mapping[str, str]) -> tuple[int, int]:
    """Which process of how many this is, from RANK and WORLD_SIZE; InputError when they make no sense."""
    given = [environment.get(name) for name in ("RANK", "WORLD_SIZE")]
    if given == [None, None]:
        return 0, 1
    try:
        rank, ranks = (int(value or "") for value in given)
        if not 0 <= rank < ranks:
            raise ValueError
    except ValueError as error:
        raise InputError(
            f"RANK is {given[0]} and WORLD_SIZE is {given[1]}: set both, RANK from 0 to WORLD_SIZE - 1, or neither"
        ) from error
    return rank, ranks
