"""Fetch the DNS-2020 challenge's data: python recipes/DNS2020/download.py DIR [--dry_run].

Stopped or cut off, the same command goes on where it was. DIR/datasets appears when all of it is there.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

import click
import requests
from tqdm import tqdm

from speechbrain_dynsnet.data.fetch import Fetcher, check_disk, free_bytes, part_of
from speechbrain_dynsnet.data.lfs import fetch_objects, find_pointers
from speechbrain_dynsnet.errors import InputError, one_line_errors

# The data is in the Git LFS of https://github.com/microsoft/DNS-Challenge, branch interspeech2020/master; its README
# there names no other place. GitHub's archive of the branch holds a pointer (checksum and size) for each audio file,
# and the LFS server gives the files themselves. The address in the challenge's own download-dns-challenge-1.sh,
# https://dns3public.blob.core.windows.net/dns3archive/datasets-interspeech2020.tar.bz2, holds the same pointers and
# no audio (5.4 MB; issues 108, 128 and 137 of that repository), and the scripts for later years hold other data.
REPOSITORY = "https://github.com/microsoft/DNS-Challenge"
ARCHIVE_URL = f"{REPOSITORY}/archive/refs/heads/interspeech2020/master.tar.gz"
LFS_URL = f"{REPOSITORY}.git/info/lfs"
# Known beforehand for the disk check only: 65,348 files of speech of 31 s, 65,302 of noise of 10 s, 600 of 10 s
# in the test sets, 16 kHz, 16 bits. The pointers say it to the byte later.
EXPECTED_FILES = 131_250
EXPECTED_BYTES = 86_000_000_000

UNFINISHED = ".download"  # in DIR, while data is incomplete


@click.command()
@click.argument("folder", metavar="DIR", type=Path)
@click.option(
    "--mirror", metavar="URL", help="Another archive (.tar, .tar.gz, .tar.bz2) of datasets/: audio or pointers."
)
@click.option("--lfs_server", metavar="URL", default=LFS_URL, show_default=True, help="What pointers point into.")
@click.option("--jobs", default=8, show_default=True, type=click.IntRange(1), help="Files fetched at the same time.")
@click.option("--dry_run", is_flag=True, help="Say what would be done, and do nothing.")
def main(folder: Path, mirror: str | None, lfs_server: str, jobs: int, dry_run: bool) -> None:
    """Fetch the DNS-2020 data into DIR/datasets: about 131,000 files, 86 GB."""
    _check_folder(folder)
    data = folder / "datasets"
    if not data.exists():
        data = folder / UNFINISHED / "datasets"
        if not data.exists():
            _fetch_pointers(folder, mirror or ARCHIVE_URL, mirror is None, lfs_server, dry_run)
            if dry_run:
                return
    # A folder that holds pointers is one in which this was stopped, or a clone without Git LFS: both are filled.
    pointers = find_pointers(data)
    size = sum(pointer.size for pointer in pointers.values())
    there = sum(part_of(path).stat().st_size for path in pointers if part_of(path).exists())
    if dry_run:
        click.echo(f"would fetch {len(pointers):,} files, {size / 1e9:.2f} GB ({there / 1e9:.2f} GB of it are there)")
        click.echo(f"from {lfs_server}\ninto {folder / 'datasets'} ({free_bytes(folder) / 1e9:.1f} GB free)")
        return
    if pointers:
        check_disk(folder, size - there)
        with tqdm(total=size, unit="B", unit_scale=True, desc=f"{len(pointers):,} files", disable=None) as bar:
            fetch_objects(pointers, lfs_server, jobs, bar.update)
    if data != folder / "datasets":
        data.rename(folder / "datasets")
        shutil.rmtree(folder / UNFINISHED)
    click.echo(f"complete: {folder / 'datasets'}; next: python recipes/DNS2020/prepare.py {folder}")


def _fetch_pointers(folder: Path, url: str, is_official: bool, lfs_server: str, dry_run: bool) -> None:
    """Fetch and unpack the archive into the unfinished folder: pointers, or (a mirror) the audio itself."""
    unfinished = folder / UNFINISHED
    archive = unfinished / "archive"
    with requests.Session() as session:
        size = None if archive.exists() else Fetcher(session).size_of(url)
        there = part_of(archive).stat().st_size if part_of(archive).exists() else 0
        # Of a mirror's archive it is only known that it needs at least as much unpacked.
        expected = EXPECTED_BYTES if is_official else 2 * (size or 0) - there
        if dry_run:
            click.echo(f"would fetch {url} ({'size unknown' if size is None else f'{size / 1e6:.1f} MB'})")
            if is_official:
                click.echo(f"then about {EXPECTED_FILES:,} files, {EXPECTED_BYTES / 1e9:.0f} GB, from {lfs_server}")
            click.echo(f"into {folder / 'datasets'} ({free_bytes(folder) / 1e9:.1f} GB free)")
        check_disk(folder, expected)
        if dry_run:
            return
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
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=folder) as temporary:
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
