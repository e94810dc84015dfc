"""Which files of a test set belong together: by the DNS challenge's file ids, or by their names."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from speechbrain_dynsnet.audio.formats import AUDIO_EXTENSIONS
from speechbrain_dynsnet.data.dns2020 import TEST_SETS, match_pairs, parse_noisy
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.evaluation.systems import Pair

# What is kept of a test set's log or manifest, beside the scores.
FACTS = ("set", "snr_db", "level_dbfs", "level_reached_dbfs", "noise_category", "speaker")
_FILE_ID = re.compile(r"fileid_(\d+)")
_NAMED = 3  # so many files are named; the rest are counted


def find_pairs(test_set: Path) -> list[Pair]:
    """The clips of a test set, in their order.

    Arguments
    ---------
    test_set : Path
        A folder with `clean/` and `noisy/`, whose files are matched by the challenge's file ids or else by their
        names, and perhaps `log.csv` with more about them; a folder with `no_reverb/` or `with_reverb/` that are such
        folders; or a CSV file with the columns clean and noisy, as paths from its folder.

    Returns
    -------
    list of Pair
        With a clean and a noisy file each.

    Raises
    ------
    InputError
        When there is no such test set, or a file of it has no partner.
    """
    if test_set.is_file():
        return _checked(_read_table(test_set), test_set)
    if not test_set.is_dir():
        raise InputError(f"{test_set}: no such folder or file; give a test set with clean/ and noisy/")
    if _is_test_set(test_set):
        return _checked(_read_folder(test_set, ""), test_set)
    inner = [name for name in TEST_SETS if _is_test_set(test_set / name)]
    if not inner:
        raise InputError(f"{test_set}: no clean/ and noisy/ in it, and no {' or '.join(TEST_SETS)}/ that has them")
    return _checked([pair for name in inner for pair in _read_folder(test_set / name, name)], test_set)


def pairs_of_clean(folder: Path) -> list[Pair]:
    """A clip for each audio file of a folder of clean speech; nothing is known of the noisy ones."""
    return _checked([Pair(_clip(path), path) for path in _audio_files(folder)], folder)


def match_enhanced(pairs: Sequence[Pair], folder: Path) -> list[Pair]:
    """The same clips, each with its file of a folder of enhanced ones.

    Arguments
    ---------
    pairs : sequence of Pair
        The clips.
    folder : Path
        With a file for each: of the name of the noisy file or the clean one (whatever the extension), or of the same
        `fileid_N`.

    Returns
    -------
    list of Pair
        In the order of `pairs`.

    Raises
    ------
    InputError
        When a clip has no file, several, or a file no clip.
    """
    files = _audio_files(folder)
    files_of = [[path for path in (pair.noisy, pair.clean) if path is not None] for pair in pairs]
    by_name = {path.stem: place for place, paths in enumerate(files_of) for path in paths}
    by_id = _indices_by_id(pairs)
    found: dict[int, Path] = {}
    strangers: list[str] = []
    for path in files:
        file_id = _FILE_ID.search(path.stem)
        index = by_name.get(path.stem)
        if index is None and file_id:
            index = by_id.get(int(file_id[1]))
        if index is None:
            strangers.append(path.name)
        elif index in found:
            raise InputError(f"{found[index]} and {path} are both of clip {pairs[index].clip}; remove one")
        else:
            found[index] = path
    missing = [pair.clip for index, pair in enumerate(pairs) if index not in found]
    if missing:
        raise InputError(f"{folder}: no file for {_some(missing)} of {len(pairs)} clips, by name or by fileid_N")
    if strangers:
        raise InputError(f"{folder}: {_some(strangers)} match no clip; remove what is no result")
    return [replace(pair, enhanced=found[index]) for index, pair in enumerate(pairs)]


def _checked(pairs: list[Pair], source: Path) -> list[Pair]:
    repeated = [clip for clip, count in Counter(pair.clip for pair in pairs).items() if count > 1]
    if repeated:
        raise InputError(f"{source}: {_some(repeated)} there more than once; keep one file of each name or file id")
    return pairs


def _is_test_set(folder: Path) -> bool:
    return (folder / "clean").is_dir() and (folder / "noisy").is_dir()


def _read_folder(folder: Path, name: str) -> list[Pair]:
    noisy = _audio_files(folder / "noisy")
    pairs = _by_id(folder, name) if parse_noisy(noisy[0].name) else _by_name(folder, noisy)
    return pairs if not name else [replace(pair, clip=f"{name}/{pair.clip}") for pair in pairs]


def _by_id(folder: Path, name: str) -> list[Pair]:
    files, alone = match_pairs(folder, name)
    if alone:
        path, reason = next(iter(alone.items()))
        raise InputError(f"{folder}: {len(alone)} files without a partner, such as {path.name} ({reason}); remove them")
    log = {int(row["file_id"]): row for row in _read_log(folder / "log.csv")}
    pairs = []
    for pair in files:
        said = parse_noisy(pair.noisy.name)
        facts = {"snr_db": f"{pair.snr_db:g}"}
        if said and said.level_dbfs is not None:
            facts["level_dbfs"] = f"{said.level_dbfs:g}"
        facts |= _facts(log.get(pair.file_id, {})) | ({"set": name} if name else {})
        pairs.append(Pair(_clip(pair.noisy), pair.clean, pair.noisy, facts=facts))
    return pairs


def _by_name(folder: Path, noisy: Sequence[Path]) -> list[Pair]:
    clean = {path.stem: path for path in _audio_files(folder / "clean")}
    alone = sorted(clean.keys() ^ {path.stem for path in noisy})
    if alone:
        raise InputError(f"{folder}: {_some(alone)} in only one of clean/ and noisy/; remove them")
    return [Pair(path.stem, clean[path.stem], path) for path in noisy]


def _read_log(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    rows = _read_csv(path)
    if not all((row.get("file_id") or "").isdecimal() for row in rows):
        raise InputError(f"{path}: no log of a test set, a row has no file_id; correct or remove it")
    return rows


def _read_table(path: Path) -> list[Pair]:
    rows = _read_csv(path)
    if not rows or not all(row.get("clean") and row.get("noisy") for row in rows):
        raise InputError(f"{path}: not a list of pairs; it needs the columns clean and noisy, filled in every row")
    pairs = []
    for row in rows:
        clip = _clip(Path(row["noisy"]))
        files = (path.parent / row["clean"], path.parent / row["noisy"])
        pairs.append(Pair(f"{row['set']}/{clip}" if row.get("set") else clip, *files, facts=_facts(row)))
    return pairs


def _read_csv(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV file ({error})") from error


def _facts(row: Mapping[str, str]) -> dict[str, str]:
    return {name: row[name] for name in FACTS if row.get(name)}


def _audio_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give one with audio files")
    files = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in AUDIO_EXTENSIONS and path.is_file() and not path.name.startswith(".")
    )
    if not files:
        raise InputError(f"{folder}: no audio files in this folder ({' '.join(AUDIO_EXTENSIONS)})")
    return files


def _clip(path: Path) -> str:
    """The same for the clean, noisy and enhanced file of one clip: `fileid_N`, or its name."""
    file_id = _FILE_ID.search(path.stem)
    return file_id[0] if file_id else path.stem


def _indices_by_id(pairs: Sequence[Pair]) -> dict[int, int]:
    """Which clip has a file id; nothing when two have the same (of two test sets)."""
    ids = [int(found[1]) for pair in pairs if (found := _FILE_ID.search(pair.clip))]
    unique = len(set(ids)) == len(ids) == len(pairs)
    return {file_id: index for index, file_id in enumerate(ids)} if unique else {}


def _some(names: Sequence[str]) -> str:
    return f"{len(names)} ({', '.join(names[:_NAMED])}{', ...' if len(names) > _NAMED else ''})"
