"""The folder that an evaluation writes: finished tables, and until then the rows that a stopped run keeps."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.evaluation.evaluate import COLUMNS, Row
from speechbrain_dynsnet.writing import write_table, write_text

CLIPS, SUMMARY, SETTINGS = "clips.csv", "summary.csv", "settings.json"
_UNFINISHED = ".clips.unfinished.csv"
_END_OF_CLIP = "\n\n"  # no row is empty


class ResultFolder:
    """`settings.json`, `clips.csv` and `summary.csv`.

    Arguments
    ---------
    path : Path
        The folder; made when missing.
    settings : mapping
        What decides the rows, in plain values.
    columns : sequence of str
        Of the rows.

    Raises
    ------
    InputError
        When the folder holds something else, or rows of other settings, or cannot be written to.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], columns: Sequence[str]) -> None:
        self.path = path
        self.columns = columns
        self._unfinished = path / _UNFINISHED
        record = path / SETTINGS
        try:
            if record.is_file():
                _compare(path, json.loads(record.read_text(encoding="utf-8")), settings)
            elif path.exists() and any(path.iterdir()):
                raise InputError(f"{path}: holds something else; give a new or empty folder for the results")
            path.mkdir(parents=True, exist_ok=True)
            write_text(record, json.dumps(settings, indent=1) + "\n")
        except json.JSONDecodeError as error:
            raise InputError(f"{record}: damaged; delete the folder, or give another one") from error
        except OSError as error:
            raise InputError(f"{path}: cannot be written to ({error.strerror}); choose another output") from error

    def resume(self) -> list[Row]:
        """The rows of earlier runs, clip by clip; only whole clips are kept, and more can be added."""
        if (self.path / CLIPS).is_file():
            return read_clips(self.path)
        if not self._unfinished.is_file():
            return []
        # A kill may leave half a clip at the end: what follows the last mark of a whole one.
        whole, mark, _ = self._unfinished.read_text(encoding="utf-8").rpartition(_END_OF_CLIP)
        write_text(self._unfinished, whole + mark)
        return list(csv.DictReader(io.StringIO(whole), self.columns))

    def add(self, rows: Sequence[Row]) -> None:
        """Keep the rows of one clip; InputError when they cannot be written."""
        text = io.StringIO()
        csv.DictWriter(text, self.columns, lineterminator="\n").writerows(rows)
        try:
            with self._unfinished.open("a", newline="", encoding="utf-8") as file:
                file.write(text.getvalue().removesuffix("\n") + _END_OF_CLIP)
        except OSError as error:
            raise InputError(
                f"{self._unfinished}: cannot be written ({error.strerror}); make room and give the same command again"
            ) from error

    def finish(self, rows: Iterable[Row]) -> None:
        """Write `clips.csv`."""
        write_table(self.path / CLIPS, self.columns, rows)
        self._unfinished.unlink(missing_ok=True)

    def write_summary(self, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
        """Write `summary.csv`."""
        write_table(self.path / SUMMARY, columns, rows)


def read_clips(path: Path) -> list[Row]:
    """The rows of an evaluation: a row for each clip and system.

    Arguments
    ---------
    path : Path
        `clips.csv`, or the folder that holds it.

    Returns
    -------
    list of dict
        With `COLUMNS` and the facts of the test set; all values as they stand, an empty metric has no score.

    Raises
    ------
    InputError
        When it is no such table.
    """
    path = path / CLIPS if path.is_dir() else path
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a table of clips ({error}); give one that `dynsnet evaluate` wrote") from error
    if not rows or not set(COLUMNS) <= set(rows[0]):
        raise InputError(f"{path}: not a table of clips; give one that `dynsnet evaluate` wrote")
    return rows


def _compare(path: Path, written: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    before, now = _flat(written), _flat(json.loads(json.dumps(asked)))
    for name in {**now, **before}:
        if before.get(name) != now.get(name):
            raise InputError(
                f"{path}: its clips were scored with {name} {before.get(name)}, not {now.get(name)}; "
                "choose another output, or delete it"
            )


def _flat(settings: Any, name: str = "") -> dict[str, Any]:
    """Every plain value by its path, such as `versions.pesq`."""
    if not isinstance(settings, dict):
        return {name: settings}
    return {
        key: value
        for inner, values in settings.items()
        for key, value in _flat(values, f"{name}.{inner}".lstrip(".")).items()
    }
