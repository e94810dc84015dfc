"""Temporary names for files that are being written, held by a lock, so that those of a killed run can be told apart."""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger(__name__)
_NAME = re.compile(r"\.[0-9a-f]{32}\.part")


@contextmanager
def unfinished_beside(path: Path) -> Iterator[tuple[Path, FileIO]]:
    """A hidden file in the folder of `path`, empty and open; if it still has this name at the end, it goes."""
    while True:
        temporary = path.with_name(f".{uuid.uuid4().hex}.part")
        with FileIO(temporary, "x+") as file:
            try:
                # Before it is held, somebody who clears up may take it for a killed run's: he is done once it is.
                _lock(file.fileno(), temporary, wait=True)
                if temporary.exists():
                    yield temporary, file
                    return
            finally:
                temporary.unlink(missing_ok=True)


def copy_permissions(path: Path, temporary: Path) -> None:
    """Give the file that will replace another its owner and group, as far as the system lets us, and its mode."""
    found = path.stat()
    if sys.platform != "win32":
        for owner, group in ((-1, found.st_gid), (found.st_uid, -1)):
            with suppress(OSError):  # few may give files away, and not every disk knows owners
                os.chown(temporary, owner, group)
    shutil.copymode(path, temporary)


def remove_unfinished(folder: str | Path) -> int:
    """Remove from a folder what this user's killed runs have left, and nothing that is being written; how many."""
    removed = 0
    with os.scandir(folder) as entries:
        left = [Path(entry) for entry in entries if _NAME.fullmatch(entry.name) and _is_own(entry)]
    for path in left:
        # Other processes may be clearing up as well.
        with suppress(FileNotFoundError), path.open("rb") as file:
            if _lock(file.fileno(), path):
                path.unlink()
                removed += 1
    return removed


def _is_own(entry: os.DirEntry[str]) -> bool:
    with suppress(FileNotFoundError):
        return entry.is_file(follow_symlinks=False) and (sys.platform == "win32" or entry.stat().st_uid == os.getuid())
    return False


def _lock(descriptor: int, path: Path, wait: bool = False) -> bool:
    """Hold a file until it is closed or the process ends, kill -9 included; whether that worked."""
    if sys.platform == "win32":
        return False  # it has no flock: nothing is known to be abandoned there
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        logger.debug("%s: this disk knows no locks (%s)", path, error.strerror)
        return False
    return True
