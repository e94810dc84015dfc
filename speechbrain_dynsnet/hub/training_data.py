"""What a model was trained on: the sources, hours and licences that a manifest states."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.hub.prose import listing, percent, table

TRAIN = "train"
_KINDS = {"clean": "Speech", "noise": "Noise", "impulse_responses": "Impulse responses"}
_NOT_GIVEN = "not given"
_NAMED_TYPES = 10


@dataclass(frozen=True)
class Share:
    """What one source gave.

    Arguments
    ---------
    name : str
        The source, or a category of noise.
    files : int
        How many.
    hours : float or None
        None where the manifest has no length of some file.
    licences : tuple of str
        As the manifest states them, each once.
    """

    name: str
    files: int
    hours: float | None
    licences: tuple[str, ...]


@dataclass(frozen=True)
class TrainingData:
    """The shares of each kind of audio, the largest first.

    Arguments
    ---------
    sources : mapping of str to list of Share
        By kind.
    noise_types : list of Share
        The noise again, by category.
    """

    sources: Mapping[str, list[Share]]
    noise_types: list[Share]


def summarise(path: Path, rows: Sequence[Mapping[str, str]], expected_files: int | None) -> TrainingData:
    """The sources of the training split of a manifest.

    Arguments
    ---------
    path : Path
        The manifest, for messages.
    rows : sequence of dict
        Its rows: the columns of any manifest, and `source`; where known `licence` (or `license`) and `seconds`.
    expected_files : int or None
        How many files the model says that it was trained on.

    Returns
    -------
    TrainingData
        Sources by kind, the largest first.

    Raises
    ------
    InputError
        When there is no column `source`, nothing to train on, a length is no number, or it is not that many files.
    """
    rows = [row for row in rows if row["split"] == TRAIN]
    if not rows:
        raise InputError(f"{path}: no row has the split {TRAIN}; give the manifest that the model was trained on")
    if "source" not in rows[0]:
        raise InputError(f"{path}: has no column source; add it, or say what the data was with --data_note")
    if expected_files is not None and len(rows) != expected_files:
        raise InputError(
            f"{path}: lists {len(rows)} files for {TRAIN}, and the model was trained on {expected_files}; "
            "give the manifest that it was trained on"
        )
    kinds = {kind: [row for row in rows if row["kind"] == kind] for kind in _KINDS}
    return TrainingData(
        {kind: _shares(path, of_kind, "source") for kind, of_kind in kinds.items() if of_kind},
        _shares(path, kinds["noise"], "speaker_or_category"),
    )


def to_markdown(data: TrainingData) -> str:
    """A table of sources for each kind."""
    parts = []
    for kind, shares in data.sources.items():
        has_hours = kind != "impulse_responses" and all(share.hours is not None for share in shares)
        total = f"{_hours(shares):.1f} hours in " if has_hours else ""
        rows = [
            [
                share.name,
                *([f"{share.hours:.2f}"] if has_hours else []),
                f"{share.files:,}",
                "; ".join(share.licences) or _NOT_GIVEN,
            ]
            for share in shares
        ]
        header = [
            "source",
            *(["hours"] if has_hours else []),
            "files",
            "licence, as the manifest of the data states it",
        ]
        parts.append(f"{_KINDS[kind]}, {total}{sum(share.files for share in shares):,} files:\n\n{table(header, rows)}")
    return "\n\n".join(parts)


def noise_types(data: TrainingData) -> str:
    """The categories of noise and their shares, in a sentence's words: of hours, or of files without those."""
    shares = data.noise_types
    in_hours = all(share.hours is not None for share in shares) and _hours(shares) > 0
    sizes = {share.name: (share.hours or 0.0) if in_hours else float(share.files) for share in shares}
    total = sum(sizes.values())
    named = [
        f"{name.replace('_', ' ')} {percent(round(size / total, 2))}"
        for name, size in list(sizes.items())[:_NAMED_TYPES]
    ]
    if others := len(sizes) - len(named):
        named.append(f"{others} more")
    return f"{listing(named)} (of the {'hours' if in_hours else 'files'})"


def _shares(path: Path, rows: Sequence[Mapping[str, str]], column: str) -> list[Share]:
    groups: dict[str, list[Mapping[str, str]]] = {}
    for row in rows:
        groups.setdefault((row[column] or "").strip() or _NOT_GIVEN, []).append(row)
    shares = [
        Share(
            name,
            len(group),
            _hours_of(path, group),
            tuple(sorted({licence for row in group if (licence := _licence(row))})),
        )
        for name, group in groups.items()
    ]
    return sorted(shares, key=lambda share: (-(share.hours or 0.0), -share.files, share.name))


def _licence(row: Mapping[str, str]) -> str:
    """In a manifest the word has either of its spellings."""
    return (row.get("licence") or row.get("license") or "").strip()


def _hours_of(path: Path, rows: Sequence[Mapping[str, str]]) -> float | None:
    lengths = [(row.get("seconds") or "").strip() for row in rows]
    if not all(lengths):
        return None
    try:
        seconds = sum(map(float, lengths))
    except ValueError as error:
        raise InputError(f"{path}: a length in the column seconds is no number ({error})") from error
    if not 0 <= seconds < math.inf:
        raise InputError(f"{path}: the lengths in the column seconds add up to {seconds}")
    return seconds / 3600


def _hours(shares: Sequence[Share]) -> float:
    return sum(share.hours or 0.0 for share in shares)
