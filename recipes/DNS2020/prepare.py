"""Check speech and noise and write the manifest to train on.

python recipes/DNS2020/prepare.py DIR                                    a DNS-2020 download
python recipes/DNS2020/prepare.py --clean A --noise B [--rir C] --output manifest.csv     any folders
python recipes/DNS2020/prepare.py OLD.csv --output manifest.csv          an existing manifest
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import click

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.data.check import CheckedFile, Problem, check_files
from speechbrain_dynsnet.data.dns2020 import PairFiles, find_test_pairs, find_tree, noise_category
from speechbrain_dynsnet.data.manifest import COLUMNS, KINDS, SPLITS, Source, read_rows, split_off_valid, walk
from speechbrain_dynsnet.errors import InputError, one_line_errors
from speechbrain_dynsnet.writing import check_writable, write_table

PAIR_COLUMNS = ("file_id", "set", "clean", "noisy", "snr_db")
NAMED = 10  # so many files that are left out are named; all of them are in a table
SHORTEST_S = 0.1  # of speech and noise; less is a click


@dataclass(frozen=True)
class Entry:
    """A file to list: its split where that is given, and the further columns of the manifest it comes from."""

    source: Source
    split: str | None = None
    more: dict[str, str] = field(default_factory=dict)


@click.command()
@click.argument("data", metavar="[DIR | MANIFEST]", required=False, type=Path)
@click.option("--clean", metavar="DIR", type=Path, help="A folder of speech, at any depth.")
@click.option("--noise", metavar="DIR", type=Path, help="A folder of noise, at any depth.")
@click.option("--rir", metavar="DIR", type=Path, help="A folder of impulse responses, at any depth.")
@click.option("--output", metavar="CSV", type=Path, help="The manifest to write. [default: DIR/manifest.csv]")
@click.option("--jobs", default=16, show_default=True, type=click.IntRange(1), help="Files looked at the same time.")
@click.option("--decode", is_flag=True, help="Read every sample: finds silence, clipping and damage; takes far longer.")
def main(
    data: Path | None,
    clean: Path | None,
    noise: Path | None,
    rir: Path | None,
    output: Path | None,
    jobs: int,
    decode: bool,
) -> None:
    """Check the audio of a DNS-2020 download, of plain folders or of a manifest, and write a manifest of it.

    Files of no use are left out, and listed with the reason beside the manifest. The test pairs of a download go to
    test_pairs.csv.
    """
    if (data is None) == (clean is None and noise is None):
        raise InputError("give either a DNS-2020 folder or manifest, or --clean and --noise")
    if output is None:
        if data is None or data.is_file():
            raise InputError("say with --output which manifest to write")
        output = data / "manifest.csv"
    if data is not None and data.is_file() and rir is not None:
        raise InputError(f"{data}: lists its own impulse responses; add those of {rir} to it, and leave out --rir")
    pairs: list[PairFiles] = []
    alone: dict[Path, str] = {}
    if data is None:
        if clean is None or noise is None:
            raise InputError("give both --clean and --noise")
        entries = [*_walk(clean, "clean"), *_walk(noise, "noise"), *_walk(rir, "impulse_responses")]
    elif data.is_file():
        entries = _read_manifest(data)
    else:
        tree = find_tree(data)
        entries = [
            *_walk(tree.clean, "clean"),
            *map(_by_category, _walk(tree.noise, "noise")),
            *_walk(rir or tree.impulse_responses, "impulse_responses"),
        ]
        if tree.synthetic is not None:
            pairs, alone = find_test_pairs(tree.synthetic)
    _refuse_two_kinds(entries)
    check_writable(output, "CSV file")

    paths = [entry.source.path for entry in entries] + [path for pair in pairs for path in (pair.clean, pair.noisy)]
    checked = {file.path: file for file in check_files(paths, jobs, decode)}
    checked |= _too_short(entries, checked)
    left_out = [file for file in checked.values() if file.problem is not None]
    left_out += [CheckedFile(path, problem=Problem.NO_PARTNER, detail=reason) for path, reason in alone.items()]
    pairs, unequal = _fitting(pairs, checked)
    listed = _split([entry for entry in entries if checked[entry.source.path].problem is None])
    _require_both_kinds(entries, listed, checked)

    _write_manifest(output, listed, checked)
    click.echo(f"written: {output}")
    _report_sources(listed, checked)
    if data is not None and data.is_dir():
        _write_pairs(output.with_name("test_pairs.csv"), pairs)
    _report_left_out(output.with_name(f"{output.stem}.left_out.csv"), left_out + unequal)


def _walk(folder: Path | None, kind: str) -> list[Entry]:
    if folder is None:
        return []
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the one that holds the {kind} audio")
    entries = [Entry(source) for source in walk(folder, kind)]
    if not entries:
        raise InputError(f"{folder}: there is no {kind} audio in it; put audio files there, or give another folder")
    return entries


def _by_category(entry: Entry) -> Entry:
    category = noise_category(entry.source.path.name)
    return entry if category is None else replace(entry, source=replace(entry.source, group=category))


def _read_manifest(path: Path) -> list[Entry]:
    entries = []
    for row in read_rows(path):
        file = os.path.abspath(path.parent / row["path"])
        more = {name: value for name, value in row.items() if name not in (*COLUMNS, "seconds") and name is not None}
        entries.append(Entry(Source(Path(file), row["kind"], row["speaker_or_category"]), row["split"], more))
    return entries


def _refuse_two_kinds(entries: Iterable[Entry]) -> None:
    kinds: dict[Path, str] = {}
    for entry in entries:
        path, kind = entry.source.path, entry.source.kind
        if kinds.setdefault(path, kind) != kind:
            raise InputError(f"{path}: is in the folders of {kinds[path]} and of {kind}; give folders apart")


def _split(entries: Sequence[Entry]) -> list[Entry]:
    """The same, each with a split: its own, or one in which its speaker is alone."""
    splits = {source.path: split for split, sources in _split_off(entries).items() for source in sources}
    return [entry if entry.split is not None else replace(entry, split=splits[entry.source.path]) for entry in entries]


def _split_off(entries: Sequence[Entry]) -> dict[str, list[Source]]:
    return split_off_valid(entry.source for entry in entries if entry.split is None)


def _too_short(entries: Iterable[Entry], checked: dict[Path, CheckedFile]) -> dict[Path, CheckedFile]:
    """The speech and noise that is no more than a click; an impulse response may be."""
    files = (checked[entry.source.path] for entry in entries if entry.source.kind != "impulse_responses")
    return {
        file.path: CheckedFile(file.path, problem=Problem.SHORT, detail=f"{file.seconds:.4f} s")
        for file in files
        if file.problem is None and file.seconds < SHORTEST_S
    }


def _require_both_kinds(entries: Sequence[Entry], listed: Sequence[Entry], checked: dict[Path, CheckedFile]) -> None:
    """Training needs speech and noise on both sides: say now what it would say later."""
    given = {entry.split for entry in entries}
    for split in SPLITS if None in given else [split for split in SPLITS if split in given]:
        for kind in ("clean", "noise"):
            if any((entry.split, entry.source.kind) == (split, kind) for entry in listed):
                continue
            of_kind = [entry.source for entry in entries if entry.source.kind == kind]
            bad = [checked[source.path] for source in of_kind if checked[source.path].problem is not None]
            if bad:
                raise InputError(
                    f"no {kind} audio is left for {split}: {len(bad)} of {len(of_kind)} files are of no use, "
                    f"the first is {_name_problem(bad[0])}; {_advice(bad)}"
                )
            raise InputError(f"no {kind} audio for {split} among {len(of_kind)} files; give at least two of them")


def _advice(bad: Sequence[CheckedFile]) -> str:
    if bad[0].problem is Problem.POINTER:
        return "fetch the audio with `git lfs pull` there, or with download.py"
    if bad[0].problem is Problem.GONE:
        return "move the manifest together with its files"
    if bad[0].problem is Problem.SHORT:
        return f"give files of at least {SHORTEST_S:g} s"
    return "repair the files, or fetch them again"


def _fitting(pairs: Iterable[PairFiles], checked: dict[Path, CheckedFile]) -> tuple[list[PairFiles], list[CheckedFile]]:
    """The pairs of two good files of one rate and length; and the noisy files of the others."""
    good, unequal = [], []
    for pair in pairs:
        clean, noisy = checked[pair.clean], checked[pair.noisy]
        if clean.problem is not None or noisy.problem is not None:
            continue
        if (clean.rate_hz, clean.seconds, clean.channels) == (noisy.rate_hz, noisy.seconds, noisy.channels):
            good.append(pair)
        else:
            detail = f"its rate, length or channels are not those of {pair.clean.name}"
            unequal.append(CheckedFile(pair.noisy, problem=Problem.NO_PARTNER, detail=detail))
    return good, unequal


def _write_manifest(output: Path, listed: Sequence[Entry], checked: dict[Path, CheckedFile]) -> None:
    more = list(dict.fromkeys(name for entry in listed for name in entry.more))
    rows = (
        {
            "path": _relative(entry.source.path, output),
            "kind": entry.source.kind,
            "split": entry.split,
            "speaker_or_category": entry.source.group,
            "seconds": f"{checked[entry.source.path].seconds:.3f}",
            **entry.more,
        }
        for entry in listed
    )
    write_table(output, (*COLUMNS, "seconds", *more), rows)


def _write_pairs(path: Path, pairs: Sequence[PairFiles]) -> None:
    if not pairs:
        path.unlink(missing_ok=True)  # of an earlier run
        click.echo("no test pairs in test_set/synthetic/")
        return
    rows = (
        {
            "file_id": pair.file_id,
            "set": pair.test_set,
            "clean": _relative(pair.clean, path),
            "noisy": _relative(pair.noisy, path),
            "snr_db": f"{pair.snr_db:g}",
        }
        for pair in pairs
    )
    write_table(path, PAIR_COLUMNS, rows)
    counts = Counter(pair.test_set for pair in pairs)
    click.echo(f"written: {path} ({', '.join(f'{count} pairs {name}' for name, count in counts.items())})")


def _report_sources(listed: Sequence[Entry], checked: dict[Path, CheckedFile]) -> None:
    for kind in KINDS:
        for split in dict.fromkeys(entry.split for entry in listed):
            sources = [entry.source for entry in listed if (entry.split, entry.source.kind) == (split, kind)]
            if sources:
                hours = sum(checked[source.path].seconds for source in sources) / 3600
                groups = len({source.group for source in sources})
                of_what = "speakers" if kind == "clean" else "categories"
                click.echo(f"{kind:18} {split:6} {len(sources):7,} files {hours:9.2f} h {groups:6,} {of_what}")
    others = [
        file
        for file in (checked[entry.source.path] for entry in listed)
        if (file.rate_hz, file.channels) != (SAMPLE_RATE, 1)
    ]
    if others:
        first = others[0]
        click.echo(
            f"{len(others):,} files are not {SAMPLE_RATE} Hz mono, the first is {first.path} ({first.rate_hz} Hz, "
            f"{first.channels} channels): training converts them once"
        )
    signals = [checked[entry.source.path] for entry in listed if entry.source.kind != "impulse_responses"]
    if clipped := [file.path for file in signals if file.is_clipped]:
        click.echo(
            f"{len(clipped):,} files reach full scale and may be clipped, the first is {clipped[0]}: synthesise.py "
            "passes over them, training takes them as they are",
            err=True,
        )
    speakers = {(entry.source.group, entry.split) for entry in listed if entry.source.kind == "clean"}
    both = sorted({group for group, split in speakers if split == "train"} & {g for g, s in speakers if s == "valid"})
    if both:
        click.echo(f"speakers both in train and valid: {len(both)}, the first is {both[0]}", err=True)


def _report_left_out(path: Path, files: Sequence[CheckedFile]) -> None:
    path.unlink(missing_ok=True)  # of an earlier run
    if not files:
        return
    rows = (
        {"path": _relative(file.path, path), "problem": file.problem.value, "detail": file.detail}
        for file in files
        if file.problem is not None
    )
    write_table(path, ("path", "problem", "detail"), rows)
    counts = Counter(file.problem.value for file in files if file.problem is not None)
    click.echo(
        f"left out: {len(files):,} files ({'; '.join(f'{count} {name}' for name, count in counts.items())}), "
        f"listed in {path}",
        err=True,
    )
    for file in files[:NAMED]:
        click.echo(f"  {_name_problem(file)}", err=True)
    if len(files) > NAMED:
        click.echo("  ...", err=True)


def _name_problem(file: CheckedFile) -> str:
    reason = "" if file.problem is None else file.problem.value
    return f"{file.path}: {reason}{f' ({file.detail})' if file.detail else ''}"


def _relative(path: Path, table: Path) -> str:
    return Path(os.path.relpath(path, table.parent)).as_posix()


if __name__ == "__main__":
    with one_line_errors():
        main()
