"""Where the speech, noise and impulse responses are: read from a folder or from a manifest."""

from __future__ import annotations

import csv
import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from speechbrain_dynsnet.data.dns2020 import noise_recording, reader_of
from speechbrain_dynsnet.data.finding import find_audio
from speechbrain_dynsnet.errors import InputError

logger = logging.getLogger(__name__)
KINDS = ("clean", "noise", "impulse_responses")
SPLITS = ("train", "valid")
COLUMNS = ("path", "kind", "split", "speaker_or_category")  # that a manifest needs; it may have others
_SEPARATORS = ",;\t"  # of a CSV file; spreadsheets take the second where the comma is for decimals
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
        manifest with the columns path (relative to it, or absolute), kind, split, speaker_or_category. A folder
        that has no `train/` and `valid/` of its own is split here, so that no speaker is in both. A folder that holds
        all of it in `datasets/`, as a DNS-2020 download, serves too; of one that holds `manifest.csv`, that is read.
    splits : sequence of str
        Which splits to read.

    Returns
    -------
    dict of str to Corpus
        For each of `splits`.

    Raises
    ------
    InputError
        When there is no such folder or file, no speech or no noise in it, or the manifest is wrong (see `read_rows`)
        or lists files that are gone.
    """
    data = _manifest_of(Path(data))
    return {split: _corpus(data, split, sources) for split, sources in _read(data, splits).items()}


def read_whole_corpus(data: str | Path, splits: Sequence[str] = SPLITS) -> Corpus:
    """The sources of several splits as one; see `read_corpus`. One of the splits may be empty."""
    data = _manifest_of(Path(data))
    by_split = _read(data, splits)
    return _corpus(data, " or ".join(splits), [source for sources in by_split.values() for source in sources])


def _manifest_of(data: Path) -> Path:
    """The manifest in a folder; a folder without one, or a manifest, as it is."""
    manifest = data / "manifest.csv"
    if not manifest.is_file():
        return data
    logger.info("read for the data folder: %s", manifest)
    return manifest


def _read(data: Path, splits: Sequence[str]) -> dict[str, list[Source]]:
    if data.is_file():
        return _read_manifest(data, splits)
    if data.is_dir():
        return _read_folder(data, splits)
    raise InputError(f"{data}: no such folder or manifest; give the folder that holds clean/ and noise/, or a manifest")


def _corpus(data: Path, split: str, sources: Sequence[Source]) -> Corpus:
    kinds = {kind: tuple(source for source in sources if source.kind == kind) for kind in KINDS}
    for kind in ("clean", "noise"):
        if not kinds[kind]:
            advice = "give more of it (train and valid share none, so each needs some)"
            if data.is_file() and not sources:
                found = ", ".join(sorted({repr(row["split"]) for row in read_rows(data)}))
                advice = f"no row has that split, only {found}"
            raise InputError(f"{data}: no {kind} audio for {split}; {advice}")
    return Corpus(**kinds)


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a manifest as they stand, whether the files are there or not.

    Arguments
    ---------
    path : Path
        A CSV file, UTF-8, with `COLUMNS`; others are read too. Commas, semicolons or tabs separate them.

    Returns
    -------
    list of dict
        At least one.

    Raises
    ------
    InputError
        When it is no CSV file, lacks a column, has a row with too few or of an unknown kind, or lists a file twice.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets begin with a byte order mark
            header = file.readline()
            file.seek(0)
            separator = max(_SEPARATORS, key=header.count)
            rows = list(csv.DictReader(file, delimiter=separator))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV manifest in UTF-8 ({error})") from error
    if not rows or not set(COLUMNS) <= set(rows[0]):
        raise InputError(f"{path}: not a manifest; it needs a header and the columns {', '.join(sorted(COLUMNS))}")
    for number, row in enumerate(rows, start=1):
        if any(row[name] is None for name in COLUMNS):
            raise InputError(f"{path}: row {number} has too few columns")
    _refuse_unknown_kinds(path, rows)
    _refuse_twins(path, rows)
    return rows


def walk(folder: Path, kind: str) -> list[Source]:
    """The audio files at any depth below a folder (see `find_audio`), all of one kind."""
    return [Source(path, kind, _group(path, folder)) for path in find_audio(folder)]


def split_off_valid(sources: Iterable[Source]) -> dict[str, list[Source]]:
    """Divide sources among `SPLITS` so that no speaker and no noise recording is in both.

    A warning says so where names hardly tell speakers apart: all files are one speaker's, or each is another's.

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
    _doubt_speakers([source for source in sources if source.kind == "clean"])
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
        raise InputError(
            f"{path}: {len(missing)} listed files are gone, the first is {missing[0]}; move the manifest together with "
            "its files, or write one without them with recipes/DNS2020/prepare.py"
        )
    return by_split


def _refuse_unknown_kinds(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    unknown = {row["kind"]: number for number, row in reversed([*enumerate(rows, start=1)]) if row["kind"] not in KINDS}
    if unknown:
        named = ", ".join(f"{kind!r} (row {number})" for kind, number in sorted(unknown.items()))
        raise InputError(f"{path}: there is no kind {named}; a kind is one of {', '.join(KINDS)}")


def _refuse_twins(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """A file that is listed twice may be on both sides of the split."""
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        file = os.path.abspath(path.parent / row["path"])
        if file in seen:
            raise InputError(f"{path}: rows {seen[file]} and {number} list the same file {file}; remove one of them")
        seen[file] = number


def _read_folder(folder: Path, splits: Sequence[str]) -> dict[str, list[Source]]:
    if (folder / "datasets" / "clean").is_dir() and not (folder / "clean").exists():
        folder = folder / "datasets"
    if all((folder / split).is_dir() for split in splits):
        return {split: _walk(folder / split) for split in splits}
    if not set(splits) <= set(SPLITS):
        raise InputError(f"{folder}: no folder {' or '.join(splits)} in it; only {' and '.join(SPLITS)} are split off")
    sources = _walk(folder)
    for kind in ("clean", "noise"):
        if not any(source.kind == kind for source in sources):
            reason = "there is no audio in it" if (folder / kind).is_dir() else "no such folder"
            raise InputError(f"{folder / kind}: {reason}; put the {kind} audio there, or give another data folder")
    by_split = split_off_valid(sources)
    return {split: by_split[split] for split in splits}


def _doubt_speakers(speech: Sequence[Source]) -> None:
    speakers = {source.group for source in speech}
    if len(speech) > 1 and len(speakers) in (1, len(speech)):
        logger.warning(
            "as far as names tell, %d files of speech are %s, the first is %s; if that is wrong, train and valid may "
            "share speakers: put each speaker's files into a folder of their own",
            len(speech),
            "all of one speaker" if len(speakers) == 1 else "of as many speakers",
            speech[0].path,
        )


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
