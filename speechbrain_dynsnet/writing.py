"""Files that appear whole or not at all."""

from __future__ import annotations

import csv
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from speechbrain_dynsnet.errors import InputError


def check_writable(path: Path, kind: str) -> None:
    """Find out before any work whether a file can be written, without touching the disk.

    Arguments
    ---------
    path : Path
        The file to write; an existing one may be replaced.
    kind : str
        What it is, such as `CSV file`, for the message.

    Raises
    ------
    InputError
        When it is a folder, or its folder is missing or not writable.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of a {kind} to write")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist; create it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(f"{path}: the folder {path.parent} is not writable; choose another output")


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, with its extension; what is written there becomes `path` at the end.

    An error on the way leaves `path` as it was; one of the system's, such as a full disk, becomes an InputError.
    """
    unfinished = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    try:
        yield unfinished
        os.replace(unfinished, path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); make room, or choose another output"
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, UTF-8, its line ends as they are; InputError when it cannot be written."""
    with appearing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8", newline="")


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write a CSV file, UTF-8; an existing file is replaced.

    Arguments
    ---------
    path : Path
        The file.
    columns : sequence of str
        The header, and the order of the cells.
    rows : iterable of mapping
        A value for each of `columns`.

    Raises
    ------
    InputError
        See `check_writable`; and when the disk is full.
    """
    check_writable(path, "CSV file")
    with appearing(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
