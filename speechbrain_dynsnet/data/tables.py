"""CSV files that appear whole or not at all."""

from __future__ import annotations

import csv
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from speechbrain_dynsnet.errors import InputError


def check_table_output(path: Path) -> None:
    """Find out before any work whether a table can be written, without touching the disk.

    Arguments
    ---------
    path : Path
        The file to write; an existing one may be replaced.

    Raises
    ------
    InputError
        When it is a folder, or its folder is missing or not writable.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of a CSV file to write")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist; create it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(f"{path}: the folder {path.parent} is not writable; choose another output")


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write a header and rows under a temporary name, then rename; an existing file is replaced.

    Arguments
    ---------
    path : Path
        The CSV file, UTF-8.
    columns : sequence of str
        The header, and the order of the cells.
    rows : iterable of mapping
        A value for each of `columns`.

    Raises
    ------
    InputError
        See `check_table_output`; and when the disk is full.
    """
    check_table_output(path)
    unfinished = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with unfinished.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        os.replace(unfinished, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another output") from error
    finally:
        unfinished.unlink(missing_ok=True)
