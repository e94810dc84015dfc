"""The script, as a user runs it: the same bits however it runs, and nothing lost or half-written."""

from __future__ import annotations

import csv
import hashlib
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from recipes.DNS2020.synthesise import clip_ids, main, read_recordings, warn_of_repetition
from speechbrain_dynsnet.data.dns2020 import parse_noisy
from speechbrain_dynsnet.data.folder_lock import hold
from speechbrain_dynsnet.data.synthesis import SynthesisSettings
from speechbrain_dynsnet.errors import InputError
from tests.data.marked import SPEAKERS, make_marked_set, read, tone, write

ROOT = Path(__file__).parents[2]
CLIPS = 10
HOURS = CLIPS * 2 / 3600
OPTIONS = ("--split=all", "--audio_length=2", "--reverb_probability=0.5")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_marked_set(tmp_path_factory.mktemp("marked") / "set")


def command(data: Path, output: Path, *options: str) -> list[str]:
    words = [sys.executable, "recipes/DNS2020/synthesise.py", str(data), str(output), "--jobs=1", *OPTIONS]
    return [*words, f"--total_hours={HOURS}", f"--decoded={data.parent / 'decoded'}", *options]


def run(
    data: Path, output: Path, *options: str, before: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    words = command(data, output, *options)
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, preexec_fn=before, timeout=60)


def contents(folder: Path) -> dict[str, str]:
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*.wav")}


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten clips, made by one process."""
    output = tmp_path_factory.mktemp("made") / "one_job"
    result = run(data, output)
    assert result.returncode == 0, result.stderr
    assert f"{CLIPS} clips made" in result.stdout
    return output


def test_the_folder_is_the_challenges(made: Path) -> None:
    with (made / "log.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["file_id"]) for row in rows] == list(range(CLIPS))
    assert {path.name for path in (made / "clean").iterdir()} == {f"clean_fileid_{n}.wav" for n in range(CLIPS)}
    assert {path.name for path in (made / "noise").iterdir()} == {f"noise_fileid_{n}.wav" for n in range(CLIPS)}
    assert {path.name for path in (made / "noisy").iterdir()} == {row["noisy"] for row in rows}
    for row in rows:
        name = parse_noisy(row["noisy"])
        assert name is not None
        assert name.file_id == int(row["file_id"])
        assert name.snr_db == pytest.approx(float(row["snr_db"]), abs=0.51)
        assert name.level_dbfs == pytest.approx(float(row["level_reached_dbfs"]), abs=0.51)
        assert len(read(made / "noisy" / row["noisy"])) == 2 * 16000
    assert {row["speaker"] for row in rows} == set(SPEAKERS)
    assert 1 < sum(bool(row["impulse_response"]) for row in rows) < CLIPS


def test_more_processes_and_another_start_give_the_same_bits(data: Path, made: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    result = run(data, output, "--jobs=2", "--fileindex_start=4", f"--total_hours={HOURS / 2}")
    assert result.returncode == 0, result.stderr
    earlier = times(output)
    result = run(data, output, "--jobs=2")
    assert result.returncode == 0, result.stderr
    assert "5 clips made" in result.stdout and "5 were there" in result.stdout
    assert contents(output) == contents(made)
    assert times(output).items() >= earlier.items()


def start(data: Path, output: Path, *options: str) -> tuple[subprocess.Popen[str], list[int]]:
    """A run that has made a few clips, and its workers."""
    words = command(data, output, *options)
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    log = output / "log.csv"
    deadline = time.monotonic() + 60
    while not log.exists() or log.read_text().count("\n") < 4:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return process, [int(child) for child in children if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads /proc")
def test_a_killed_run_goes_on_where_it_was(data: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    longer = ("--jobs=2", "--audio_length=10", "--total_hours=0.05")
    process, workers = start(data, output, *longer)
    assert len(workers) == 2
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{worker}").exists() for worker in workers):  # nobody is left to stop them
        assert time.monotonic() < deadline
        time.sleep(0.01)
    done = (output / "log.csv").read_text().rpartition("\n")[0].count("\n")
    assert 3 <= done < 18
    earlier = times(output)
    result = run(data, output, *longer)
    assert result.returncode == 0, result.stderr
    assert f"{18 - done} clips made" in result.stdout and f"{done} were there" in result.stdout
    assert sum(times(output).get(name) == made_at for name, made_at in earlier.items()) >= 3 * done
    whole = tmp_path / "whole"
    assert run(data, whole, *longer, "--jobs=2").returncode == 0
    assert contents(output) == contents(whole)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads /proc")
def test_a_killed_worker_ends_the_run_with_one_line(data: Path, tmp_path: Path) -> None:
    process, workers = start(data, tmp_path / "out", "--jobs=2", "--total_hours=10")
    os.kill(workers[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert errors.startswith("Error: a process was killed") and errors.count("\n") == 1


def test_a_second_run_into_the_same_folder_is_told_and_harms_nothing(data: Path, made: Path, tmp_path: Path) -> None:
    output = shutil.copytree(made, tmp_path / "out")
    (output / ".unfinished-abc").mkdir()
    (output / ".unfinished-abc" / "noisy.wav").write_bytes(b"RIFF")  # the first run's next clip
    before = contents(output)
    with hold(output):
        second = run(data, output, f"--fileindex_start={CLIPS}")
        assert contents(output) == before
    assert second.returncode == 2
    assert second.stderr == f"Error: {output}: another run is writing to it; wait for it, or give another folder\n"
    assert run(data, output, f"--fileindex_start={CLIPS}").returncode == 0
    assert contents(made).keys() < contents(output).keys()


def fill_disk() -> None:
    # No file may grow beyond this: what is written stops half way, as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (50000, resource.RLIM_INFINITY))


def test_a_disk_that_fills_up_costs_nothing_that_was_done(data: Path, made: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert run(data, output, f"--total_hours={HOURS / 2}").returncode == 0
    before = contents(output)
    result = run(data, output, before=fill_disk)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Error: {output}: clip 5 could not be written") and "give the same command again" in line
    assert contents(output) == before
    assert run(data, output).returncode == 0
    assert contents(output) == contents(made)


def test_what_cannot_be_mixed_is_one_line(data: Path, tmp_path: Path) -> None:
    for path in make_marked_set(tmp_path / "set").glob("clean/*/*.wav"):
        write(path, tone(1.0, 300.0, 1.0))
    result = run(tmp_path / "set", tmp_path / "out")
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: clip 0: no usable clean audio in 500 draws: 12 clipped, such as clean/")


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ("", ["--audio_length=0"], "audio_length is 0"),
        ("", ["--total_hours=0"], "total_hours is 0: that is 0 clips"),
        ("", ["--total_hours=inf"], "total_hours is inf: that is inf clips"),
        ("", ["--snr=3"], "snr is 3"),
        ("no noise", [], "/noise: there is no audio in it; put the noise audio there"),
        ("no noise", ["--split=train"], "/noise: there is no audio in it"),
        ("no data", [], "no such folder or manifest"),
        ("a file", [], "not a CSV manifest"),
        ("", ["--total_hours=1e6"], "are free; make room"),
    ],
)
def test_wrong_input_is_one_line_and_writes_nothing(
    tmp_path: Path, change: str, options: list[str], message: str
) -> None:
    data = make_marked_set(tmp_path / "set")
    if change == "no noise":
        for path in (data / "noise").iterdir():
            path.unlink()
    elif change == "no data":
        data = tmp_path / "nowhere"
    elif change == "a file":
        data = data / "noise" / "hiss.wav"
    words = [str(data), str(tmp_path / "out"), "--total_hours=1", "--split=all", f"--decoded={tmp_path / 'decoded'}"]
    result = CliRunner().invoke(main, [*words, *options])
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ") and message in line
    assert not (tmp_path / "out").exists()


def test_speech_that_a_clip_repeats_is_told(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The tones of a speaker are 4.7 s together."""
    speech = read_recordings(data, "all", tmp_path).tracks.clean
    warn_of_repetition(speech, SynthesisSettings(audio_length=4.7))
    assert capsys.readouterr().err == ""
    warn_of_repetition(speech, SynthesisSettings(audio_length=4.8))
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(
        r"3 of 3 speakers, the first is \w+, have less speech than the 4.8 s of a clip, which repeats", line
    )


def test_a_split_has_its_own_speakers(data: Path, tmp_path: Path) -> None:
    groups = {
        split: set(read_recordings(data, split, tmp_path).tracks.clean.group_names)
        for split in ("train", "valid", "all")
    }
    assert groups["train"] | groups["valid"] == groups["all"] == set(SPEAKERS)
    assert not groups["train"] & groups["valid"]


def test_unreadable_files_are_named_once_and_the_rest_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = make_marked_set(tmp_path / "set")
    (data / "clean" / "anna" / "anna_0.wav").write_bytes(b"no audio")
    (data / "noise" / "empty.wav").touch()
    recordings = read_recordings(data, "all", tmp_path)
    assert (len(recordings.tracks.clean), len(recordings.tracks.noise)) == (11, 3)
    assert [message.split(" audio files left out")[0] for message in caplog.messages] == ["1 of 12", "1 of 4"]
    assert "anna_0.wav" in caplog.messages[0] and "empty.wav" in caplog.messages[1]


def test_hours_are_whole_clips() -> None:
    assert clip_ids(0.1, 30.0, 0) == range(12)
    assert clip_ids(100.0, 30.0, 6000) == range(6000, 18000)
    with pytest.raises(InputError, match="total_hours"):
        clip_ids(0.001, 30.0, 0)
