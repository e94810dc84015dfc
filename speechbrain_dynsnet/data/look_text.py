"""What a look at data found, as lines of text."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from speechbrain_dynsnet.data.levels import CLIPPED
from speechbrain_dynsnet.data.look import Look
from speechbrain_dynsnet.data.look_files import LEVEL_S, SAMPLE_FILES, SAMPLE_HOURS, FilesLook
from speechbrain_dynsnet.data.look_pairs import FilePairs
from speechbrain_dynsnet.text import align

_NAMED = 10  # so many files are named; the rest are counted
_HEADER = ("split", "kind", "files", "hours", "speakers or", "duration (s)", "level (dBFS)", "clipped", "left out")
_SECOND = ("", "", "", "", "categories", "median (range)", "median (5 to 95 %)", "", "")
_NONE = "-"


def describe(look: Look) -> list[str]:
    """The table of files, how it was made, the files that were left out, and the table of pairs."""
    lines = [look.name]
    if look.files:
        # Nobody sees an empty column.
        columns = list(zip(_HEADER, _SECOND, *map(_row, look.files), strict=True))
        lines += align([column for column in columns if any(column[2:])])
        lines += [
            f"level: active RMS, and clipped: beyond {CLIPPED:g} of full scale, of at most {SAMPLE_FILES} files or "
            f"{SAMPLE_HOURS:g} hours a row,",
            f"drawn at random ({LEVEL_S:g} s of each for the level); only of these it is known whether they are silent "
            "or damaged inside",
        ]
    for files in look.files:
        lines += _left_out(files)
    return [*lines, "", *_pairs(look)]


def _row(files: FilesLook) -> tuple[str, ...]:
    # A response is no sound to have a level, and its direct path is often at full scale.
    has_level = files.kind != "impulse_responses"
    return (
        files.split,
        files.kind,
        f"{len(files.seconds):,}",
        f"{files.seconds.sum() / 3600.0:.2f}",
        _groups(files),
        f"{np.median(files.seconds):.1f} ({files.seconds.min():.1f} to {files.seconds.max():.1f})",
        _percentiles(files.levels_dbfs) if has_level else _NONE,
        f"{files.clipped / files.sampled:.1%}" if has_level else _NONE,
        f"{len(files.left_out):,}",
    )


def _groups(files: FilesLook) -> str:
    # Noises and rooms without a category are a group each.
    is_named = files.groups and (files.kind == "clean" or files.groups < len(files.seconds))
    return f"{files.groups:,}" if is_named else _NONE


def _left_out(files: FilesLook) -> list[str]:
    if not files.left_out:
        return []
    name = " ".join(filter(None, (files.split, files.kind)))
    lines = ["", f"left out of {name}: {len(files.left_out):,} of {files.files:,} files"]
    for file in files.left_out[:_NAMED]:
        reason = file.problem.value if file.problem else ""
        lines.append(f"  {file.path}: {reason}" + (f" ({file.detail})" if file.detail else ""))
    rest = Counter(file.problem.value for file in files.left_out[_NAMED:] if file.problem)
    if rest:
        lines.append("  and " + ", ".join(f"{count:,} {reason}" for reason, count in rest.most_common()))
    return lines


def _pairs(look: Look) -> list[str]:
    pairs = look.pairs
    rows = [
        ("SNR (dB)", pairs.column("snr_db"), pairs.column("asked_snr_db")),
        ("level of the mixture (dBFS)", pairs.column("mixture_dbfs"), pairs.column("asked_level_dbfs")),
        ("level of the speech (dBFS)", pairs.column("speech_dbfs"), None),
        ("level of the noise (dBFS)", pairs.column("noise_dbfs"), None),
    ]
    table = [
        (f"{len(pairs.measured)} {look.origin}", "measured", "asked for", "largest difference"),
        ("", "median (5 to 95 %)", "median (5 to 95 %)", "(dB)"),
        *((name, _percentiles(values), *_asked(values, asked)) for name, values, asked in rows),
    ]
    lines = [
        *align(list(zip(*table, strict=True))),
        "SNR: active RMS of the speech to RMS of all the noise, which is noisy - clean; its level is that RMS",
    ]
    if isinstance(look.source, FilePairs):
        lines.append(
            "(synthesise.py asks for a ratio to the active RMS of the noise: where that pauses, more is measured)"
        )
    lowered = np.count_nonzero(pairs.column("mixture_dbfs") < pairs.column("asked_level_dbfs") - 0.1)
    if lowered:
        lines.append(f"more than 0.1 dB below the level asked for, as their peaks leave no room for more: {lowered}")
    silent = np.count_nonzero(~np.isfinite(pairs.column("snr_db")))
    if silent:
        lines.append(f"without speech or without noise, and so without an SNR: {silent}")
    if pairs.unreadable:
        lines.append(f"not readable: {len(pairs.unreadable)}")
        lines += [f"  {reason}" for reason in pairs.unreadable[:_NAMED]]
    return lines


def _asked(values: NDArray[np.float64], asked: NDArray[np.float64] | None) -> tuple[str, str]:
    if asked is None:
        return "", ""
    if np.isnan(asked).all():
        return _NONE, _NONE
    both = np.isfinite(values) & np.isfinite(asked)
    difference = f"{np.abs(values[both] - asked[both]).max():.1f}" if both.any() else _NONE
    return _percentiles(asked), difference


def _percentiles(values: NDArray[np.float64]) -> str:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return _NONE
    low, median, high = np.percentile(finite, (5, 50, 95))
    return f"{median:.1f} ({low:.1f} to {high:.1f})"
