"""What prepare.py costs on a tree of the size and the names of DNS-2020: seconds and peak memory.

The tree's files are hard links to a few short recordings, all of which the system soon has in memory: what a disk adds
by its seeks is not in the figures.

    python benchmarks/preparing.py
"""

from __future__ import annotations

import base64
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import click
import numpy as np
import soundfile

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE

SCRIPT = Path(__file__).parents[1] / "recipes" / "DNS2020" / "prepare.py"
READERS = 2150
RECORDINGS = 16  # a file system holds so many links to one file at most (ext4: 65,000)


@click.command()
@click.option("--clean", default=65_348, show_default=True, help="Files of speech.")
@click.option("--noise", default=65_302, show_default=True, help="Files of noise.")
@click.option("--pairs", default=150, show_default=True, help="In each of the two test sets.")
@click.option("--jobs", default=16, show_default=True, help="As prepare.py's.")
def main(clean: int, noise: int, pairs: int, jobs: int) -> None:
    """Make the tree in a temporary folder, prepare it in a process of its own, and delete it."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        names = [*_speech(clean), *_noises(noise), *_pairs(pairs)]
        _make_tree(folder, names)
        begin = time.perf_counter()
        subprocess.run([sys.executable, SCRIPT, folder, f"--jobs={jobs}"], check=True)
        seconds = time.perf_counter() - begin
    peak_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{len(names):,} files: {seconds:.1f} s, {peak_mib:.0f} MiB at the peak")


def _make_tree(folder: Path, names: list[str]) -> None:
    rng = np.random.default_rng(0)
    recordings = [folder / f"recording_{number}.wav" for number in range(RECORDINGS)]
    for recording in recordings:
        soundfile.write(recording, 0.1 * rng.standard_normal(SAMPLE_RATE // 2), SAMPLE_RATE)
    for parent in {os.path.dirname(name) for name in names}:
        (folder / "datasets" / parent).mkdir(parents=True)
    for name, recording in zip(names, cycle(recordings), strict=False):
        os.link(recording, folder / "datasets" / name)


def _speech(files: int) -> Iterator[str]:
    for number in range(files):
        yield f"clean/book_{number // 40:05d}_chp_{number % 40:04d}_reader_{number % READERS:05d}_{number % 30}.wav"


def _noises(files: int) -> Iterator[str]:
    """Most are AudioSet's, by video id; the rest pieces of recordings of Freesound."""
    for number in range(files):
        video = base64.urlsafe_b64encode(number.to_bytes(9, "big")).decode()[1:]
        yield (
            f"noise/{video}.wav" if number % 6 else f"noise/air_conditioner_{100_000 + number // 24}_{number % 24}.wav"
        )


def _pairs(files: int) -> Iterator[str]:
    for test_set in ("no_reverb", "with_reverb"):
        for number in range(files):
            place = f"test_set/synthetic/{test_set}"
            yield f"{place}/clean/clean_fileid_{number}.wav"
            yield f"{place}/noisy/clnsp{number}_traffic_248091_3_snr{number % 20}_tl-21_fileid_{number}.wav"


if __name__ == "__main__":
    main()
