"""Where the speech, noise and impulse responses are: read from a folder or from a manifest."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile

from speechbrain_dynsnet.data.dns2020 import noise_recording, reader_of
from speechbrain_dynsnet.errors import InputError

KINDS = ("clean", "noise", "impulse_responses")
SPLITS = ("train", "valid")
COLUMNS = ("path", "kind", "split", "speaker_or_category")  # that a manifest needs; it may have others
_SUFFIXES = {f".{name.lower()}" for name in soundfile.available_formats()} | {
    ".opus",
    ".oga",
    ".aif",
}
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


def read_corpus(data: str | Path, splits: Sequence[str] = SPLITS) -> dict[str, Corpus]:
    """The sources of each split of a data folder or manifest.

    Arguments
    ---------
    data : str or Path
        A folder with `clean/`, `noise/` and (optional) `impulse_responses/`, at any depth below each; or a CSV
        manifest with the columns path (relative to it), kind, split, speaker_or_category. A folder that has
        no `train/` and `valid/` of its own is split here, so that no speaker is in both.
    splits : sequence of str
        Which splits to read.

    Returns
    -------
    dict of str to Corpus
        For each of `splits`.

    Raises
    ------
    InputError
        When there is no such folder or file, no speech or no noise in it, or a listed file is gone.
    """
    data = Path(data)
    return {split: _corpus(data, split, sources) for split, sources in _read(data, splits).items()}


def read_whole_corpus(data: str | Path, splits: Sequence[str] = SPLITS) -> Corpus:
    """The sources of several splits as one; see `read_corpus`. One of the splits may be empty."""
    data = Path(data)
    by_split = _read(data, splits)
    return _corpus(data, " or ".join(splits), [source for sources in by_split.values() for source in sources])


def _read(data: Path, splits: Sequence[str]) -> dict[str, list[Source]]:
    if data.is_file():
        return _read_manifest(data, splits)
    if data.is_dir():
        return _read_folder(data, splits)
    raise InputError(f"{data}: no such folder or manifest; give --data_folder the folder that holds clean/ and noise/")


def _corpus(data: Path, split: str, sources: Sequence[Source]) -> Corpus:
    kinds = {kind: tuple(source for source in sources if source.kind == kind) for kind in KINDS}
    for kind in ("clean", "noise"):
        if not kinds[kind]:
            raise InputError(
                f"{data}: no {kind} audio for {split}; give more of it (train and valid share none, so each needs some)"
            )
    return Corpus(**kinds)


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a manifest as they stand, whether the files are there or not.

    Arguments
    ---------
    path : Path
        A CSV file with `COLUMNS`; others are read too.

    Returns
    -------
    list of dict
        At least one.

    Raises
    ------
    InputError
        When it is no CSV file, lacks a column or has a row with too few.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets begin with a byte order mark
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV manifest ({error})") from error
    if not rows or not set(COLUMNS) <= set(rows[0]):
        raise InputError(f"{path}: not a manifest; it needs a header and the columns {', '.join(sorted(COLUMNS))}")
    for number, row in enumerate(rows, start=1):
        if any(row[name] is None for name in COLUMNS):
            raise InputError(f"{path}: row {number} has too few columns")
    return rows


def walk(folder: Path, kind: str) -> list[Source]:
    """The audio files at any depth below a folder, by their names, all of one kind."""
    return [
        Source(path, kind, _group(path, folder))
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in _SUFFIXES and path.is_file()
    ]


def split_off_valid(sources: Iterable[Source]) -> dict[str, list[Source]]:
    """Divide sources among `SPLITS` so that no speaker and no noise recording is in both.

    Arguments
    ---------
    sources : iterable of Source
        Of any kinds.

    Returns
    -------
    dict of str to list of Source
        A tenth of the speakers, noises and rooms are in `valid`, chosen by a hash of their names.
    """
    sources = list(sources)
    by_split: dict[str, list[Source]] = {split: [] for split in SPLITS}
    for kind in KINDS:
        of_kind = [source for source in sources if source.kind == kind]
        # Speech is split by speaker; noises and rooms, and speech of a single speaker, by file.
        by_group = kind == "clean" and len({source.group for source in of_kind}) > 1
        is_valid = _pick_valid(of_kind, (lambda s: s.group) if by_group else (lambda s: noise_recording(s.path.name)))
        for source in of_kind:
            by_split["valid" if is_valid(source) else "train"].append(source)
    return by_split


def _read_manifest(path: Path, splits: Sequence[str]) -> dict[str, list[Source]]:
    by_split: dict[str, list[Source]] = {split: [] for split in splits}
    for row in read_rows(path):
        if row["split"] in by_split:
            source = Source(path.parent / row["path"], row["kind"], row["speaker_or_category"])
            by_split[row["split"]].append(source)
    missing = [source.path for sources in by_split.values() for source in sources if not source.path.is_file()]
    if missing:
        raise InputError(f"{path}: {len(missing)} listed files are gone, the first is {missing[0]}")
    return by_split


def _read_folder(folder: Path, splits: Sequence[str]) -> dict[str, list[Source]]:
    if all((folder / split).is_dir() for split in splits):
        return {split: _walk(folder / split) for split in splits}
    if not set(splits) <= set(SPLITS):
        raise InputError(f"{folder}: no folder {' or '.join(splits)} in it; only {' and '.join(SPLITS)} are split off")
    by_split = split_off_valid(_walk(folder))
    return {split: by_split[split] for split in splits}


def _pick_valid(sources: list[Source], key: Callable[[Source], str]) -> Callable[[Source], bool]:
    # A hash orders the names the same way on every machine, and adding a file moves no other.
    names = sorted({key(source) for source in sources}, key=lambda name: hashlib.sha256(name.encode()).digest())
    chosen = set(names[: max(1, round(_VALID_SHARE * len(names)))]) if len(names) > 1 else set()
    return lambda source: key(source) in chosen


def _walk(folder: Path) -> list[Source]:
    return [source for kind in KINDS for source in walk(folder / kind, kind)]


def _group(path: Path, root: Path) -> str:
    """The reader in a DNS-2020 name, else the first folder below the kind's, else (flat) its own name."""
    if reader := reader_of(path.name):
        return reader
    below = path.relative_to(root).parts
    return below[0] if len(below) > 1 else path.stem
