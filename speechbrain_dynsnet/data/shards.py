"""Training pairs from tar shards: few large files in place of many small ones.

A shard is a tar file that webdataset reads: `fileid_7.clean.flac` and `fileid_7.noisy.flac` are one sample. Beside the
shards, `index.json` says where in which shard each signal is, so that here they are read like any list, by number:
the order can be drawn anew each epoch, and a stopped epoch goes on exactly where it was.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import requests
import soundfile
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset
from tqdm import tqdm
from webdataset.shardlists import expand_urls

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.data.fetch import Fetcher, Unreachable, check_disk, part_of, sha256_of
from speechbrain_dynsnet.data.pairs import EpochSampler, Pair, clip_samples
from speechbrain_dynsnet.errors import InputError

logger = logging.getLogger(__name__)
INDEX = "index.json"
KINDS = ("pairs", "sources")  # what a shard may hold
SIGNALS = ("noisy", "clean")  # of a pair
_MISSES = 50  # damaged clips in a row before training gives up: not one bad place, but a disk that is gone
_REMAKE = "write the shards again with shard.py, or fetch them again"


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


def is_address(shards: str) -> bool:
    """Whether shards are to be fetched first."""
    return shards.startswith(("http://", "https://"))


def cache_of(shards: str, folder: Path) -> Path:
    """Where below `folder` the shards of an address are kept."""
    return folder / hashlib.sha256(_split(shards)[0].encode()).hexdigest()[:16]


def fetch_shards(shards: str, cache: Path) -> None:
    """Fetch the index, and the shards in it that are not in `cache` yet; what was cut off goes on where it stopped.

    The index is fetched anew each time, as shards may have been added or written again. Where the server cannot be
    reached, what was fetched before serves, with a warning.

    Arguments
    ---------
    shards : str
        An address of a folder that holds `index.json`, or of shards in it, such as `https://host/{000..009}.tar`.
    cache : Path
        Each file appears in it whole and checked, or not at all.

    Raises
    ------
    InputError
        When they cannot be fetched, the disk is too small, or the index is none of finished shards of pairs.
    """
    address, names = _split(shards)
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{cache}: cannot be written to ({error.strerror}); choose another folder") from error
    with requests.Session() as session:
        _fetch_index(session, f"{address}/{INDEX}", cache)
        missing = [
            shard for shard in _choose(read_index(cache), names, cache) if not _is_there(cache / shard["name"], shard)
        ]
        there = [part_of(cache / shard["name"]) for shard in missing]
        size = sum(shard["bytes"] for shard in missing)
        check_disk(cache, size - sum(part.stat().st_size for part in there if part.exists()))
        with tqdm(total=size, desc="shards", unit="B", unit_scale=True, disable=None) as bar:
            for shard in missing:
                name = shard["name"]
                Fetcher(session, bar.update).fetch(
                    f"{address}/{name}", cache / name, size=shard["bytes"], sha256=shard["sha256"]
                )


def open_shards(shards: str, cache: Path | None = None) -> ShardSet:
    """The pairs of some shards, found and checked against their index.

    Arguments
    ---------
    shards : str
        A folder that holds `index.json`; or shards in it, as webdataset writes them: `DIR/{000..009}.tar`.
    cache : Path or None
        Where `fetch_shards` has put them, when `shards` is an address.

    Raises
    ------
    InputError
        When the index or a shard is missing, damaged, cut short or of something else.
    """
    place, names = _split(shards)
    folder = cache or Path(place)
    index = read_index(folder)
    _check_index(index, str(folder))
    chosen = _choose(index, names, folder)
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


def read_index(folder: Path) -> dict[str, Any]:
    """The index of a folder of shards.

    Returns
    -------
    dict
        `kind` (one of `KINDS`), `format` (`flac` or `wav`), `settings`, `complete` and `shards`: of each `name`,
        `bytes`, `sha256`, `seconds`, `samples` (how many) and `clips`: of each `key`, `length` (in samples at
        16 kHz) and `files`, which maps the extension of a member to its offset, size and CRC-32.

    Raises
    ------
    InputError
        When there is none, or it is no such index.
    """
    path = folder / INDEX
    if not path.is_file():
        raise InputError(f"{path}: no such index; give the folder that shard.py wrote, or shards in it")
    return _parse_index(path, str(path))


def _parse_index(path: Path, name: str) -> dict[str, Any]:
    try:
        index: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for shard in index["shards"]:
            _check_entry(shard, index["kind"], index["format"])
        well_formed = index["kind"] in KINDS and {"complete", "settings"} <= index.keys()
    except (ValueError, KeyError, TypeError, AttributeError):
        well_formed = False
    if not well_formed:
        raise InputError(f"{name}: not an index of shards, or damaged; {_REMAKE}")
    return index


def _check_index(index: Mapping[str, Any], place: str) -> None:
    """Raise InputError where it is not of finished shards of pairs."""
    if not index["complete"]:
        raise InputError(f"{place}/{INDEX}: the shards are not all written; run shard.py again to its end")
    if index["kind"] != "pairs":
        raise InputError(
            f"{place}: its shards hold source clips, not pairs; unpack them into one folder (tar -xf) and give that "
            "as --data_folder"
        )


def _fetch_index(session: requests.Session, address: str, cache: Path) -> None:
    """Put the server's index into `cache`, after removing the shards there that are not those it lists."""
    try:
        known = read_index(cache)
    except InputError:  # there is none, or a damaged one: both are replaced
        known = {"complete": False, "shards": []}
    fetched = cache / f".{INDEX}.new"
    try:
        Fetcher(session).fetch(address, fetched)
        index = _parse_index(fetched, address)
        _check_index(index, address.removesuffix(f"/{INDEX}"))
        digests = {shard["name"]: shard["sha256"] for shard in known["shards"]}
        for shard in index["shards"]:
            path, digest = cache / shard["name"], shard["sha256"]
            if digests.get(shard["name"]) != digest:
                part_of(path).unlink(missing_ok=True)
                if path.is_file() and sha256_of(path) != digest:
                    path.unlink()
        # Last, so that a kill leaves no shard beside an index of other ones.
        os.replace(fetched, cache / INDEX)
    except Unreachable as error:
        if not known["complete"]:
            raise
        logger.warning("%s; the shards that were fetched before are used", error)
    finally:
        fetched.unlink(missing_ok=True)


def _check_entry(shard: Mapping[str, Any], kind: str, extension: str) -> None:
    """Raise ValueError, KeyError or TypeError for what is no description of a shard."""
    expected = {f"{signal}.{extension}" for signal in SIGNALS} if kind == "pairs" else {extension}
    name, size, digest, clips = shard["name"], shard["bytes"], shard["sha256"], shard["clips"]
    well_formed = Path(name).name == name and len(digest) == 64 and shard["samples"] == len(clips)
    for clip in clips:
        positions = [(int(offset), int(length)) for offset, length, _ in clip["files"].values()]
        inside = all(512 <= offset and 0 < length <= size - offset for offset, length in positions)
        well_formed = well_formed and inside and clip["files"].keys() == expected and int(clip["length"]) > 0
    if not well_formed:
        raise ValueError


def _split(shards: str) -> tuple[str, list[str] | None]:
    """The folder or its address, and the names of the shards in it; None: all of them."""
    if not shards.endswith(".tar"):
        return shards.rstrip("/") or "/", None
    expanded = [one.rpartition("/") for one in expand_urls(shards)]
    places = {place or "." for place, _, _ in expanded}
    if len(places) > 1:
        raise InputError(f"{shards}: shards of several folders; give those of one folder")
    return places.pop(), [name for _, _, name in expanded]


def _choose(index: Mapping[str, Any], names: list[str] | None, folder: Path) -> list[dict[str, Any]]:
    """The descriptions of the named shards, in the order of the index."""
    known = {shard["name"]: shard for shard in index["shards"]}
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise InputError(f"{folder / unknown[0]}: not in {folder / INDEX}, which has {len(known)} shards; {_REMAKE}")
    chosen = [shard for name, shard in known.items() if names is None or name in names]
    if not chosen:
        raise InputError(f"{folder / INDEX}: has no shards; {_REMAKE}")
    return chosen


def _is_there(path: Path, shard: Mapping[str, Any]) -> bool:
    return path.is_file() and path.stat().st_size == shard["bytes"]


def _check_shard(path: Path, shard: Mapping[str, Any]) -> None:
    if not path.is_file():
        raise InputError(f"{path}: no such shard, though {INDEX} beside it lists it; {_REMAKE}")
    if not _is_there(path, shard):
        raise InputError(
            f"{path}: has {path.stat().st_size} bytes, not the {shard['bytes']} that {INDEX} says, so it is cut short "
            f"or another file; {_REMAKE}"
        )


def _read_signal(path: str, member: Sequence[int], start: int, samples: int) -> NDArray[np.float32]:
    offset, size, crc = member
    try:
        with open(path, "rb") as shard:
            shard.seek(offset)
            content = shard.read(size)
        # A damaged file would still decode, to noise: for the price of a checksum that never reaches the training.
        if zlib.crc32(content) != crc:
            raise InputError(f"{path}: damaged at byte {offset}, or not the shard of its {INDEX}; {_REMAKE}")
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            file.seek(start)
            signal = np.asarray(file.read(samples, dtype="float32"))
            right = (file.samplerate, signal.shape) == (SAMPLE_RATE, (samples,))
    except (OSError, soundfile.LibsndfileError) as error:
        raise InputError(f"{path}: cannot be read at byte {offset} ({error}); {_REMAKE}") from error
    if not right:
        raise InputError(f"{path}: what is at byte {offset} is not what {INDEX} says; {_REMAKE}")
    return signal
