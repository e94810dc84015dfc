"""Work in several processes that start clean, end with the program, and leave nothing hanging."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, TypeVar

from speechbrain_dynsnet.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_unordered(work: Callable[[Item], Result], items: Iterable[Item], jobs: int) -> Iterator[Result]:
    """The results as they are finished; no more are begun once something goes wrong.

    Arguments
    ---------
    work : callable
        Sent to each process once, so that it may hold much; must be picklable. What it should hold only there, it
        makes at its first call.
    items : iterable
        Sent one by one.
    jobs : int
        Processes.

    Yields
    ------
    Result
        Of any item that is finished.

    Raises
    ------
    InputError
        When a process is killed from outside; what `work` raises, too.
    """
    left = deque(items)
    killed = yield from map_until_killed(work, left, jobs)
    if killed or left:
        raise InputError(
            "a process was killed, perhaps for want of memory; give the same command again with fewer --jobs"
        )


def map_until_killed(
    work: Callable[[Item], Result],
    items: deque[Item],
    jobs: int,
    ahead: int = 2,
    context: BaseContext | None = None,
) -> Generator[Result, None, list[Item]]:
    """The same for those who can go on when a process is killed: it ends there, and whose fault it was is found out.

    Arguments
    ---------
    work : callable
        See `map_unordered`.
    items : deque
        Taken from the left as they are begun; what is left in it at the end was not touched.
    jobs : int
        Processes.
    ahead : int
        Items begun for each process: with 2, one waits for it, and with 1 no process has more than the one it works on.
    context : BaseContext or None
        How to start processes. None is `clean_start()`.

    Yields
    ------
    Result

    Returns
    -------
    list
        The items that were begun and have no result, because a process was killed: the one that it worked on is among
        them. Empty when none was killed, or one that had nothing to do.
    """
    killed: list[Item] = []
    with tempfile.TemporaryDirectory() as shared:
        # By file: what is handed to a process directly blocks this one for ever if that process dies as it starts.
        path = Path(shared) / "work"
        path.write_bytes(pickle.dumps(work))
        pool = ProcessPoolExecutor(jobs, mp_context=context or clean_start(), initializer=_start, initargs=(path,))
        try:
            begun: dict[Future[Result], Item] = {}
            while _begin(pool, items, begun, ahead * jobs):
                for future in wait(begun, return_when=FIRST_COMPLETED).done:
                    item = begun.pop(future)
                    if isinstance(future.exception(), BrokenProcessPool):
                        killed.append(item)
                    else:
                        yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)
    return killed


def clean_start(module: str | None = None) -> BaseContext:
    """How to start processes without forking this one, whose threads (of a pool, of a progress bar) would be missed.

    Each starts anew, or is forked from one without threads that imports a module, where each would take seconds for
    it. That one begins at once, beside this one: call this as soon as you know what you need.
    """
    if module is None or sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module])
    forkserver.ensure_running()
    return context


def _begin(pool: ProcessPoolExecutor, items: deque[Item], begun: dict[Future[Any], Item], most: int) -> bool:
    """Hand out items until so many are begun, or the pool is broken; whether there is anything to wait for."""
    with suppress(BrokenProcessPool):  # those that it had begun say so as well
        while items and len(begun) < most:
            future = pool.submit(_call, items[0])
            begun[future] = items.popleft()
    return bool(begun)


def end_with_parent(*_: object) -> None:
    """Call first in a process that works for another: it ends when that one does, kill -9 included.

    Nobody else would tell it to. torch watches the process that a loader's worker was forked from; with a fork server
    that is not the program, and lives on as long as it has workers.
    """
    threading.Thread(target=_wait, name="end_with_parent", daemon=True).start()


def _wait() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "only for a process that another one started"
    parent.join()
    os._exit(1)


_work: Callable[[Any], Any]  # one a process


def _start(path: Path) -> None:
    global _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process, which ends this one
    end_with_parent()
    _work = pickle.loads(path.read_bytes())


def _call(item: Any) -> Any:
    return _work(item)
