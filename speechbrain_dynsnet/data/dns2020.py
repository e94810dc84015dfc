"""The DNS-2020 challenge's data: its folders and what its file names say.

Speech: `datasets/clean/book_00000_chp_0009_reader_06709_11.wav`. Noise: `datasets/noise/` with pieces of Freesound
recordings (`air_conditioner_151977_3.wav`) and AudioSet clips, named by their 11-character video ids, flat in one
folder. Test pairs: `datasets/test_set/synthetic/{no_reverb,with_reverb}/{clean,noisy}`, matched by file id.
Source: https://github.com/microsoft/DNS-Challenge, branch interspeech2020/master.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from speechbrain_dynsnet.data.finding import find_audio
from speechbrain_dynsnet.errors import InputError

TEST_SETS = ("no_reverb", "with_reverb")
_READER = re.compile(r"reader_(\d+)")
_FREESOUND = re.compile(r"(?P<category>[a-z]+(?:_[a-z]+)*)_(?P<recording>\d{2,})(?:__.*)?_(?P<piece>\d+)")
_VIDEO_ID = re.compile(r"[\w-]{11}")
_NUMBER = r"-?\d+(?:\.\d+)?"
_NOISY = re.compile(rf".+_snr(?P<snr_db>{_NUMBER})(?:_tl(?P<level_dbfs>{_NUMBER}))?_fileid_(?P<file_id>\d+)", re.DOTALL)
_CLEAN = re.compile(r"clean_fileid_(\d+)")


@dataclass(frozen=True)
class Tree:
    """The folders of one download; those that may be missing are None."""

    clean: Path
    noise: Path
    impulse_responses: Path | None
    synthetic: Path | None


@dataclass(frozen=True)
class NoisyName:
    """What the name of a noisy file says: file id, SNR in dB, and (newer style) level in dB full scale."""

    file_id: int
    snr_db: float
    level_dbfs: float | None


@dataclass(frozen=True)
class PairFiles:
    """A noisy file of a test set and the clean one that it was made from; `snr_db` is in dB."""

    file_id: int
    test_set: str
    clean: Path
    noisy: Path
    snr_db: float


def find_tree(folder: Path) -> Tree:
    """The folders of a download.

    Arguments
    ---------
    folder : Path
        The folder that holds `datasets/`, or `datasets/` itself.

    Returns
    -------
    Tree

    Raises
    ------
    InputError
        When there is no such folder, or no `clean/` and `noise/` in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder that holds datasets/")
    root = folder / "datasets" if (folder / "datasets").is_dir() else folder
    missing = [name for name in ("clean", "noise") if not (root / name).is_dir()]
    if missing:
        raise InputError(
            f"{folder}: no DNS-2020 download, there is no {' and no '.join(f'{name}/' for name in missing)} in {root}; "
            "fetch it with download.py, or name plain folders with --clean and --noise"
        )
    rirs, synthetic = root / "impulse_responses", root / "test_set" / "synthetic"
    return Tree(
        root / "clean",
        root / "noise",
        rirs if rirs.is_dir() else None,
        synthetic if synthetic.is_dir() else None,
    )


def reader_of(name: str) -> str | None:
    """The reader (speaker) in the name of a file of speech.

    >>> reader_of("book_00000_chp_0009_reader_06709_11.wav")
    '06709'
    """
    found = _READER.search(name)
    return found[1] if found else None


def noise_category(name: str) -> str | None:
    """The category of a Freesound piece, `audioset` for a video id, None for any other name.

    >>> noise_category("air_conditioner_151977_3.wav"), noise_category("-0JNMxLVqpk.wav")
    ('air_conditioner', 'audioset')
    """
    stem = Path(name).stem
    if found := _FREESOUND.fullmatch(stem):
        return found["category"]
    return "audioset" if _VIDEO_ID.fullmatch(stem) else None


def noise_recording(name: str) -> str:
    """What the pieces of one Freesound recording have in common, so that a split keeps them together.

    >>> noise_recording("birds_413745_3.wav") == noise_recording("birds_413745_0.wav")
    True
    """
    found = _FREESOUND.fullmatch(Path(name).stem)
    return f"{found['category']}_{found['recording']}" if found else name


def parse_noisy(name: str) -> NoisyName | None:
    """What the name of a noisy file says, in both styles; None when it is in neither.

    >>> parse_noisy("clnsp102_traffic_248091_3_snr0_tl-21_fileid_268.wav")
    NoisyName(file_id=268, snr_db=0.0, level_dbfs=-21.0)
    >>> parse_noisy("clnsp1_train_69005_1_snr15_fileid_158.wav").level_dbfs is None
    True
    """
    found = _NOISY.fullmatch(Path(name).stem)
    if not found:
        return None
    level = found["level_dbfs"]
    return NoisyName(int(found["file_id"]), float(found["snr_db"]), None if level is None else float(level))


def find_test_pairs(synthetic: Path) -> tuple[list[PairFiles], dict[Path, str]]:
    """The pairs of both test sets, matched by file id.

    Arguments
    ---------
    synthetic : Path
        The folder that holds `no_reverb/` and `with_reverb/`, of which one may be missing.

    Returns
    -------
    pairs : list of PairFiles
        In the order of set and file id.
    left_out : dict of Path to str
        Files without a partner or with a name in neither style, and why.

    Raises
    ------
    InputError
        When two files of a set have the same file id.
    """
    pairs: list[PairFiles] = []
    left_out: dict[Path, str] = {}
    for test_set in TEST_SETS:
        of_set, alone = match_pairs(synthetic / test_set, test_set)
        pairs += of_set
        left_out |= alone
    return pairs, left_out


def match_pairs(folder: Path, test_set: str) -> tuple[list[PairFiles], dict[Path, str]]:
    """The pairs of `clean/` and `noisy/` in one folder, called `test_set`; see `find_test_pairs`."""
    clean: dict[int, Path] = {}
    noisy: dict[int, tuple[Path, float]] = {}
    left_out: dict[Path, str] = {}
    for path in find_audio(folder / "clean"):
        if found := _CLEAN.fullmatch(path.stem):
            _refuse_second(clean.get(int(found[1])), path)
            clean[int(found[1])] = path
        else:
            left_out[path] = "its name has no file id"
    for path in find_audio(folder / "noisy"):
        if name := parse_noisy(path.name):
            _refuse_second(noisy[name.file_id][0] if name.file_id in noisy else None, path)
            noisy[name.file_id] = path, name.snr_db
        else:
            left_out[path] = "its name has no SNR and file id"
    pairs = [PairFiles(file_id, test_set, clean[file_id], *noisy[file_id]) for file_id in sorted(clean.keys() & noisy)]
    left_out |= {clean[file_id]: "no noisy file of its id" for file_id in clean.keys() - noisy}
    left_out |= {noisy[file_id][0]: "no clean file of its id" for file_id in noisy.keys() - clean}
    return pairs, left_out


def _refuse_second(first: Path | None, second: Path) -> None:
    if first is not None:
        raise InputError(f"{first} and {second} have the same file id; remove the one that is not of the test set")
