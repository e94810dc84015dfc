"""The index of tar shards: what is in which of them, and where."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from webdataset.shardlists import expand_urls

from speechbrain_dynsnet.errors import InputError

INDEX = "index.json"
KINDS = ("pairs", "sources")  # what a shard may hold
SIGNALS = ("noisy", "clean")  # of a pair
REMAKE = "write the shards again with shard.py, or fetch them again"


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
    return parse_index(path, str(path))


def parse_index(path: Path, name: str) -> dict[str, Any]:
    """The index in a file that came from `name`; InputError when it is none."""
    try:
        index: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for shard in index["shards"]:
            _check_entry(shard, index["kind"], index["format"])
        well_formed = index["kind"] in KINDS and {"complete", "settings"} <= index.keys()
    except (ValueError, KeyError, TypeError, AttributeError):
        well_formed = False
    if not well_formed:
        raise InputError(f"{name}: not an index of shards, or damaged; {REMAKE}")
    return index


def check_pairs(index: Mapping[str, Any], place: str) -> None:
    """Raise InputError where it is not of finished shards of pairs."""
    if not index["complete"]:
        raise InputError(f"{place}/{INDEX}: the shards are not all written; run shard.py again to its end")
    if index["kind"] != "pairs":
        raise InputError(
            f"{place}: its shards hold source clips, not pairs; unpack them into one folder (tar -xf) and give that "
            "as --data_folder"
        )


def split_address(shards: str) -> tuple[str, list[str] | None]:
    """The folder or its address, and the names of the shards in it; None: all. InputError for several folders."""
    if not shards.endswith(".tar"):
        return shards.rstrip("/") or "/", None
    expanded = [one.rpartition("/") for one in expand_urls(shards)]
    places = {place or "." for place, _, _ in expanded}
    if len(places) > 1:
        raise InputError(f"{shards}: shards of several folders; give those of one folder")
    return places.pop(), [name for _, _, name in expanded]


def choose_shards(index: Mapping[str, Any], names: list[str] | None, folder: Path) -> list[dict[str, Any]]:
    """The descriptions of the named shards, in the order of the index; InputError when one is not there, or none is."""
    known = {shard["name"]: shard for shard in index["shards"]}
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise InputError(f"{folder / unknown[0]}: not in {folder / INDEX}, which has {len(known)} shards; {REMAKE}")
    chosen = [shard for name, shard in known.items() if names is None or name in names]
    if not chosen:
        raise InputError(f"{folder / INDEX}: has no shards; {REMAKE}")
    return chosen


def is_there(path: Path, shard: Mapping[str, Any]) -> bool:
    """Whether a shard is there, by its size."""
    return path.is_file() and path.stat().st_size == shard["bytes"]


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
