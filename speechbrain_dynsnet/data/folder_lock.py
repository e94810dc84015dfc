"""A folder for one run at a time: a second one is told so, in place of both destroying each other's work."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from speechbrain_dynsnet.errors import InputError

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger(__name__)
LOCK = ".lock"  # in the folder; empty, and stays there, for a lock file that is removed can be held twice


@contextmanager
def hold(folder: Path) -> Iterator[int]:
    """Keep other runs out of a folder until the context ends or the process does, kill -9 included.

    Processes that this one starts do not hold it: they may outlive it for a moment.

    Yields
    ------
    int
        The descriptor of the lock, for processes that must hold it too, as long as they live (`pass_fds`).

    Raises
    ------
    InputError
        When another run holds it.
    OSError
        When it cannot be written to, or its disk knows no locks.
    """
    with (folder / LOCK).open("a") as lock:
        if sys.platform == "win32":
            # It has no flock. Nobody should be kept from writing there, nor believe to be protected.
            logger.warning("%s: give it to one run at a time, this system does not hold others back", folder)
        else:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"{folder}: another run is writing to it; wait for it, or give another folder"
                ) from None
        yield lock.fileno()
