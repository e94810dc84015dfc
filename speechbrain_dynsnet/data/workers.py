"""Loader workers that do not outlive the program they work for."""

from __future__ import annotations

import multiprocessing
import os
import threading


def end_with_parent(worker: int) -> None:
    """Call first in a worker (`worker_init_fn`): it ends when the program that asked for it does.

    torch watches the process that a worker was forked from. That is the fork server, which a kill -9 of the program
    leaves running for as long as it has workers.
    """
    threading.Thread(target=_wait, name="end_with_parent", daemon=True).start()


def _wait() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "only for a worker process"
    parent.join()
    os._exit(1)
