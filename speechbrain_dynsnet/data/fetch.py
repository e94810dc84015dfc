"""Files over HTTP that survive a dropped line: resumed where they stopped, checked, and never half there."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import requests

from speechbrain_dynsnet.errors import InputError

_ATTEMPTS = 5  # in a row that bring nothing new, before giving up
_PAUSE_S = 1.0  # after the first of them; doubled each time
_LONGEST_PAUSE_S = 60.0
_TIMEOUT_S = (15.0, 60.0)  # to connect, and between two packets
_BLOCK = 1 << 14  # bytes; what a dropped line can cost
_BUSY = (429, 500, 502, 503, 504)


class Unreachable(InputError):
    """There is no network, or the server does not answer or stays busy."""


class _Interrupted(Exception):
    """The transfer stopped for a reason that may pass; `pause_s` when the server says how long to wait."""

    def __init__(self, reason: str, pause_s: float = 0.0) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


def no_progress(arrived: int) -> None:
    """Count nothing."""


def check_disk(folder: Path, needed: int) -> None:
    """Find out before any work whether a disk has room.

    Arguments
    ---------
    folder : Path
        Where files will be; it need not exist yet.
    needed : int
        Bytes.

    Raises
    ------
    InputError
        When fewer bytes are free.
    """
    free = free_bytes(folder)
    if free < needed:
        raise InputError(
            f"{folder}: {in_bytes(needed)} are needed and {in_bytes(free)} are free; make room, or choose a folder on "
            "another disk"
        )


def in_bytes(size: int) -> str:
    """A size in words.

    >>> in_bytes(86_000_000_000), in_bytes(5_400_000)
    ('86.0 GB', '5.4 MB')
    """
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk where a folder is, or will be."""
    ground = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(ground).free


class Fetcher:
    """Fetches files, one at a time.

    Arguments
    ---------
    session : requests.Session
        Keeps connections open between files.
    progress : callable
        Is called with the number of bytes that arrived; with a negative one when some were thrown away.
    attempts : int
        So often in a row a server is asked that does not answer.
    timeout_s : pair of float
        So long it may take to connect, and between two packets, in seconds.
    """

    def __init__(
        self,
        session: requests.Session,
        progress: Callable[[int], object] = no_progress,
        attempts: int = _ATTEMPTS,
        timeout_s: tuple[float, float] = _TIMEOUT_S,
    ) -> None:
        self.session = session
        self.progress = progress
        self.attempts = attempts
        self.timeout_s = timeout_s

    def fetch(
        self,
        url: str,
        path: Path,
        size: int | None = None,
        sha256: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Fetch one file; it appears whole and checked, or not at all.

        What arrived is kept beside it, as `.NAME.part`, and the next call goes on from there, when the server can
        and the file is still the same: by its checksum, or by its ETag or date. Otherwise it starts again.

        Arguments
        ---------
        url : str
            Where it is.
        path : Path
            Where it goes; its folder exists, and an existing file is replaced.
        size : int or None
            Bytes that it must have. None: as many as the server says.
        sha256 : str or None
            Its checksum, where one is known.
        headers : mapping or None
            Sent along.

        Raises
        ------
        InputError
            When the server cannot be reached or does not have it, the line drops again and again, size or checksum
            are wrong, or it cannot be written.
        """
        part = part_of(path)
        mark = part.with_name(f"{part.name}.mark")  # what the server calls this version of the file
        if sha256 is None and not mark.exists():
            part.unlink(missing_ok=True)  # nothing would show that it belongs to today's file
        _on_disk(part, part.touch)
        failures, most = 0, _size(part)
        self.progress(most)
        while size is None or _size(part) != size:
            try:
                self._fetch_rest(url, part, mark, sha256 is not None, dict(headers or {}))
                break
            except _Interrupted as interruption:
                if _size(part) > most:
                    failures, most = 0, _size(part)
                failures += 1
                if failures == self.attempts:
                    raise Unreachable(
                        f"{url}: {interruption}, {self.attempts} times in a row; check the network and run the same "
                        "command again, it goes on from there"
                    ) from interruption
                _wait(failures, interruption.pause_s)
        self._check(url, part, size, sha256)
        _on_disk(path, lambda: os.replace(part, path))
        mark.unlink(missing_ok=True)

    def request(self, method: str, url: str, **arguments: Any) -> requests.Response:
        """Send a request, and again while the server is busy.

        Raises
        ------
        Unreachable
            When there is no answer.
        InputError
            When the server refuses.
        """
        for failures in range(1, self.attempts + 1):
            try:
                return self._request(method, url, **arguments)
            except _Interrupted as interruption:
                if failures == self.attempts:
                    raise Unreachable(f"{url}: {interruption}; check the network and try again") from interruption
                _wait(failures, interruption.pause_s)
        raise AssertionError("the last attempt returns or raises")

    def size_of(self, url: str) -> int | None:
        """How many bytes a file has; None when the server does not say."""
        # Not every server answers HEAD. Reading no further than the headers costs no more.
        with self.request("GET", url, headers={"Accept-Encoding": "identity"}, stream=True) as response:
            length = response.headers.get("Content-Length")
        return int(length) if length else None

    def _request(self, method: str, url: str, **arguments: Any) -> requests.Response:
        try:
            response = self.session.request(method, url, timeout=self.timeout_s, **arguments)
        except (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema):
            raise InputError(f"{url}: not an address; it begins with https://") from None
        except requests.Timeout as error:
            raise _Interrupted("the server does not answer in time") from error
        except requests.ConnectionError as error:
            raise _Interrupted("the server cannot be reached, or there is no network") from error
        except requests.RequestException as error:
            raise InputError(f"{url}: cannot be fetched ({error})") from error
        if response.status_code in _BUSY:
            pause = response.headers.get("Retry-After", "")
            raise _Interrupted(
                f"the server is busy (HTTP {response.status_code})", float(pause) if pause.isdecimal() else 0.0
            )
        if response.status_code >= 400 and response.status_code != requests.codes.requested_range_not_satisfiable:
            raise InputError(
                f"{url}: the server refuses (HTTP {response.status_code} {response.reason}{_message(response)}); "
                "check the address, or give another one"
            )
        return response

    def _fetch_rest(self, url: str, part: Path, mark: Path, by_checksum: bool, headers: dict[str, str]) -> None:
        """Bring `part` from what it has to the end; _Interrupted when that stops on the way."""
        if not (by_checksum or mark.exists()):
            self._discard(part, mark)  # nothing would show that what follows belongs to it
        have = _size(part)
        headers["Accept-Encoding"] = "identity"  # bytes as they are stored, so that they can be counted
        if have:
            headers["Range"] = f"bytes={have}-"
            if not by_checksum:
                headers["If-Range"] = mark.read_text(encoding="utf-8")
        with self._request("GET", url, headers=headers, stream=True) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                self._discard(part, mark)
                raise _Interrupted("the server cannot go on from where the file stopped")
            resumed = response.status_code == requests.codes.partial_content
            if have and not resumed:
                self._discard(part, mark)
            elif resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                raise InputError(f"{url}: the server sends another part of the file than asked for; try another mirror")
            version = response.headers.get("ETag", response.headers.get("Last-Modified", ""))
            if version and not version.startswith("W/"):  # weak ones do not promise the same bytes
                _on_disk(mark, lambda: mark.write_text(version, encoding="utf-8"))
            self._store(response, part)

    def _store(self, response: requests.Response, part: Path) -> None:
        file = _on_disk(part, lambda: part.open("ab"))
        with file:
            blocks = response.iter_content(_BLOCK)
            while True:
                try:
                    block = next(blocks, b"")
                except requests.RequestException as error:
                    raise _Interrupted("the connection dropped") from error
                if not block:
                    break
                _on_disk(part, partial(file.write, block))
                self.progress(len(block))

    def _check(self, url: str, part: Path, size: int | None, sha256: str | None) -> None:
        problem = ""
        if size is not None and _size(part) != size:
            problem = f"{_size(part)} bytes arrived instead of {size}"
        elif sha256 is not None and sha256_of(part) != sha256:
            problem = "its checksum is wrong"
        if problem:
            self._discard(part, part.with_name(f"{part.name}.mark"))
            raise InputError(f"{url}: {problem}, so it was thrown away; try again, or another mirror")

    def _discard(self, part: Path, mark: Path) -> None:
        self.progress(-_size(part))
        part.unlink(missing_ok=True)
        mark.unlink(missing_ok=True)


def part_of(path: Path) -> Path:
    """Where a file is while it is incomplete."""
    return path.with_name(f".{path.name}.part")


def _on_disk(path: Path, action: Callable[[], Any]) -> Any:
    try:
        return action()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); make room or choose another folder, and run the same "
            "command again"
        ) from error


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _message(response: requests.Response) -> str:
    """What the server says of a refusal, where it says it in JSON, as GitHub does of a used-up LFS budget."""
    if "json" not in response.headers.get("Content-Type", ""):
        return ""
    try:
        return f": {response.json()['message']}"
    except (requests.JSONDecodeError, KeyError, TypeError):
        return ""


def _wait(failures: int, wanted_s: float) -> None:
    time.sleep(min(max(wanted_s, _PAUSE_S * 2 ** (failures - 1)), _LONGEST_PAUSE_S))
