"""The files of one kind: how long and how loud they are, whose they are, and which are of no use."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.data.check import CheckedFile, check_files
from speechbrain_dynsnet.data.levels import active_rms
from speechbrain_dynsnet.data.manifest import Source
from speechbrain_dynsnet.data.store import open_tracks, read_segment
from speechbrain_dynsnet.data.tracks import Track, TrackList
from speechbrain_dynsnet.errors import InputError

# What is read whole, of each kind: enough for a percentile, and no more however large a data set is.
SAMPLE_FILES = 500
SAMPLE_HOURS = 2.0
LEVEL_S = 10.0  # the level of a longer file is that of a piece of it


@dataclass(frozen=True, eq=False)
class FilesLook:
    """The files of one kind and split.

    Arguments
    ---------
    split, kind : str
        Whose files these are; `split` is empty where there are none.
    files : int
        All that were looked at, of use or not.
    groups : int
        How many speakers or categories; 0 when nothing names them.
    seconds : array
        (files of use,), in seconds.
    levels_dbfs : array
        (files of the sample in which there is sound,), active RMS (see `levels.active_rms`) in dB full scale.
    sampled, clipped : int
        Files of the sample, and those of them that go beyond full scale (see `levels.CLIPPED`).
    left_out : tuple of CheckedFile
        Files of no use, each with its `problem`. What is wrong inside a file is known of those of the sample alone.
    tracks : TrackList
        The sample, opened.
    """

    split: str
    kind: str
    files: int
    groups: int
    seconds: NDArray[np.float64]
    levels_dbfs: NDArray[np.float64]
    sampled: int
    clipped: int
    left_out: tuple[CheckedFile, ...]
    tracks: TrackList


def look_at_files(
    sources: Sequence[Source], split: str, kind: str, decoded_folder: str | Path, seed: int = 0
) -> FilesLook:
    """Read the header of every file, and all of a random sample of at most 500 files or about 2 hours.

    Arguments
    ---------
    sources : sequence of Source
        At least one; a group of "" is no group.
    split, kind : str
        What the result is called.
    decoded_folder : str or Path
        Where decoded copies of the sample are kept; see `open_tracks`.
    seed : int
        Another seed is another sample.

    Returns
    -------
    FilesLook
        Of all headers, and of what was heard.

    Raises
    ------
    InputError
        When not one file, or not one of the sample, is of use.
    """
    rng = np.random.default_rng(seed)
    checked = check_files([source.path for source in sources])
    usable = [(source, file) for source, file in zip(sources, checked, strict=True) if file.problem is None]
    _refuse_none(usable, checked, split, kind)
    chosen = [usable[index] for index in _draw_sample(np.array([file.seconds for _, file in usable]), rng)]
    read = check_files([source.path for source, _ in chosen], jobs=os.cpu_count() or 1, decode=True)
    sample = [source for (source, _), file in zip(chosen, read, strict=True) if file.problem is None]
    _refuse_none(sample, read, split, kind)
    bad_inside = {file.path: file for file in read if file.problem is not None}
    good = [(source, file) for source, file in usable if file.path not in bad_inside]
    tracks = TrackList(open_tracks(sample, decoded_folder))
    levels = [level for track in tracks if (level := _level_dbfs(track, rng)) is not None]
    return FilesLook(
        split=split,
        kind=kind,
        files=len(sources),
        groups=len({source.group for source, _ in good} - {""}),
        seconds=np.array([file.seconds for _, file in good]),
        levels_dbfs=np.array(levels),
        sampled=len(sample),
        clipped=sum(file.is_clipped for file in read),
        left_out=(*(file for file in checked if file.problem is not None), *bad_inside.values()),
        tracks=tracks,
    )


def decibels(amplitude: float) -> float:
    """20 log10, in dB full scale for a level; minus infinity for 0."""
    return 20.0 * float(np.log10(amplitude)) if amplitude > 0.0 else -np.inf


def _refuse_none(usable: Sequence[object], checked: Sequence[CheckedFile], split: str, kind: str) -> None:
    if not usable:
        first = checked[0]
        assert first.problem is not None, "a file without a problem is of use"
        raise InputError(
            f"{first.path}: {first.problem.value}, and none of the {len(checked)} files looked at is of use "
            f"({' '.join(filter(None, (split, kind)))}); fetch them again, or give another data folder"
        )


def _draw_sample(seconds: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Indices of random files, in rising order."""
    order = rng.permutation(len(seconds))[:SAMPLE_FILES]
    hours_before = np.cumsum(seconds[order]) - seconds[order]
    return np.sort(order[hours_before < 3600.0 * SAMPLE_HOURS])


def _level_dbfs(track: Track, rng: np.random.Generator) -> float | None:
    """Of a random piece of the track; None for silence."""
    samples = min(track.samples, round(LEVEL_S * SAMPLE_RATE))
    start = int(rng.integers(track.samples - samples + 1))
    level = decibels(active_rms(read_segment(track.path, start, samples)))
    return level if np.isfinite(level) else None
