"""Fetch tar shards from an address, and keep what was fetched in step with it."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

import requests
from tqdm import tqdm

from speechbrain_dynsnet.data.fetch import Fetcher, Unreachable, check_disk, part_of, sha256_of
from speechbrain_dynsnet.data.shard_index import (
    INDEX,
    check_pairs,
    choose_shards,
    is_there,
    parse_index,
    read_index,
    split_address,
)
from speechbrain_dynsnet.errors import InputError

logger = logging.getLogger(__name__)


def is_address(shards: str) -> bool:
    """Whether shards are to be fetched first."""
    return shards.startswith(("http://", "https://"))


def cache_of(shards: str, folder: Path) -> Path:
    """Where below `folder` the shards of an address are kept."""
    return folder / hashlib.sha256(split_address(shards)[0].encode()).hexdigest()[:16]


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
    address, names = split_address(shards)
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{cache}: cannot be written to ({error.strerror}); choose another folder") from error
    with requests.Session() as session:
        _fetch_index(session, f"{address}/{INDEX}", cache)
        missing = [
            shard
            for shard in choose_shards(read_index(cache), names, cache)
            if not is_there(cache / shard["name"], shard)
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


def _fetch_index(session: requests.Session, address: str, cache: Path) -> None:
    """Put the server's index into `cache`, after removing the shards there that are not those it lists."""
    try:
        known = read_index(cache)
    except InputError:  # there is none, or a damaged one: both are replaced
        known = {"complete": False, "shards": []}
    fetched = cache / f".{INDEX}.new"
    try:
        Fetcher(session).fetch(address, fetched)
        index = parse_index(fetched, address)
        check_pairs(index, address.removesuffix(f"/{INDEX}"))
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
