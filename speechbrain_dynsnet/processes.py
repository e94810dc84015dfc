"""Work in several processes that start clean, end with the program, and leave nothing hanging."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
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

    Raises
    ------
    InputError
        When a process is killed from outside; what `work` raises, too.
    """
    # Not forked: threads (of a pool, of a progress bar, of onnxruntime) and forks do not go together.
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as shared:
        # By file: what is handed to a process directly blocks this one for ever if that process dies as it starts.
        path = Path(shared) / "work"
        path.write_bytes(pickle.dumps(work))
        pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_start, initargs=(path,))
        try:
            for future in as_completed([pool.submit(_call, item) for item in items]):
                yield future.result()
        except BrokenProcessPool as error:
            raise InputError(
                "a process was killed, perhaps for want of memory; give the same command again with fewer --jobs"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


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
