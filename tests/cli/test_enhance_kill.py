"""`dynsnet enhance` when it is killed, on a disk that is full, and under torchrun: nothing half is ever left behind."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from speechbrain_dynsnet.audio.files import Audio, read_audio, write_audio
from speechbrain_dynsnet.cli.worklog import FOLDER

COMMAND = [sys.executable, "-m", "speechbrain_dynsnet.cli", "enhance"]
SECONDS = 20
FILES = 16  # more than are enhanced side by side
ROOT = Path(__file__).parents[2]


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """A folder of recordings that take a while."""
    folder = tmp_path / "in"
    folder.mkdir()
    noise = np.random.default_rng(0).normal(0.0, 0.1, (1, SECONDS * 16000)).astype(np.float32)
    write_audio(folder / "0.wav", Audio(noise, 16000))
    for number in range(1, FILES):
        shutil.copy(folder / "0.wav", folder / f"{number}.wav")
    return folder


def results(folder: Path) -> list[Path]:
    return sorted(folder.glob("[!.]*.wav"))


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_killed_run_leaves_only_whole_files_and_the_next_goes_on(recordings: Path, tmp_path: Path, jobs: str) -> None:
    out = tmp_path / "out"
    with subprocess.Popen([*COMMAND, recordings, "-o", out, "--jobs", jobs], cwd=ROOT) as program:
        until = time.monotonic() + 180
        while len(results(out)) < 2:
            assert time.monotonic() < until and program.poll() is None
            time.sleep(0.01)
        program.send_signal(signal.SIGKILL)
    until = time.monotonic() + 20
    while any(_is_written(path) for path in out.glob(".*.part")):  # its processes end with it, soon
        assert time.monotonic() < until, "a process lives on"
        time.sleep(0.05)
    found = {path: path.stat().st_mtime_ns for path in results(out)}
    assert 2 <= len(found) < FILES
    assert all(read_audio(path).samples.shape == (1, SECONDS * 16000) for path in found)
    recorded = sum(b'"failure": ""}\n' in line for line in (out / FOLDER / "rank0of1.jsonl").open("rb"))

    done = run(recordings, "-o", out, "--jobs", jobs, "--resume")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{FILES - recorded} enhanced, {recorded} done before" in done.stdout and recorded >= len(found) - int(jobs)
    assert len(results(out)) == FILES and not list(out.glob(".*.part"))
    assert sum(path.stat().st_mtime_ns == changed for path, changed in found.items()) == recorded


def _is_written(path: Path) -> bool:
    """Whether a process has this file open."""
    for descriptors in Path("/proc").glob("[0-9]*/fd"):
        try:
            if any(os.readlink(descriptor) == str(path) for descriptor in descriptors.iterdir()):
                return True
        except OSError:  # that process has ended meanwhile
            continue
    return False


@pytest.mark.parametrize("in_place", [False, True])
def test_a_full_disk_leaves_originals_and_earlier_results(recordings: Path, tmp_path: Path, in_place: bool) -> None:
    for path in results(recordings)[2:]:
        path.unlink()
    write_audio(recordings / "small.wav", Audio(np.zeros((1, 800), np.float32), 16000))
    where = ["--in_place"] if in_place else ["-o", tmp_path / "out"]
    folder = recordings if in_place else tmp_path / "out"
    if not in_place:
        assert run(recordings, *where).returncode == 0
    before = {path: path.read_bytes() for path in results(folder)}
    # No file may grow beyond this: what is written stops half way, as on a full disk.
    command = [*COMMAND, recordings, *where]
    limit = (100_000, 100_000)
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )
    assert done.returncode == 1 and "1 enhanced, 2 failed" in done.stdout
    lines = done.stderr.splitlines()
    assert len(lines) == 2 and all("cannot be written" in line and "make room" in line for line in lines)
    assert {path.name for path in results(folder) if path.read_bytes() != before[path]} <= {"small.wav"}
    assert not list(folder.glob(".*.part"))


@pytest.mark.slow
def test_torchrun_shares_the_work(recordings: Path, tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    arguments = ["-m", *COMMAND[2:], recordings, "-o", tmp_path / "out"]
    done = subprocess.run([*torchrun, *arguments], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert f"{FILES} enhanced, 0 failed" in done.stdout
    assert len(results(tmp_path / "out")) == FILES
    shares = [(tmp_path / "out" / FOLDER / f"rank{rank}of2.jsonl").read_text().count('"target"') for rank in (0, 1)]
    assert shares == [FILES // 2, FILES // 2]
