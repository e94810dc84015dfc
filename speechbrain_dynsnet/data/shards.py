"""Training pairs from tar shards: few large files in place of many small ones.

A shard is a tar file that webdataset reads: `fileid_7.clean.flac` and `fileid_7.noisy.flac` are one sample. Beside the
shards, `index.json` says where in which shard each signal is, so that here they are read like any list, by number:
the order can be drawn anew each epoch, and a stopped epoch goes on exactly where it was.
"""

from __future__ import annotations

import hashlib
import io
import logging
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.data.pairs import EpochSampler, Pair, clip_samples
from speechbrain_dynsnet.data.shard_index import (
    INDEX,
    REMAKE,
    SIGNALS,
    check_pairs,
    choose_shards,
    is_there,
    read_index,
    split_address,
)
from speechbrain_dynsnet.errors import InputError

logger = logging.getLogger(__name__)
_MISSES = 50  # damaged clips in a row before training gives up: not one bad place, but a disk that is gone


@dataclass(frozen=True, eq=False)
class ShardSet:
    """Pairs in shards that are there.

    Arguments
    ---------
    paths : tuple of str
        The shards.
    digests : tuple of str
        Their SHA-256.
    shard : array
        (pairs,), which of `paths` a pair is in; in rising order.
    samples : array
        (pairs,), length of a pair at 16 kHz.
    members : array
        (pairs, 2, 3): for the noisy and the clean file of a pair the offset in its shard, the size in bytes and the
        CRC-32.
    """

    paths: tuple[str, ...]
    digests: tuple[str, ...]
    shard: NDArray[np.int64]
    samples: NDArray[np.int64]
    members: NDArray[np.int64]

    def fingerprint(self) -> dict[str, Any]:
        """What tells these shards from others, wherever they are."""
        digest = hashlib.sha256("\n".join(self.digests).encode()).hexdigest()
        return {"shards": len(self.paths), "pairs": len(self.shard), "sha256": digest}

    def read(self, pair: int, start: int, samples: int) -> list[NDArray[np.float32]]:
        """`samples` values of the noisy and of the clean signal of a pair, from sample `start` on."""
        path = self.paths[self.shard[pair]]
        return [_read_signal(path, member.tolist(), start, samples) for member in self.members[pair]]


class ShardDataset(Dataset[Pair]):
    """An endless list of (noisy, clean) pairs: `len` of them an epoch.

    A pair of a shard is cut into as many clips as fit into it, from a place on that each epoch draws anew; so an epoch
    has each clip once. Clip `i` of epoch `e` has the number `e * len + i`.

    Arguments
    ---------
    shards : ShardSet
        What is read.
    clip_s : float
        Length of a clip, in seconds; rounded to whole hops.
    seed : int
        Another seed is another list.
    """

    def __init__(self, shards: ShardSet, clip_s: float, seed: int) -> None:
        self.shards = shards
        self.samples = clip_samples(clip_s)
        self.seed = seed
        self._clips = shards.samples // self.samples  # of each pair
        self._first = np.concatenate([[0], np.cumsum(self._clips)])  # clip of each pair
        if short := int((self._clips == 0).sum()):
            logger.warning("%d of %d pairs in the shards are shorter than clip_s and not used", short, len(self._clips))

    def __len__(self) -> int:
        return int(self._first[-1])

    def __getitem__(self, index: int) -> Pair:
        """Read a clip; in place of one that is damaged, the next that is not."""
        skipped: list[str] = []
        while True:
            try:
                noisy, clean = self._read(index + len(skipped))
                return Pair(torch.from_numpy(noisy), torch.from_numpy(clean), tuple(skipped))
            except InputError as error:
                skipped.append(str(error))
                if len(skipped) == min(_MISSES, len(self)):
                    raise InputError(f"{len(skipped)} clips in a row are damaged; the last: {error}") from error

    def _read(self, index: int) -> list[NDArray[np.float32]]:
        epoch, clip = divmod(index, len(self))
        pair = int(np.searchsorted(self._first, clip, side="right")) - 1
        spare = self.shards.samples[pair] - self._clips[pair] * self.samples
        offset = np.random.default_rng([self.seed, epoch, pair]).integers(spare + 1)
        start = int(offset + (clip - self._first[pair]) * self.samples)
        return self.shards.read(pair, start, self.samples)

    def clips_of_shards(self) -> list[NDArray[np.int64]]:
        """The clips in each shard."""
        bounds = self._first[np.searchsorted(self.shards.shard, np.arange(len(self.shards.paths) + 1))]
        return [np.arange(begin, end) for begin, end in zip(bounds[:-1], bounds[1:], strict=True)]


class ShardSampler(EpochSampler):
    """The clips of one epoch, each once; each rank has its own run of shards.

    The shards are put into an order that (seed, epoch) decides, and the clips in it are shared out in runs of equal
    length, so a shard at the end of a run may be read by two ranks, which take different clips of it. Ranks have the
    same number of batches whatever shards hold: what is over, less than a batch for each rank, waits for another
    epoch. Within its run a rank takes the clips in random order. Nothing depends on the number of workers.

    Arguments
    ---------
    dataset : ShardDataset
        What the clips are of.
    batch_size : int
        Of one rank.
    rank, ranks : int
        This process, and how many there are.
    """

    def __init__(self, dataset: ShardDataset, batch_size: int, rank: int = 0, ranks: int = 1) -> None:
        if len(dataset) < batch_size * ranks:
            raise InputError(
                f"{len(dataset)} clips in the shards are less than one batch of {batch_size} on each of {ranks} "
                "processes: give more shards, or lower batch_size or clip_s"
            )
        super().__init__(len(dataset), batch_size, rank, ranks)
        self.dataset = dataset

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.dataset.seed, self.epoch])
        in_shards = self.dataset.clips_of_shards()
        in_order = np.concatenate([in_shards[shard] for shard in rng.permutation(len(in_shards))])
        run = in_order[self.rank * self.per_rank :][: self.per_rank]
        np.random.default_rng([self.dataset.seed, self.epoch, self.rank]).shuffle(run)
        return iter((self.epoch * len(self.dataset) + run).tolist())


def open_shards(shards: str, cache: Path | None = None) -> ShardSet:
    """The pairs of some shards, found and checked against their index.

    Arguments
    ---------
    shards : str
        A folder that holds `index.json`; or shards in it, as webdataset writes them: `DIR/{000..009}.tar`.
    cache : Path or None
        Where `fetch_shards` has put them, when `shards` is an address.

    Returns
    -------
    ShardSet
        Checked against the index.

    Raises
    ------
    InputError
        When the index or a shard is missing, damaged, cut short or of something else.
    """
    place, names = split_address(shards)
    folder = cache or Path(place)
    index = read_index(folder)
    check_pairs(index, str(folder))
    chosen = choose_shards(index, names, folder)
    for shard in chosen:
        _check_shard(folder / shard["name"], shard)
    clips = [clip for shard in chosen for clip in shard["clips"]]
    signals = [f"{signal}.{index['format']}" for signal in SIGNALS]
    return ShardSet(
        paths=tuple(str(folder / shard["name"]) for shard in chosen),
        digests=tuple(shard["sha256"] for shard in chosen),
        shard=np.repeat(np.arange(len(chosen)), [len(shard["clips"]) for shard in chosen]),
        samples=np.array([clip["length"] for clip in clips], np.int64),
        members=np.array([[clip["files"][signal] for signal in signals] for clip in clips], np.int64).reshape(-1, 2, 3),
    )


def _check_shard(path: Path, shard: Mapping[str, Any]) -> None:
    if not path.is_file():
        raise InputError(f"{path}: no such shard, though {INDEX} beside it lists it; {REMAKE}")
    if not is_there(path, shard):
        raise InputError(
            f"{path}: has {path.stat().st_size} bytes, not the {shard['bytes']} that {INDEX} says, so it is cut short "
            f"or another file; {REMAKE}"
        )


def _read_signal(path: str, member: Sequence[int], start: int, samples: int) -> NDArray[np.float32]:
    offset, size, crc = member
    try:
        with open(path, "rb") as shard:
            shard.seek(offset)
            content = shard.read(size)
        # A damaged file would still decode, to noise: for the price of a checksum that never reaches the training.
        if zlib.crc32(content) != crc:
            raise InputError(f"{path}: damaged at byte {offset}, or not the shard of its {INDEX}; {REMAKE}")
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            file.seek(start)
            signal = np.asarray(file.read(samples, dtype="float32"))
            right = (file.samplerate, signal.shape) == (SAMPLE_RATE, (samples,))
    except (OSError, soundfile.LibsndfileError) as error:
        raise InputError(f"{path}: cannot be read at byte {offset} ({error}); {REMAKE}") from error
    if not right:
        raise InputError(f"{path}: what is at byte {offset} is not what {INDEX} says; {REMAKE}")
    return signal
