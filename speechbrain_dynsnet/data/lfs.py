"""Git LFS: the pointer files that stand for large files, and fetching what they point at over HTTP.

A pointer is a text of three lines with the SHA-256 and the size of the file that it stands for, so that every
fetched file is checked. Specification: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md and
https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from speechbrain_dynsnet.data.fetch import Fetcher, no_progress
from speechbrain_dynsnet.errors import InputError

_LARGEST_POINTER = 1024  # bytes; the specification's limit
_VERSION = b"version https://git-lfs.github.com/spec/"
_POINTER = re.compile(rb"^oid sha256:([0-9a-f]{64})\nsize (\d+)$", re.MULTILINE)
_OBJECTS_A_REQUEST = 100
_MEDIA_TYPE = "application/vnd.git-lfs+json"


@dataclass(frozen=True)
class Pointer:
    """What a pointer file says of the file it stands for; `size` in bytes."""

    sha256: str
    size: int


def read_pointer(path: Path) -> Pointer | None:
    """The pointer that a file is, or None when it is anything else.

    Raises
    ------
    OSError
        When the file cannot be read.
    """
    with path.open("rb") as file:
        if file.read(len(_VERSION)) != _VERSION:
            return None
        found = _POINTER.search(file.read(_LARGEST_POINTER))
    return Pointer(found[1].decode(), int(found[2])) if found else None


def find_pointers(folder: Path) -> dict[Path, Pointer]:
    """All pointer files below a folder, in the order of their names."""
    found = {}
    for parent, _, names in os.walk(folder):
        for path in (Path(parent, name) for name in names):
            if path.is_file() and path.stat().st_size < _LARGEST_POINTER and (pointer := read_pointer(path)):
                found[path] = pointer
    return dict(sorted(found.items()))


def fetch_objects(
    pointers: Mapping[Path, Pointer],
    server: str,
    jobs: int = 8,
    progress: Callable[[int], object] = no_progress,
) -> None:
    """Put what they point at in the place of pointer files.

    Each file is replaced when it is there whole and has the pointer's checksum: a tree in which this was stopped is
    a tree with fewer pointers, and going on is calling this again.

    Arguments
    ---------
    pointers : mapping of Path to Pointer
        What `find_pointers` gives.
    server : str
        The LFS server's address: that of the repository, and `.git/info/lfs`.
    jobs : int
        How many files are fetched at the same time.
    progress : callable
        Is called with the number of bytes that arrived.

    Raises
    ------
    InputError
        When the server cannot be reached, does not have a file or gives another one, or the disk is full.
    """
    paths = list(pointers)
    batches = [paths[start : start + _OBJECTS_A_REQUEST] for start in range(0, len(paths), _OBJECTS_A_REQUEST)]

    lock, stop = threading.Lock(), threading.Event()

    def count(arrived: int) -> None:
        with lock:
            progress(arrived)

    def fetch_batch(batch: Sequence[Path]) -> None:
        with requests.Session() as session:
            fetcher = Fetcher(session, count)
            # Links expire, so they are asked for where they are used.
            links = {} if stop.is_set() else _ask_links(session, server, [pointers[path] for path in batch])
            for path in batch:
                if stop.is_set():
                    return
                pointer = pointers[path]
                link = links[pointer.sha256]
                fetcher.fetch(link["href"], path, pointer.size, pointer.sha256, link.get("header"))

    with ThreadPoolExecutor(jobs) as pool:
        running = [pool.submit(fetch_batch, batch) for batch in batches]
        try:
            for future in as_completed(running):
                future.result()
        finally:
            stop.set()  # after a failure or Ctrl-C, the other threads end with the file they are at


def _ask_links(session: requests.Session, server: str, pointers: Sequence[Pointer]) -> dict[str, dict[str, Any]]:
    """For each SHA-256, where the object is (`href`) and the headers to send (`header`)."""
    url = f"{server.rstrip('/')}/objects/batch"
    body = {
        "operation": "download",
        "transfers": ["basic"],
        "objects": [{"oid": pointer.sha256, "size": pointer.size} for pointer in pointers],
    }
    headers = {"Accept": _MEDIA_TYPE, "Content-Type": _MEDIA_TYPE}
    answer = Fetcher(session).request("POST", url, json=body, headers=headers)
    try:
        objects = {item["oid"]: item for item in answer.json()["objects"]}
    except (requests.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{url}: the answer is not that of a Git LFS server; check the address") from error
    links = {}
    for pointer in pointers:
        item = objects.get(pointer.sha256, {})
        if "download" not in item.get("actions", {}):
            reason = item.get("error", {}).get("message", "no reason given")
            raise InputError(f"{server}: does not give the object {pointer.sha256} ({reason}); try another mirror")
        links[pointer.sha256] = item["actions"]["download"]
    return links
