"""`dynsnet enhance` when a file takes the program down: that file is named, the others are enhanced, none twice."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from speechbrain_dynsnet.audio.files import Audio, read_audio, write_audio
from speechbrain_dynsnet.audio.settings import Settings
from speechbrain_dynsnet.cli import enhance_model, main
from speechbrain_dynsnet.cli.enhance_files import FileWorker
from speechbrain_dynsnet.cli.enhance_jobs import enhance_all
from speechbrain_dynsnet.cli.worklist import plan
from speechbrain_dynsnet.cli.worklog import FOLDER, rows_of
from tests.cli.deadly import (
    BARE_FAULT,
    FAULT,
    GAIN,
    INTERRUPTED,
    KILLS,
    KILLS_ONCE,
    NO_MEMORY,
    NO_MEMORY_IN_TORCH,
    DeadlyChoice,
    DyingWorklog,
)

RATE = 16000
TONE = (0.5 * np.sin(np.arange(4000) / 5)).astype(np.float32)
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a folder `in`, for a model that kills, where no other is asked for."""
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(enhance_model, "choose_model", lambda *_: DeadlyChoice())
    Path("in").mkdir()
    return tmp_path


def record(*orders: int) -> list[Path]:
    """A file for each order, which is its number of channels."""
    paths = [Path(f"in/{number}.wav") for number in range(len(orders))]
    for path, channels in zip(paths, orders, strict=True):
        write_audio(path, Audio(np.tile(TONE, (channels, 1)), RATE, "WAV", "FLOAT"))
    return paths


def enhance(*arguments: str) -> Result:
    result = CliRunner().invoke(main, ["enhance", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def errors(result: Result) -> list[str]:
    return [line for line in result.stderr.splitlines() if line.startswith("Error: ")]


def assert_halved(path: Path) -> None:
    samples = read_audio(path).samples
    np.testing.assert_allclose(samples, np.broadcast_to(GAIN * TONE, samples.shape), atol=1e-4)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("orders", [(1, KILLS, 1, 2, KILLS, 1, 1), (KILLS, 1), (KILLS, KILLS)])
def test_a_file_that_kills_its_process_is_named_and_the_others_go_on(orders: tuple[int, ...], in_place: bool) -> None:
    paths = record(*orders)
    before = [path.read_bytes() for path in paths]
    result = enhance("in", "--jobs", "2", *(["--in_place"] if in_place else ["-o", "out"]))
    assert result.exit_code == 1
    guilty = [path for path, order in zip(paths, orders, strict=True) if order == KILLS]
    assert len(errors(result)) == len(guilty)
    for path, line in zip(guilty, errors(result), strict=True):
        assert line.startswith(
            f"Error: {path}: the process that enhanced it was killed, and again with no other beside"
        )
    assert f"{len(paths) - len(guilty)} enhanced, {len(guilty)} failed" in result.stdout
    results = Path("in" if in_place else "out")
    for path, content in zip(paths, before, strict=True):
        if path not in guilty:
            assert_halved(results / path.name)
        elif in_place:
            assert path.read_bytes() == content
        else:
            assert not (results / path.name).exists()
    assert not list(results.glob(".*.part"))
    recorded = {row.target: row.failure for row in rows_of(results)}
    assert {name for name, failure in recorded.items() if failure} == {path.name for path in guilty}
    assert recorded.keys() == {path.name for path in paths}


def test_a_process_that_is_killed_once_costs_no_file() -> None:
    paths = record(1, 2, KILLS_ONCE, 1, 1, 1, 1, 1, 1)
    result = enhance("in", "-o", "out", "--jobs", "2")
    assert result.exit_code == 0 and "9 enhanced, 0 failed" in result.stdout
    assert result.stderr == "a process was killed, perhaps for want of memory; going on in 1\n"
    for path in paths:
        assert_halved(Path("out", path.name))
    assert not list(Path("out").glob(".*.part"))


@pytest.mark.parametrize("is_recorded", [False, True])
def test_in_place_what_is_done_when_its_process_is_killed_is_not_done_again(is_recorded: bool) -> None:
    paths = record(1, 2, 1, 1, 2)
    worklog = DyingWorklog(Path("in").resolve(), is_recorded)
    worklog.begin("key")
    worker = FileWorker(DeadlyChoice(), Settings(), worklog, "key")
    rows = list(enhance_all(worker, plan(["in"], None), jobs=2))
    assert Path("in/killed").exists()
    assert sorted(row.target for row in rows) == [path.name for path in paths]
    assert not any(row.failure for row in rows)
    for path in paths:
        assert_halved(path)


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize(
    ("order", "message"),
    [
        (NO_MEMORY, "there is too little memory for it; end other programs, or give fewer --jobs"),
        (NO_MEMORY_IN_TORCH, "there is too little memory for it; end other programs, or give fewer --jobs"),
        (FAULT, r"ValueError: two lines \(deadly.py, line \d+\); this is a fault in the program, please report it"),
        (BARE_FAULT, r"AssertionError \(deadly.py, line \d+\); this is a fault in the program, please report it"),
    ],
)
def test_whatever_one_file_raises_is_its_failure(order: int, message: str, jobs: str) -> None:
    record(1, order, 2)
    result = enhance("in", "-o", "out", "--jobs", jobs)
    assert result.exit_code == 1 and "2 enhanced, 1 failed" in result.stdout
    (line,) = errors(result)
    (failure,) = (row.failure for row in rows_of(Path("out")) if row.failure)
    assert line == f"Error: in/1.wav: {failure}"
    assert re.fullmatch(message, failure)
    for name in ("0.wav", "2.wav"):
        assert_halved(Path("out", name))
    assert not list(Path("out").glob(".*.part"))


def test_one_file_alone_that_finds_no_memory_is_one_line() -> None:
    record(NO_MEMORY)
    result = enhance("in/0.wav", "-o", "new/out.wav")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: in/0.wav: there is too little memory") and result.stderr.count("\n") == 1
    assert not Path("new").exists()


def test_too_little_memory_for_the_models_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enhance_model, "choose_model", lambda *_: DeadlyChoice(loads=False))
    record(1, 1)
    result = enhance("in", "-o", "out", "--jobs", "2")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "Error: there is too little memory for a model in each process; give fewer --jobs\n"


def test_an_interrupt_ends_the_run() -> None:
    record(INTERRUPTED, 1)
    worklog = DyingWorklog(Path("in").resolve(), True)
    worklog.begin("key")
    worker = FileWorker(DeadlyChoice(), Settings(), worklog, "key")
    with pytest.raises(KeyboardInterrupt):
        list(enhance_all(worker, plan(["in"], "out"), jobs=1))
    assert not Path("in/killed").exists() and not list(Path("out").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_process_killed_at_any_moment_costs_no_file(folder: Path, seed: int) -> None:
    noise = np.random.default_rng(0).normal(0.0, 0.1, (1, 10 * RATE)).astype(np.float32)
    for number in range(12):
        write_audio(folder / "in" / f"{number}.wav", Audio(noise, RATE))
    command = [sys.executable, "-m", "speechbrain_dynsnet.cli", "enhance", folder / "in", "-o", folder / "out"]
    with subprocess.Popen([*command, "--jobs", "2"], cwd=ROOT, stderr=subprocess.PIPE) as program:
        until = time.monotonic() + 180
        while not (workers := _workers(program.pid)):
            assert time.monotonic() < until and program.poll() is None
            time.sleep(0.01)
        time.sleep(float(np.random.default_rng(seed).uniform(0.0, 1.0)))
        os.kill(workers[0], signal.SIGKILL)
        assert program.wait(60) == 0
    first = Path("out/0.wav").read_bytes()
    assert read_audio("out/0.wav").samples.shape == noise.shape
    names = {f"{number}.wav" for number in range(12)}
    assert all(Path("out", name).read_bytes() == first for name in names)
    assert {path.name for path in Path("out").iterdir()} == {*names, "enhanced.csv", FOLDER}


def _workers(program: int) -> list[int]:
    pids = map(int, Path(f"/proc/{program}/task/{program}/children").read_text().split())
    return [pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
