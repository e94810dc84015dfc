"""A look at data before training: its files, and the pairs that they make or that it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.data.check import CheckedFile, Problem
from speechbrain_dynsnet.data.clip_folder import ClipFolder
from speechbrain_dynsnet.data.dns2020 import match_pairs
from speechbrain_dynsnet.data.finding import find_audio
from speechbrain_dynsnet.data.look_files import FilesLook, look_at_files
from speechbrain_dynsnet.data.look_pairs import (
    FilePairs,
    LookPair,
    MixedPairs,
    PairsLook,
    PairSource,
    ShardPairs,
    look_at_pairs,
)
from speechbrain_dynsnet.data.manifest import KINDS, SPLITS, Source, read_corpus
from speechbrain_dynsnet.data.mixing import MixDistribution
from speechbrain_dynsnet.data.pairs import PairDataset
from speechbrain_dynsnet.data.shard_fetching import is_address
from speechbrain_dynsnet.data.shard_index import INDEX
from speechbrain_dynsnet.data.shards import open_shards
from speechbrain_dynsnet.data.tracks import TrackList, Tracks
from speechbrain_dynsnet.errors import InputError

# As the recipes have them: hparams/parts/mixing.yaml, and clip_s of hparams/.
MIXING = MixDistribution(babble_probability=0.1, band_limit_probability=0.1)
CLIP_S = 2.0


@dataclass(frozen=True)
class LookSettings:
    """How to look.

    Arguments
    ---------
    splits : sequence of str
        Which splits to look at; pairs are mixed from the first. Empty: `train` and `valid`, where there are splits.
    clips : int
        How many pairs to measure, at most.
    mixing : MixDistribution
        How pairs are mixed, where the data holds none.
    clip_s : float
        Their length, in seconds.
    seed : int
        Another seed is another sample of files and pairs.
    decoded_folder : str or Path
        Where decoded copies are kept.
    """

    splits: Sequence[str] = ()
    clips: int = 200
    mixing: MixDistribution = MIXING
    clip_s: float = CLIP_S
    seed: int = 0
    decoded_folder: str | Path = "results/decoded"


@dataclass(frozen=True, eq=False)
class Look:
    """What there is to say of some data.

    Arguments
    ---------
    name : str
        What was read: a folder or manifest.
    files : tuple of FilesLook
        For each kind of each split; none for shards.
    origin : str
        Where the pairs come from, in words.
    source : PairSource
        Gives them once more.
    pairs : PairsLook
        What was measured on them.
    """

    name: str
    files: tuple[FilesLook, ...]
    origin: str
    source: PairSource
    pairs: PairsLook

    def durations(self) -> dict[str, NDArray[np.float64]]:
        """Of the files of each kind of sound, over all splits; of the pairs where there are no files. In seconds."""
        kinds = [kind for kind in dict.fromkeys(one.kind for one in self.files) if kind != "impulse_responses"]
        by_kind = {kind: np.concatenate([one.seconds for one in self.files if one.kind == kind]) for kind in kinds}
        return by_kind or {"pairs": self.pairs.column("seconds")}

    def examples(self, count: int) -> list[tuple[LookPair, float]]:
        """Pairs of low to high SNR, and their SNR in dB."""
        return [(self.source.pair(pair.number), pair.snr_db) for pair in self.pairs.spread(count)]


def look(data: str, settings: LookSettings) -> Look:
    """Look at data of any kind that training takes, and at clips on disk.

    Pairs are mixed from the files of the sample (see `look_at_files`), as training mixes them from all.

    Arguments
    ---------
    data : str
        A data folder or manifest (see `read_corpus`), a folder with `clean/` and `noisy/` as synthesise.py writes it,
        or shards of pairs on this machine (see `open_shards`).
    settings : LookSettings
        How.

    Returns
    -------
    Look
        What was found and measured, of each split.

    Raises
    ------
    InputError
        When there is no such data, or nothing in it is of use.
    """
    if is_address(data):
        raise InputError(f"{data}: addresses are for train.py --shards; give a folder")
    path = Path(data)
    if data.endswith(".tar") or (path / INDEX).is_file():
        _refuse_splits(data, settings)
        return _look_at_shards(data, settings)
    if (path / "noisy").is_dir() and (path / "clean").is_dir():
        _refuse_splits(data, settings)
        return _look_at_clips(path, settings)
    return _look_at_corpus(path, settings)


def _look_at_corpus(path: Path, settings: LookSettings) -> Look:
    splits = settings.splits or SPLITS
    files: list[FilesLook] = []
    for split, corpus in read_corpus(path, splits).items():
        for kind in KINDS:
            if sources := [source for source in corpus.sources() if source.kind == kind]:
                files.append(look_at_files(sources, split, kind, settings.decoded_folder, settings.seed))
    tracks = {one.kind: one.tracks for one in files if one.split == splits[0]}
    dataset = PairDataset(
        Tracks(*(tracks.get(kind, TrackList([])) for kind in KINDS)), settings.mixing, settings.clip_s, settings.seed
    )
    origin = f"pairs of {dataset.samples / SAMPLE_RATE:g} s mixed from {splits[0]}"
    source = MixedPairs(dataset)
    return Look(str(path), tuple(files), origin, source, look_at_pairs(source, range(settings.clips)))


def _look_at_clips(folder: Path, settings: LookSettings) -> Look:
    pairs, left_out = match_pairs(folder, "")
    if not pairs:
        raise InputError(f"{folder}: no clean and noisy file have the same file id; synthesise clips first")
    log = ClipFolder(folder).finished(0)
    speakers = {pair.file_id: log[pair.file_id]["speaker"] if pair.file_id in log else "" for pair in pairs}
    by_kind = {
        "clean": [Source(pair.clean, "clean", speakers[pair.file_id]) for pair in pairs],
        "noise": [Source(path, "noise", "") for path in find_audio(folder / "noise")],
        "noisy": [Source(pair.noisy, "noisy", speakers[pair.file_id]) for pair in pairs],
    }
    files = [
        _with_alone(look_at_files(sources, "", kind, settings.decoded_folder, settings.seed), folder / kind, left_out)
        for kind, sources in by_kind.items()
        if sources
    ]
    source = FilePairs(pairs, log)
    return Look(
        str(folder),
        tuple(files),
        f"of {len(pairs):,} pairs",
        source,
        look_at_pairs(source, _draw(len(pairs), settings)),
    )


def _with_alone(files: FilesLook, folder: Path, alone: Mapping[Path, str]) -> FilesLook:
    """The same, and the files of its folder that have no partner."""
    more = [
        CheckedFile(path, problem=Problem.NO_PARTNER, detail=reason)
        for path, reason in alone.items()
        if path.is_relative_to(folder)
    ]
    return replace(files, files=files.files + len(more), left_out=(*files.left_out, *more))


def _look_at_shards(data: str, settings: LookSettings) -> Look:
    shards = open_shards(data)
    source = ShardPairs(shards)
    origin = f"of {len(shards.shard):,} pairs, {shards.samples.sum() / SAMPLE_RATE / 3600.0:.2f} hours"
    return Look(data, (), origin, source, look_at_pairs(source, _draw(len(shards.shard), settings)))


def _draw(pairs: int, settings: LookSettings) -> list[int]:
    """Which pairs to measure, in rising order."""
    return sorted(np.random.default_rng(settings.seed).permutation(pairs)[: settings.clips].tolist())


def _refuse_splits(data: str, settings: LookSettings) -> None:
    if settings.splits:
        raise InputError(f"{data}: holds pairs, and no splits; leave out --split")
