"""The folder that synthesised clips are written to: whole clips only, which later runs keep."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.audio.files import Audio, write_audio
from speechbrain_dynsnet.data.fetch import check_disk, free_bytes, in_bytes
from speechbrain_dynsnet.data.folder_lock import LOCK, hold
from speechbrain_dynsnet.data.recordings import Recordings
from speechbrain_dynsnet.data.synthesis import Clip, ClipParameters, noisy_name
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.writing import write_table

KINDS = ("noisy", "clean", "noise")
COLUMNS = (
    *("file_id", "noisy", "snr_db", "level_dbfs", "level_reached_dbfs", "speaker"),
    *("speech", "noise", "impulse_response", "target", "skipped", "inactive"),
)
UNFINISHED = ".unfinished-"  # begins the name of what the next run may remove
_BYTES = 2  # of a sample: clips are 16-bit WAV

Row = dict[str, str]


class ClipFolder:
    """`noisy/`, `clean/` and `noise/` with a WAV each for a clip, `log.csv` and `settings.json`.

    A clip is done when its three files are there and `log.csv` has its row. Who claimed the folder may write the
    log, and let any number of processes write clips.

    Arguments
    ---------
    path : Path
        The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._log = path / "log.csv"

    @contextmanager
    def claim(self, settings: Mapping[str, object]) -> Iterator[None]:
        """Make the folder ready for clips of these settings, and keep other runs out until the context ends.

        Raises
        ------
        InputError
            When it holds something else or clips of other settings, another run is writing to it, or it cannot be
            made.
        """
        with ExitStack() as held:
            self._begin(settings, held)
            yield

    def finished(self, samples: int) -> dict[int, Row]:
        """The row of every clip that is done; clips have this many samples."""
        return {
            _file_id(row): row
            for row in self._read_log()
            if all(_is_whole(path, samples) for path in self._files(_file_id(row), row["noisy"]).values())
        }

    def check_space(self, clips: int, samples: int) -> None:
        """InputError when so many more clips do not fit on the disk."""
        check_disk(self.path, clips * len(KINDS) * _BYTES * samples)

    def write(self, parameters: ClipParameters, clip: Clip, recordings: Recordings) -> Row:
        """Write a clip's three files, none of which appears before all are written. Returns its row for the log."""
        noisy = noisy_name(parameters, clip, recordings.name)
        signals = {"noisy": clip.noisy, "clean": clip.clean, "noise": clip.noise}
        try:
            with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=self.path) as unfinished:
                for kind, signal in signals.items():
                    write_audio(Path(unfinished) / f"{kind}.wav", Audio(signal[np.newaxis], SAMPLE_RATE))
                for kind, path in self._files(parameters.file_id, noisy).items():
                    os.replace(Path(unfinished) / f"{kind}.wav", path)
        except (InputError, OSError) as error:
            raise self._failure(f"clip {parameters.file_id}", error) from error
        return _row(parameters, clip, noisy, recordings)

    def write_log(self, rows: Iterable[Row]) -> None:
        """Write the log anew, in the order of file ids."""
        in_order: list[Row] = sorted(rows, key=_file_id)
        write_table(self._log, COLUMNS, in_order)

    def add_to_log(self, row: Row) -> None:
        """Add a row, at once: a clip in the log is not made again after a kill."""
        try:
            with self._log.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(row)
        except OSError as error:
            raise self._failure("log.csv", error) from error

    def _begin(self, settings: Mapping[str, object], held: ExitStack) -> None:
        record = self.path / "settings.json"
        unfinished = record.with_suffix(".part")
        try:
            if record.is_file():
                written = _read_settings(record)
                # The settings of a run that made no clips, for it found nothing usable, bind nobody.
                if written.keys() != settings.keys() or any(self.path.glob("*/*.wav")):
                    self._compare(written, settings)
            elif self.path.exists() and any(path.name != LOCK for path in self.path.iterdir()):
                raise InputError(f"{self.path}: holds something else; give a new or empty folder for the clips")
            self.path.mkdir(parents=True, exist_ok=True)
            held.enter_context(hold(self.path))
            # First, so that what a full disk leaves is known as this folder's.
            unfinished.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
            os.replace(unfinished, record)
            for kind in KINDS:
                (self.path / kind).mkdir(exist_ok=True)
            for leftover in self.path.glob(f"{UNFINISHED}*"):  # of a run that was killed
                shutil.rmtree(leftover)
        except OSError as error:
            if self.path.is_dir():
                unfinished.unlink(missing_ok=True)
            raise InputError(f"{self.path}: cannot be written to ({error.strerror}); choose another output") from error

    def _files(self, file_id: int, noisy: str) -> dict[str, Path]:
        names = {"noisy": noisy, "clean": f"clean_fileid_{file_id}.wav", "noise": f"noise_fileid_{file_id}.wav"}
        return {kind: self.path / kind / name for kind, name in names.items()}

    def _compare(self, written: Mapping[str, object], asked: Mapping[str, object]) -> None:
        for name in {**asked, **written}:
            if written.get(name) != asked.get(name):
                what = f"with {name} {written.get(name)}, not {asked.get(name)}"
                if name == "recordings":
                    what = "from other recordings than are there now"
                raise InputError(f"{self.path}: its clips were made {what}; choose another output, or delete it")

    def _read_log(self) -> list[Row]:
        if not self._log.exists():
            return []
        # A kill may leave half a line: a clip without its row is made again.
        whole, newline, _ = self._log.read_text(encoding="utf-8", errors="replace").rpartition("\n")
        rows = csv.DictReader(io.StringIO(whole + newline))
        return [row for row in rows if tuple(row) == COLUMNS and None not in row.values()]

    def _failure(self, what: str, error: Exception) -> InputError:
        # Most often the disk is full, which libsndfile calls a system error.
        free = free_bytes(self.path)
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return InputError(
            f"{self.path}: {what} could not be written, {in_bytes(free)} are free on the disk; make room and give "
            f"the same command again, what is finished is kept ({reason})"
        )


def _read_settings(record: Path) -> dict[str, object]:
    damaged = InputError(f"{record}: damaged; delete the folder, or give another one")
    try:
        settings = json.loads(record.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise damaged from error
    if not isinstance(settings, dict):
        raise damaged
    return settings


def _file_id(row: Row) -> int:
    return int(row["file_id"])


def _is_whole(path: Path, samples: int) -> bool:
    return path.is_file() and path.stat().st_size > _BYTES * samples


def _row(parameters: ClipParameters, clip: Clip, noisy: str, recordings: Recordings) -> Row:
    response = parameters.impulse_response
    speech, noise = (
        ";".join(
            f"{recordings.name(segment.path)}[{segment.start}:{segment.start + segment.samples}]"
            for segment in segments
            if segment.path is not None
        )
        for segments in (parameters.speech, parameters.noise)
    )
    return {
        "file_id": str(parameters.file_id),
        "noisy": noisy,
        "snr_db": f"{parameters.snr_db:.3f}",
        "level_dbfs": f"{parameters.level_dbfs:.3f}",
        "level_reached_dbfs": f"{clip.level_dbfs:.3f}",
        "speaker": parameters.speaker,
        "speech": speech,
        "noise": noise,
        "impulse_response": recordings.name(response.path) if response and response.path else "",
        "target": parameters.target,
        "skipped": ";".join(f"{reason}:{recordings.name(path)}" for path, reason in parameters.skipped.items()),
        "inactive": str(parameters.inactive),
    }
