"""Write tar shards and their index: each shard whole or not at all, the same bytes whoever writes it again."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import tarfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from tqdm import tqdm
from webdataset import TarWriter

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.audio.files import read_audio
from speechbrain_dynsnet.audio.resample import resample
from speechbrain_dynsnet.data.dns2020 import match_pairs
from speechbrain_dynsnet.data.fetch import check_disk, sha256_of
from speechbrain_dynsnet.data.manifest import Corpus
from speechbrain_dynsnet.data.shard_index import INDEX, read_index
from speechbrain_dynsnet.errors import InputError

FORMATS = ("flac", "wav")
_FILL = {"flac": 0.5, "wav": 1.0}  # of the size of WAV files, at least; for the disk check only


@dataclass(frozen=True)
class Sample:
    """What goes into a shard together: the key, and the files by the name of their signal (sources have none)."""

    key: str
    files: Mapping[str, Path]


@dataclass(frozen=True)
class _Encoded:
    """A sample as it stands in a shard: its length at 16 kHz, and the contents by their extensions."""

    key: str
    length: int
    contents: dict[str, bytes]


def pair_samples(folder: Path) -> tuple[list[Sample], dict[Path, str]]:
    """The pairs that synthesise.py wrote, in the order of their file ids.

    Returns
    -------
    samples : list of Sample
        With the keys `fileid_N`.
    left_out : dict of Path to str
        Files without a partner, and why.

    Raises
    ------
    InputError
        When `folder` is not there, holds no pairs, or two files have the same id.
    """
    if not (folder / "noisy").is_dir() or not (folder / "clean").is_dir():
        raise InputError(f"{folder}: has no noisy/ and clean/; give the folder that synthesise.py wrote")
    pairs, left_out = match_pairs(folder, "")
    if not pairs:
        raise InputError(f"{folder}: no clean and noisy file have the same file id; synthesise clips first")
    samples = [Sample(f"fileid_{pair.file_id}", {"noisy": pair.noisy, "clean": pair.clean}) for pair in pairs]
    return samples, left_out


def source_samples(corpora: Mapping[str, Corpus]) -> list[Sample]:
    """The files of a corpus, under keys that make a data folder when all shards are unpacked into one.

    The key is `SPLIT/KIND/GROUP/NAME`; a second file of the same key gets a number.
    """
    samples: dict[str, Sample] = {}
    for split, corpus in corpora.items():
        for source in corpus.sources():
            # webdataset ends a key at the first dot.
            group, name = (part.replace(".", "_").replace("/", "_") for part in (source.group, source.path.stem))
            key = first = f"{split}/{source.kind}/{group}/{name}"
            number = 1
            while key in samples:
                number += 1
                key = f"{first}-{number}"
            samples[key] = Sample(key, {"": source.path})
    return list(samples.values())


def write_shards(
    folder: Path, samples: Sequence[Sample], kind: str, per_shard: int, extension: str, jobs: int
) -> tuple[dict[str, Any], list[InputError]]:
    """Write the shards that are not there yet, and the index.

    Arguments
    ---------
    folder : Path
        Where they go. What an earlier call for the same samples finished is kept.
    samples : sequence of Sample
        What goes into them, in this order.
    kind : str
        `pairs` or `sources`.
    per_shard : int
        So many samples in each but the last.
    extension : str
        One of `FORMATS`.
    jobs : int
        Files encoded at the same time; of no influence on the result.

    Returns
    -------
    index : dict
        As it is written; see `read_index`.
    failures : list of InputError
        Why samples were left out, in the shards of this call.

    Raises
    ------
    InputError
        When `folder` holds something else or cannot be written, the disk is full, or no sample can be read.
    """
    settings = {"samples": len(samples), "per_shard": per_shard, "files": _fingerprint(samples)}
    index: dict[str, Any] = {"kind": kind, "format": extension, "settings": settings, "complete": False, "shards": []}
    finished = {shard["name"]: shard for shard in _finished(folder, index)}
    parts = [samples[begin : begin + per_shard] for begin in range(0, len(samples), per_shard)]
    digits = max(3, len(str(len(parts) - 1)))
    names = [f"{number:0{digits}}.tar" for number in range(len(parts))]
    waiting = [sample for name, part in zip(names, parts, strict=True) if name not in finished for sample in part]
    size = sum(path.stat().st_size for sample in waiting for path in sample.files.values())
    check_disk(folder, round(_FILL[extension] * size))
    _begin(folder, index | {"shards": list(finished.values())})
    failures: list[InputError] = []
    with ThreadPoolExecutor(jobs) as pool, tqdm(total=len(samples), unit="clip", disable=None) as bar:
        for name, part in zip(names, parts, strict=True):
            if name not in finished:
                results = pool.map(_encode, part, itertools.repeat(extension))
                finished[name] = _write_shard(folder / name, results, failures)
                # The index follows each shard: after a kill, no more than one is written again.
                _write_index(folder, index | {"shards": [finished[name] for name in names if name in finished]})
            bar.update(len(part))
    index |= {"shards": [finished[name] for name in names], "complete": True}
    if not any(shard["samples"] for shard in index["shards"]):
        for name in names:
            (folder / name).unlink(missing_ok=True)
        _write_index(folder, index | {"shards": [], "complete": False})
        first = f"; the first: {failures[0]}" if failures else ""
        raise InputError(f"none of {len(samples)} clips can be used{first}")
    _write_index(folder, index)
    return index, failures


def _finished(folder: Path, index: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The descriptions of the shards in `folder` that are of this index."""
    if (folder / INDEX).exists():
        before = read_index(folder)
        if before["shards"] and any(before[name] != index[name] for name in ("kind", "format", "settings")):
            raise InputError(
                f"{folder}: holds shards of other clips, or made with other options; choose another output or delete it"
            )
        return [
            shard
            for shard in before["shards"]
            if (path := folder / shard["name"]).is_file() and path.stat().st_size == shard["bytes"]
        ]
    try:
        if folder.exists() and any(not _unfinished(path) for path in folder.iterdir()):
            raise InputError(f"{folder}: holds something else; give a new or empty folder for the shards")
    except OSError as error:
        raise _not_written(folder, error) from error
    return []


def _begin(folder: Path, index: Mapping[str, Any]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_written(folder, error) from error
    _write_index(folder, index)


def _unfinished(path: Path) -> bool:
    return path.name.startswith(".") and path.suffix == ".part"


def _write_shard(path: Path, results: Iterable[_Encoded | InputError], failures: list[InputError]) -> dict[str, Any]:
    """Write one shard under another name, then rename it; gives its description."""
    unfinished = path.with_name(f".{path.name}.part")
    clips: list[dict[str, Any]] = []
    try:
        with unfinished.open("wb") as file:
            # No time and no name of a user: the same samples give the same bytes. A time that is no whole number
            # would cost two more blocks a member.
            with TarWriter(file, user="", group="", encoder=False, mtime=0) as writer:
                for result in results:
                    if isinstance(result, InputError):
                        failures.append(result)
                        continue
                    writer.write({"__key__": result.key, **result.contents})
                    checksums = {extension: zlib.crc32(content) for extension, content in result.contents.items()}
                    clips.append({"key": result.key, "length": result.length, "files": checksums})
            file.flush()
            os.fsync(file.fileno())
        with tarfile.open(unfinished) as tar:
            places = {member.name: (member.offset_data, member.size) for member in tar}
        for clip in clips:
            clip["files"] = {
                extension: [*places[f"{clip['key']}.{extension}"], crc] for extension, crc in clip["files"].items()
            }
        description = {
            "name": path.name,
            "bytes": unfinished.stat().st_size,
            "sha256": sha256_of(unfinished),
            "samples": len(clips),
            "seconds": round(sum(clip["length"] for clip in clips) / SAMPLE_RATE, 3),
            "clips": clips,
        }
        os.replace(unfinished, path)
    except OSError as error:
        raise _not_written(path, error) from error
    finally:
        unfinished.unlink(missing_ok=True)
    return description


def _write_index(folder: Path, index: Mapping[str, Any]) -> None:
    unfinished = folder / f".{INDEX}.part"
    try:
        unfinished.write_text(json.dumps(index) + "\n", encoding="utf-8")
        os.replace(unfinished, folder / INDEX)
    except OSError as error:
        raise _not_written(folder / INDEX, error) from error
    finally:
        if folder.is_dir():
            unfinished.unlink(missing_ok=True)


def _encode(sample: Sample, extension: str) -> _Encoded | InputError:
    """Read and encode a sample, or say why it is of no use."""
    contents: dict[str, bytes] = {}
    lengths = set()
    try:
        for signal, path in sample.files.items():
            samples = _read(path)
            lengths.add(len(samples))
            stream = io.BytesIO()
            soundfile.write(stream, samples, SAMPLE_RATE, "PCM_16", format=extension.upper())
            contents[f"{signal}.{extension}" if signal else extension] = stream.getvalue()
    except InputError as error:
        return error
    if len(lengths) > 1:
        return InputError(f"{sample.files['noisy']}: is not as long as {sample.files['clean']}")
    return _Encoded(sample.key, lengths.pop(), contents)


def _read(path: Path) -> NDArray[np.int16]:
    """A file at 16 kHz, mono, as 16-bit values, which files of such values keep to the bit."""
    audio = read_audio(path)
    mono: NDArray[np.float32] = resample(audio.samples.mean(axis=0, keepdims=True), audio.rate, SAMPLE_RATE)[0]
    return np.clip(np.round(mono * 32768.0), -32768, 32767).astype(np.int16)


def _fingerprint(samples: Sequence[Sample]) -> str:
    """Tells whether the same files, by name and size, go into the same shards."""
    lines = [
        f"{sample.key} {signal} {path.name} {path.stat().st_size}"
        for sample in samples
        for signal, path in sample.files.items()
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _not_written(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path}: cannot be written ({error.strerror}); make room or choose another output, and give the same command "
        "again, finished shards are kept"
    )
