"""Check many audio files: how long they are, and which are of no use, and why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import Enum
from itertools import chain
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from speechbrain_dynsnet.audio.files import read_audio
from speechbrain_dynsnet.data.levels import CLIPPED
from speechbrain_dynsnet.data.lfs import read_pointer
from speechbrain_dynsnet.errors import InputError

_FILES_A_TASK = 64  # a task each would cost more than reading the header
# What libsndfile logs of a chunk of samples (WAV, AIFF) that should be longer than the file is.
_SHORT_CHUNK = re.compile(r"^\s*(?:data|SSND)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
_UNKNOWN_LENGTH = 0xFFFFFF00  # a WAV that was written into a pipe says this or more


class Problem(Enum):
    """Why a file is of no use."""

    GONE = "no such file"
    EMPTY = "empty"
    POINTER = "a Git LFS pointer, not audio"
    UNREADABLE = "not readable as audio"
    CUT = "cut short"
    DAMAGED = "damaged"
    SILENT = "silent"
    SHORT = "too short"
    NO_PARTNER = "no partner"


@dataclass(frozen=True)
class CheckedFile:
    """What a look at one file gave; `detail` says more of `problem` where there is more to say.

    `is_clipped`, that samples reach full scale, is no problem, and only known when every sample was read.
    """

    path: Path
    seconds: float = 0.0
    rate_hz: int = 0
    channels: int = 0
    problem: Problem | None = None
    detail: str = ""
    is_clipped: bool = False


def check_files(paths: Iterable[Path], jobs: int = 16, decode: bool = False) -> list[CheckedFile]:
    """Look at files in parallel, with a progress bar.

    Arguments
    ---------
    paths : iterable of Path
        Audio files of any format that libsndfile reads.
    jobs : int
        Threads. More than there are cores help where the disk is slow to answer.
    decode : bool
        Read every sample, which finds silence, clipping, NaN and damage in the middle, and takes as long as reading
        the whole data. Otherwise the header and the last sample are read.

    Returns
    -------
    list of CheckedFile
        In the order of `paths`.
    """
    paths = list(paths)
    tasks = [paths[start : start + _FILES_A_TASK] for start in range(0, len(paths), _FILES_A_TASK)]
    with ThreadPoolExecutor(jobs) as pool, tqdm(total=len(paths), desc="checking", unit="file", disable=None) as bar:

        def check(task: Sequence[Path]) -> list[CheckedFile]:
            checked = [check_file(path, decode) for path in task]
            bar.update(len(task))
            return checked

        return list(chain.from_iterable(pool.map(check, tasks)))


def check_file(path: Path, decode: bool = False) -> CheckedFile:
    """Look at one file; see `check_files`."""
    try:
        if path.stat().st_size == 0:
            return CheckedFile(path, problem=Problem.EMPTY, detail="0 bytes")
        if read_pointer(path):
            return CheckedFile(path, problem=Problem.POINTER)
        checked = _read_header(path)
    except FileNotFoundError:
        return CheckedFile(path, problem=Problem.GONE)
    except TypeError:  # what soundfile says of a .raw file
        return CheckedFile(path, problem=Problem.UNREADABLE, detail="raw samples carry no rate or format")
    except (soundfile.LibsndfileError, OSError) as error:
        detail = error.error_string.rstrip(".") if isinstance(error, soundfile.LibsndfileError) else error.strerror
        return CheckedFile(path, problem=Problem.UNREADABLE, detail=str(detail))
    return _read_samples(checked) if decode and checked.problem is None else checked


def _read_header(path: Path) -> CheckedFile:
    with soundfile.SoundFile(path) as file:
        seconds = file.frames / file.samplerate
        checked = CheckedFile(path, seconds, file.samplerate, file.channels)
        if not file.frames:
            return CheckedFile(path, problem=Problem.EMPTY, detail="no samples")
        if found := _SHORT_CHUNK.search(file.extra_info):
            promised, there = int(found[1]), int(found[2])
            if there < promised < _UNKNOWN_LENGTH:
                detail = f"{there} of {promised} bytes are there"
                return CheckedFile(path, problem=Problem.CUT, detail=detail)
        file.seek(file.frames - 1)
        if not len(file.read(1)):
            return CheckedFile(path, problem=Problem.CUT, detail="its header promises more than there is")
    return checked


def _read_samples(checked: CheckedFile) -> CheckedFile:
    try:
        audio = read_audio(checked.path)
    except InputError as error:
        detail = str(error).removeprefix(f"{checked.path}: ")
        return CheckedFile(checked.path, problem=Problem.DAMAGED, detail=detail)
    peak = np.abs(audio.samples).max()
    if peak == 0.0:
        return CheckedFile(checked.path, problem=Problem.SILENT)
    return replace(checked, is_clipped=bool(peak > CLIPPED))
