"""Commands that run for hours, some at once, each with a log: those that are done are left out, failures are named."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from speechbrain_dynsnet.errors import printable

_POLL_S = 0.2
_STOP_S = 10.0  # until a process that was asked to end is killed


@dataclass(frozen=True)
class Task:
    """A command that goes on where it was stopped.

    Arguments
    ---------
    name : str
        For messages.
    command : tuple of str
        Program and arguments.
    log : Path
        What it prints is added to this file.
    leaves : Path
        Appears, whole, when it is done.
    needs : tuple of Path
        Must be there before it can begin; when one is newer than `leaves`, it runs again.
    always : bool
        Whether it runs again in any case.
    """

    name: str
    command: tuple[str, ...]
    log: Path
    leaves: Path
    needs: tuple[Path, ...] = ()
    always: bool = False

    @property
    def is_done(self) -> bool:
        """Whether it can be left out."""
        if self.always or not self.leaves.exists():
            return False
        made = self.leaves.stat().st_mtime
        return not self.missing and all(path.stat().st_mtime <= made for path in self.needs)

    @property
    def missing(self) -> list[Path]:
        """What it needs and is not there: without that it cannot begin."""
        return [path for path in self.needs if not path.exists()]


def run_tasks(
    tasks: Sequence[Task], jobs: int, keep: Sequence[int] = (), note: Callable[[], None] = lambda: None
) -> dict[str, str]:
    """Run what is not done, in processes of one thread; when this one is interrupted, they end too.

    Arguments
    ---------
    tasks : sequence of Task
        Begun in their order, as far as they can be.
    jobs : int
        So many at once.
    keep : sequence of int
        Open files that the processes keep open, such as a lock: if this process is killed, they live on with it.
    note : callable
        Called after each beginning and end.

    Returns
    -------
    dict of str to str
        Why what has failed did, by its name. The others went on.
    """
    waiting = [task for task in tasks if not task.is_done]
    running: dict[subprocess.Popen[bytes], tuple[Task, int, float]] = {}
    failures: dict[str, str] = {}
    bar = tqdm(total=len(tasks), initial=len(tasks) - len(waiting), disable=None if len(tasks) > 1 else True)
    try:
        while waiting or running:
            for task in [task for task in waiting if not task.missing][: jobs - len(running)]:
                waiting.remove(task)
                with task.log.open("ab") as log:
                    running[_start(task, log, keep)] = task, log.tell(), time.monotonic()
                tqdm.write(f"begun: {task.name}, see {task.log}")
                note()
            if not running:
                failures |= {task.name: f"needs {task.missing[0]}, which is not there" for task in waiting}
                break
            time.sleep(_POLL_S)
            for process in [process for process in running if process.poll() is not None]:
                task, offset, begun = running.pop(process)
                took = timedelta(seconds=round(time.monotonic() - begun))
                if process.returncode == 0 and task.leaves.exists():
                    tqdm.write(f"done: {task.name}, in {took}")
                else:
                    tqdm.write(f"failed: {task.name}, after {took}")
                    failures[task.name] = f"{_last_line(task.log, offset)} ({_ending(process.returncode)})"
                bar.update()
                note()
    finally:
        bar.close()
        _stop(running)
    return failures


def _start(task: Task, log: BinaryIO, keep: Sequence[int]) -> subprocess.Popen[bytes]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        task.command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment, pass_fds=keep
    )


def _stop(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """End what still runs."""
    processes = list(processes)
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _last_line(log: Path, offset: int) -> str:
    """Of what was added to a log: there a command says what was wrong."""
    text = log.read_bytes()[offset:].decode("utf-8", "replace").strip()
    return printable(text.splitlines()[-1].removeprefix("Error: ")) if text else "it said nothing"


def _ending(code: int) -> str:
    return f"ended by signal {-code}" if code < 0 else f"exit code {code}"
