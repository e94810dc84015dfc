"""Where the speech, noise and impulse responses are: read from a folder or from a manifest."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import soundfile

from speechbrain_dynsnet.errors import InputError

KINDS = ("clean", "noise", "impulse_responses")
SPLITS = ("train", "valid")
_SUFFIXES = {f".{name.lower()}" for name in soundfile.available_formats()} | {
    ".opus",
    ".oga",
    ".aif",
}
_READER = re.compile(r"reader_(\d+)")  # DNS-2020 names its speakers: book_..._reader_01234_...
_VALID_SHARE = 0.1


@dataclass(frozen=True)
class Source:
    """One audio file: its kind, and the speaker (clean) or category it belongs to."""

    path: Path
    kind: str
    group: str


@dataclass(frozen=True)
class Corpus:
    """The sources of one split."""

    clean: tuple[Source, ...]
    noise: tuple[Source, ...]
    impulse_responses: tuple[Source, ...]

    def sources(self) -> tuple[Source, ...]:
        """All of them."""
        return self.clean + self.noise + self.impulse_responses


def read_corpus(data: str | Path) -> dict[str, Corpus]:
    """The `train` and `valid` sources of a data folder or manifest.

    Arguments
    ---------
    data : str or Path
        A folder with `clean/`, `noise/` and (optional) `impulse_responses/`, at any depth below each; or a CSV
        manifest with the columns path (relative to it), kind, split, speaker_or_category. A folder that has
        no `train/` and `valid/` of its own is split here, so that no speaker is in both.

    Returns
    -------
    dict of str to Corpus
        For `train` and `valid`.

    Raises
    ------
    InputError
        When there is no such folder or file, no speech or no noise in it, or a listed file is gone.
    """
    data = Path(data)
    if data.is_file():
        by_split = _read_manifest(data)
    elif data.is_dir():
        by_split = _read_folder(data)
    else:
        raise InputError(
            f"{data}: no such folder or manifest; give --data_folder the folder that holds clean/ and noise/"
        )
    corpora = {}
    for split, sources in by_split.items():
        kinds = {kind: tuple(source for source in sources if source.kind == kind) for kind in KINDS}
        for kind in ("clean", "noise"):
            if not kinds[kind]:
                raise InputError(f"{data}: no {kind} audio for {split}; put audio files into {kind}/")
        corpora[split] = Corpus(**kinds)
    return corpora


def _read_manifest(path: Path) -> dict[str, list[Source]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    needed = {"path", "kind", "split", "speaker_or_category"}
    if not rows or not needed <= set(rows[0]):
        raise InputError(f"{path}: not a manifest; it needs a header and the columns {', '.join(sorted(needed))}")
    by_split: dict[str, list[Source]] = {split: [] for split in SPLITS}
    for row in rows:
        if row["split"] in by_split:
            source = Source(path.parent / row["path"], row["kind"], row["speaker_or_category"])
            by_split[row["split"]].append(source)
    missing = [source.path for sources in by_split.values() for source in sources if not source.path.is_file()]
    if missing:
        raise InputError(f"{path}: {len(missing)} listed files are gone, the first is {missing[0]}")
    return by_split


def _read_folder(folder: Path) -> dict[str, list[Source]]:
    if all((folder / split).is_dir() for split in SPLITS):
        return {split: list(_walk(folder / split)) for split in SPLITS}
    sources = _walk(folder)
    by_split: dict[str, list[Source]] = {split: [] for split in SPLITS}
    for kind in KINDS:
        of_kind = [source for source in sources if source.kind == kind]
        groups = {source.group for source in of_kind}
        if kind == "clean" or len(groups) < 2:
            # speech is split by speaker; what has a single group can only be split by file
            is_valid = _pick_valid(of_kind, (lambda s: s.group) if len(groups) > 1 else (lambda s: s.path.name))
        else:
            is_valid = _pick_valid(of_kind, lambda s: s.path.name)
        for source in of_kind:
            by_split["valid" if is_valid(source) else "train"].append(source)
    return by_split


def _pick_valid(sources: list[Source], key: Callable[[Source], str]) -> Callable[[Source], bool]:
    # A hash orders the names the same way on every machine, and adding a file moves no other.
    names = sorted({key(source) for source in sources}, key=lambda name: hashlib.sha256(name.encode()).digest())
    chosen = set(names[: max(1, round(_VALID_SHARE * len(names)))]) if len(names) > 1 else set()
    return lambda source: key(source) in chosen


def _walk(folder: Path) -> list[Source]:
    return [
        Source(path, kind, _group(path, folder / kind))
        for kind in KINDS
        for path in sorted((folder / kind).rglob("*"))
        if path.suffix.lower() in _SUFFIXES and path.is_file()
    ]


def _group(path: Path, root: Path) -> str:
    """The reader in a DNS-2020 name, else the folder that the file is in, else (flat) its own name."""
    if reader := _READER.search(path.name):
        return reader[1]
    return path.parent.name if path.parent != root else path.stem
