"""Fetch the DNS-2020 challenge's data: python recipes/DNS2020/download.py DIR [--only test_set] [--dry_run].

Stopped or cut off, the same command goes on where it was. DIR/datasets appears when all that was asked for is there.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import click
import requests
from tqdm import tqdm

from speechbrain_dynsnet.data.fetch import Fetcher, Unreachable, check_disk, free_bytes, in_bytes, part_of
from speechbrain_dynsnet.data.lfs import Pointer, fetch_objects, find_pointers
from speechbrain_dynsnet.errors import InputError, one_line_errors

# The data is in the Git LFS of https://github.com/microsoft/DNS-Challenge, branch interspeech2020/master; its README
# there names no other place. GitHub's archive of the branch holds a pointer (checksum and size) for each audio file,
# and the LFS server gives the files themselves. The address in the challenge's own download-dns-challenge-1.sh,
# https://dns3public.blob.core.windows.net/dns3archive/datasets-interspeech2020.tar.bz2, holds the same pointers and
# no audio (5.4 MB; issues 108, 128 and 137 of that repository), and the scripts for later years hold other data.
REPOSITORY = "https://github.com/microsoft/DNS-Challenge"
ARCHIVE_URL = f"{REPOSITORY}/archive/refs/heads/interspeech2020/master.tar.gz"
LFS_URL = f"{REPOSITORY}.git/info/lfs"
# Known beforehand, for the disk check and --dry_run: how many files and bytes. Speech is in pieces of 31 s, all else of
# 10 s, at 16 kHz and 16 bits. The pointers say it to the byte later.
EXPECTED = {
    "clean": (65_348, 65_348 * 31 * 32_000),
    "noise": (65_302, 65_302 * 10 * 32_000),
    "test_set": (900, 900 * 10 * 32_000),
}

UNFINISHED = ".download"  # in DIR, while data is incomplete
UNPACKING = ".unpacking-"  # in that, begins the name of what a kill may leave
QUICK_S = (5.0, 5.0)  # for --dry_run, which can do without an answer


@click.command()
@click.argument("folder", metavar="DIR", type=Path)
@click.option(
    "--mirror", metavar="URL", help="Another archive (.tar, .tar.gz, .tar.bz2) of datasets/: audio or pointers."
)
@click.option("--lfs_server", metavar="URL", default=LFS_URL, show_default=True, help="What pointers point into.")
@click.option(
    "--only", type=click.Choice([*EXPECTED]), help="Fetch only this; all else stays pointers.  [default: all]"
)
@click.option("--jobs", default=8, show_default=True, type=click.IntRange(1), help="Files fetched at the same time.")
@click.option("--dry_run", is_flag=True, help="Say what would be done, and do nothing.")
def main(folder: Path, mirror: str | None, lfs_server: str, only: str | None, jobs: int, dry_run: bool) -> None:
    """Fetch the DNS-2020 data into DIR/datasets: about 131,000 files, 86 GB."""
    _check_folder(folder)
    data = folder / "datasets"
    if not data.exists():
        data = folder / UNFINISHED / "datasets"
    if dry_run:
        needed = (
            _tell_files(data, lfs_server, only) if data.exists() else _tell_archive(folder, mirror, lfs_server, only)
        )
        _tell_disk(folder, needed)
        return
    if not data.exists():
        _fetch_pointers(folder, mirror, only)
    # A folder that holds pointers is one in which this was stopped, or a clone without Git LFS: both are filled.
    pointers = _pointers(data, only)
    if pointers:
        check_disk(folder, _missing(pointers))
        size = sum(pointer.size for pointer in pointers.values())
        with tqdm(total=size, unit="B", unit_scale=True, desc=f"{len(pointers):,} files", disable=None) as bar:
            fetch_objects(pointers, lfs_server, jobs, bar.update)
    if data != folder / "datasets":
        data.rename(folder / "datasets")
        shutil.rmtree(folder / UNFINISHED)
    if only is None:
        click.echo(f"complete: {folder / 'datasets'}; next: python recipes/DNS2020/prepare.py {folder}")
    else:
        click.echo(f"complete: {folder / 'datasets' / only}; without --only, the same command fetches the rest")


def _pointers(data: Path, only: str | None) -> dict[Path, Pointer]:
    part = data if only is None else data / only
    if not part.is_dir():
        raise InputError(f"{part}: is not in this data; leave out --only, or give another mirror")
    return find_pointers(part)


def _missing(pointers: Mapping[Path, Pointer]) -> int:
    """Bytes that are still to be fetched."""
    there = sum(part_of(path).stat().st_size for path in pointers if part_of(path).exists())
    return sum(pointer.size for pointer in pointers.values()) - there


def _expected(only: str | None) -> tuple[int, int]:
    """How many files and bytes the challenge's data has."""
    files, sizes = zip(*(EXPECTED[only],) if only else EXPECTED.values(), strict=True)
    return sum(files), sum(sizes)


def _tell_files(data: Path, lfs_server: str, only: str | None) -> int:
    """Say what would be fetched into a tree of pointers; gives the bytes."""
    pointers = _pointers(data, only)
    missing = _missing(pointers)
    size = sum(pointer.size for pointer in pointers.values())
    click.echo(f"there: {data}, in which {len(pointers):,} files are still pointers")
    if pointers:
        click.echo(f"would fetch them from {lfs_server}: {in_bytes(missing)} of {in_bytes(size)}")
    return missing


def _tell_archive(folder: Path, mirror: str | None, lfs_server: str, only: str | None) -> int | None:
    """Say what would be fetched where nothing is unpacked yet; gives the bytes, None where nobody knows."""
    url = mirror or ARCHIVE_URL
    archive = folder / UNFINISHED / "archive"
    size = None
    if archive.exists():
        click.echo(f"there: {archive}, {in_bytes(archive.stat().st_size)}, from {url}")
    else:
        if part_of(archive).exists():
            click.echo(f"there: {in_bytes(part_of(archive).stat().st_size)} of the archive")
        problem = ""
        try:
            with requests.Session() as session:
                size = Fetcher(session, attempts=1, timeout_s=QUICK_S).size_of(url)
        except Unreachable as error:
            problem = f"; not reached just now: {str(error).removeprefix(f'{url}: ')}"
        click.echo(f"would fetch {url} ({'size unknown' if size is None else in_bytes(size)}{problem})")
    if mirror is not None:
        return _of_mirror(size, archive)
    files, needed = _expected(only)
    click.echo(f"then about {files:,} files, {in_bytes(needed)}, from {lfs_server}")
    return needed


def _tell_disk(folder: Path, needed: int | None) -> None:
    free = free_bytes(folder)
    enough = "" if needed is None else ": enough" if free >= needed else f": {in_bytes(needed - free)} too few"
    click.echo(f"into {folder / 'datasets'} ({in_bytes(free)} free{enough})")


def _of_mirror(size: int | None, archive: Path) -> int | None:
    """Bytes that a mirror's archive still needs at least: itself, and as much unpacked; None where nobody knows."""
    if archive.exists():
        return archive.stat().st_size
    if size is None:
        return None
    return 2 * size - (part_of(archive).stat().st_size if part_of(archive).exists() else 0)


def _fetch_pointers(folder: Path, mirror: str | None, only: str | None) -> None:
    """Fetch and unpack the archive into the unfinished folder: pointers, or (a mirror) the audio itself."""
    url = mirror or ARCHIVE_URL
    unfinished = folder / UNFINISHED
    archive = unfinished / "archive"
    for leftover in unfinished.glob(f"{UNPACKING}*"):
        shutil.rmtree(leftover)
    with requests.Session() as session:
        size = None if archive.exists() else Fetcher(session).size_of(url)
        check_disk(folder, _of_mirror(size, archive) or 0 if mirror else _expected(only)[1])
        _make(unfinished)
        if not archive.exists():
            # What an earlier run left of it counts as arrived.
            with tqdm(total=size, unit="B", unit_scale=True, desc="archive", disable=None) as bar:
                Fetcher(session, bar.update).fetch(url, archive, size)
    try:
        _unpack(archive, unfinished)
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # without one it is gzip's or bzip2's complaint
            raise InputError(f"{unfinished}: cannot be written ({error.strerror}); make room and try again") from error
        archive.unlink()
        reason = str(error).partition("\n")[0].rstrip(":")  # tarfile goes on with a list
        raise InputError(
            f"{url}: not a whole tar archive ({reason}); it was thrown away, try another mirror"
        ) from error
    archive.unlink()


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack the archive's `datasets/`, which appears in `folder` whole or not at all."""
    with tempfile.TemporaryDirectory(prefix=UNPACKING, dir=folder) as temporary:
        root = Path(temporary) / "datasets"
        with tarfile.open(archive) as tar, tqdm(desc="unpacking", unit="file", disable=None) as bar:
            for member in tar:
                below = _below_datasets(PurePosixPath(member.name))
                file = tar.extractfile(member) if member.isfile() and below is not None else None
                if file is None or below is None:
                    continue
                target = root / below
                target.parent.mkdir(parents=True, exist_ok=True)
                with file, target.open("wb") as copy:
                    shutil.copyfileobj(file, copy)
                bar.update()
        if not root.exists():
            archive.unlink()
            raise InputError(f"{archive}: there is no datasets/ in it, so it was thrown away; give another mirror")
        os.replace(root, folder / "datasets")


def _below_datasets(name: PurePosixPath) -> PurePosixPath | None:
    """The part of a member's name after `datasets/`, its first or second folder; None when it is elsewhere."""
    parts = name.parts
    if "datasets" not in parts[:3] or ".." in parts:
        return None
    below = parts[parts.index("datasets") + 1 :]
    return PurePosixPath(*below) if below else None


def _check_folder(folder: Path) -> None:
    ground = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not (ground.is_dir() and os.access(ground, os.W_OK | os.X_OK)):
        raise InputError(f"{folder}: {ground} is no writable folder; choose another one")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror}); choose another folder") from error


if __name__ == "__main__":
    with one_line_errors():
        main()
