"""Noisy and clean pairs, mixed or read, and what is measured on them beside what was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.audio.files import read_audio
from speechbrain_dynsnet.audio.resample import resample
from speechbrain_dynsnet.data.clip_folder import Row
from speechbrain_dynsnet.data.dns2020 import PairFiles
from speechbrain_dynsnet.data.levels import active_rms, rms
from speechbrain_dynsnet.data.look_files import decibels
from speechbrain_dynsnet.data.mixing import mix
from speechbrain_dynsnet.data.pairs import PairDataset
from speechbrain_dynsnet.data.shards import ShardSet
from speechbrain_dynsnet.errors import InputError

Signal = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class LookPair:
    """A pair, (time,) each at 16 kHz, and what it was to be; not a number where nobody says."""

    noisy: Signal
    clean: Signal
    asked_snr_db: float = np.nan
    asked_level_dbfs: float = np.nan


class PairSource(Protocol):
    """Where pairs come from: each by its number."""

    def pair(self, number: int) -> LookPair:
        """Mix or read a pair; InputError when that cannot be."""


@dataclass(frozen=True)
class MixedPairs:
    """The pairs that training would mix."""

    dataset: PairDataset

    def pair(self, number: int) -> LookPair:
        """Mix a pair."""
        parameters = self.dataset.parameters(number)
        return LookPair(*mix(parameters), parameters.snr_db, parameters.level_dbfs)


@dataclass(frozen=True)
class FilePairs:
    """Pairs that lie in files; `log` has more of them, by their file ids (see `clip_folder.COLUMNS`)."""

    files: Sequence[PairFiles]
    log: dict[int, Row]

    def pair(self, number: int) -> LookPair:
        """Read a pair; InputError when its files cannot be read or differ in length."""
        files = self.files[number]
        noisy, clean = _read_mono(files.noisy), _read_mono(files.clean)
        if len(noisy) != len(clean):
            raise InputError(f"{files.noisy}: has {len(noisy)} samples at 16 kHz, {files.clean} has {len(clean)}")
        row = self.log.get(files.file_id)
        if row is None:
            return LookPair(noisy, clean, files.snr_db)
        return LookPair(noisy, clean, float(row["snr_db"]), float(row["level_dbfs"]))


@dataclass(frozen=True)
class ShardPairs:
    """Pairs that lie in shards, which do not say what was asked for."""

    shards: ShardSet

    def pair(self, number: int) -> LookPair:
        """Read a pair."""
        noisy, clean = self.shards.read(number, 0, int(self.shards.samples[number]))
        return LookPair(noisy, clean)


@dataclass(frozen=True)
class MeasuredPair:
    """What was measured on one pair, in dB, and in dB full scale; minus infinity is silence.

    Arguments
    ---------
    number : int
        Which pair of its source.
    seconds : float
        Its length.
    snr_db : float
        Active RMS of the speech (see `levels.active_rms`) to RMS of the noise, which is noisy - clean. Infinite where
        there is none of them.
    speech_dbfs, noise_dbfs, mixture_dbfs : float
        Active RMS of the speech; RMS of the noise and of the mixture.
    asked_snr_db, asked_level_dbfs : float
        What SNR and level of the mixture were to be; not a number where nobody says.
    """

    number: int
    seconds: float
    snr_db: float
    speech_dbfs: float
    noise_dbfs: float
    mixture_dbfs: float
    asked_snr_db: float
    asked_level_dbfs: float


@dataclass(frozen=True)
class PairsLook:
    """The pairs that were measured, and why others could not be."""

    measured: tuple[MeasuredPair, ...]
    unreadable: tuple[str, ...] = ()

    def column(self, name: str) -> NDArray[np.float64]:
        """(pairs,), a field of `MeasuredPair`."""
        return np.array([getattr(pair, name) for pair in self.measured], np.float64)

    def spread(self, count: int) -> list[MeasuredPair]:
        """At most so many pairs of low to high SNR, for a closer look; those that have no SNR are none of them."""
        ordered = sorted((pair for pair in self.measured if np.isfinite(pair.snr_db)), key=lambda pair: pair.snr_db)
        places = np.linspace(0.05, 0.95, count) * (len(ordered) - 1)
        return [ordered[place] for place in np.unique(np.round(places).astype(int))] if ordered else []


def look_at_pairs(source: PairSource, numbers: Iterable[int]) -> PairsLook:
    """Measure pairs, with a progress bar.

    Raises
    ------
    InputError
        When not one of them can be read.
    """
    measured, unreadable = [], []
    for number in tqdm(list(numbers), desc="pairs", unit="pair", disable=None):
        try:
            measured.append(_measure(number, source.pair(number)))
        except InputError as error:
            unreadable.append(str(error))
    if not measured:
        raise InputError(f"none of {len(unreadable)} pairs can be read; the first: {unreadable[0]}")
    return PairsLook(tuple(measured), tuple(unreadable))


def _measure(number: int, pair: LookPair) -> MeasuredPair:
    noisy, clean = pair.noisy.astype(np.float64), pair.clean.astype(np.float64)
    speech_dbfs, noise_dbfs = decibels(active_rms(clean)), decibels(rms(noisy - clean))
    return MeasuredPair(
        number=number,
        seconds=len(noisy) / SAMPLE_RATE,
        snr_db=speech_dbfs - noise_dbfs if np.isfinite(speech_dbfs) else -np.inf,
        speech_dbfs=speech_dbfs,
        noise_dbfs=noise_dbfs,
        mixture_dbfs=decibels(rms(noisy)),
        asked_snr_db=pair.asked_snr_db,
        asked_level_dbfs=pair.asked_level_dbfs,
    )


def _read_mono(path: Path) -> Signal:
    audio = read_audio(path)
    return np.asarray(resample(audio.samples.mean(axis=0, keepdims=True), audio.rate, SAMPLE_RATE)[0])
