"""`dynsnet enhance` on folders: a bad file is said in a line and stops no other; nothing is done twice."""

from __future__ import annotations

import csv
import fcntl
import os
import pty
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from speechbrain_dynsnet.audio.files import Audio, read_audio, write_audio
from speechbrain_dynsnet.cli import main
from speechbrain_dynsnet.cli.enhance_progress import Progress
from speechbrain_dynsnet.cli.enhance_run import rank_and_ranks
from speechbrain_dynsnet.cli.worklist import Task
from speechbrain_dynsnet.cli.worklog import Row, Worklog
from speechbrain_dynsnet.errors import InputError

RATE = 16000
NOISE = np.random.default_rng(0).normal(0.0, 0.1, (2, 4000)).astype(np.float32).clip(-0.9, 0.9)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a tree of recordings."""
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    Path("in/deep").mkdir(parents=True)
    write_audio("in/a.wav", Audio(NOISE[:1], RATE))
    write_audio("in/deep/b.flac", Audio(NOISE, 44100, "FLAC", "PCM_24"))
    return tmp_path


def enhance(*arguments: str) -> Result:
    result = CliRunner().invoke(main, ["enhance", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def table(path: str = "out/enhanced.csv") -> dict[str, dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return {row["path"]: row for row in csv.DictReader(file)}


def results(folder: str = "out") -> dict[str, bytes]:
    found = (path for path in Path(folder).rglob("*.*") if path.is_file() and path.suffix in (".wav", ".flac"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_a_tree_with_a_table() -> None:
    result = enhance("in", "-o", "out", "--recursive")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "2 enhanced, 0 failed" in result.stdout and "x real time" in result.stdout
    after = read_audio("out/deep/b.flac")
    assert (after.rate, after.samples.shape, after.subtype) == (44100, NOISE.shape, "PCM_24")
    rows = table()
    assert list(rows) == ["a.wav", "deep/b.flac"]
    row = rows["deep/b.flac"]
    assert (float(row["seconds"]), row["channels"], row["rate"], row["failure"]) == (0.0907, "2", "44100", "")
    assert float(row["took_s"]) > 0


def test_several_jobs_give_the_same() -> None:
    assert enhance("in", "-o", "out", "--recursive").exit_code == 0
    assert enhance("in", "-o", "twice", "--recursive", "--jobs", "2").exit_code == 0
    assert results("twice") == results("out")


def _noise(name: str, **options: object) -> None:
    soundfile.write(os.fsencode(name), NOISE[0], RATE, **options)


def _cut(name: str) -> None:
    _noise(name)
    Path(name).write_bytes(Path(name).read_bytes()[:1500])


def _with(name: str, value: float) -> None:
    samples = NOISE[0].copy()
    samples[2000] = value
    soundfile.write(name, samples, RATE, subtype="FLOAT")


def _corrupt(name: str) -> None:
    _noise(name)
    content = bytearray(Path(name).read_bytes())
    content[4:40] = np.random.default_rng(0).bytes(36)
    Path(name).write_bytes(content)


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("zero.wav", lambda name: Path(name).touch(), "is empty (0 bytes)"),
        ("cut.flac", _cut, "not audio that can be read, or damaged"),
        ("cut.mp3", _cut, "is cut short or damaged"),
        ("corrupt.wav", _corrupt, "not audio that can be read, or damaged"),
        ("text.wav", lambda name: Path(name).write_text("no audio\n" * 99), "not audio that can be read"),
        ("nan.wav", lambda name: _with(name, np.nan), "NaN or infinite, the first at 0.125 s"),
        ("inf.wav", lambda name: _with(name, np.inf), "NaN or infinite, the first at 0.125 s"),
        ("header.wav", lambda name: soundfile.write(name, np.zeros(0), RATE), "holds no samples"),
        ("pipe.wav", os.mkfifo, "not a regular file"),
        ("device.wav", lambda name: os.symlink("/dev/zero", name), "not a regular file"),
        ("dangling.wav", lambda name: os.symlink("nowhere", name), "no such file"),
        ("loop.wav", lambda name: os.symlink("loop.wav", name), "no such file"),
    ],
)
def test_a_bad_file_is_a_line_and_the_others_are_written(name: str, make: Callable[[str], None], message: str) -> None:
    make(f"in/{name}")
    result = enhance("in", "-o", "out", "--recursive")
    assert result.exit_code == 1
    (line,) = (line for line in result.stderr.splitlines() if line.startswith("Error: "))
    assert line.startswith(f"Error: in/{name}: ") and message in line
    assert set(results()) == {"a.wav", "deep/b.flac"}
    row = table()[name]
    assert message in row["failure"] and row["seconds"] == ""


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("flac_named.wav", lambda name: _noise(name, format="FLAC")),
        ("one_sample.wav", lambda name: soundfile.write(name, NOISE[0, :1], RATE)),
        ("clipped.wav", lambda name: soundfile.write(name, (NOISE[0] * 99).clip(-1, 1), RATE)),
        ("offset.wav", lambda name: soundfile.write(name, NOISE[0] * 0.1 + 0.3, RATE)),
        ("silence.wav", lambda name: soundfile.write(name, np.zeros(4000), RATE)),
        ("channels.wav", lambda name: soundfile.write(name, np.tile(NOISE[:1].T, 32), RATE)),
        ("high.wav", lambda name: soundfile.write(name, NOISE[0], 384000)),
        ("low.wav", lambda name: soundfile.write(name, NOISE[0], 8000)),
        ("two  spaces.wav", _noise),
        ("quo'te\".wav", _noise),
        ("new\nline.wav", _noise),
        ("escape\x1b[31m.wav", _noise),
        ("-dash.wav", _noise),
        (os.fsdecode(b"bytes\xff\xfe.wav"), _noise),
    ],
)
def test_what_is_only_unusual_is_enhanced(name: str, make: Callable[[str], None]) -> None:
    make(f"in/{name}")
    result = enhance("in", "-o", "out", "--recursive")
    assert (result.exit_code, result.stderr) == (0, "")
    before, after = (read_audio(Path(folder, name)) for folder in ("in", "out"))
    assert (after.rate, after.samples.shape) == (before.rate, before.samples.shape)
    assert len(table()) == 3


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("two  spaces.wav", "two  spaces.wav"),
        ("new\nline.wav", r"new\nline.wav"),
        ("escape\x1b[31m.wav", r"escape\x1b[31m.wav"),
        (os.fsdecode(b"bytes\xff.wav"), r"bytes\xff.wav"),
        ("\u00fc.wav", "\u00fc.wav"),
    ],
)
def test_names_are_printed_safely(name: str, printed: str) -> None:
    Path("in", name).touch()
    result = enhance("in", "-o", "out")
    assert result.stderr == f"Error: in/{printed}: is empty (0 bytes); give a file with audio in it\n"
    assert any(row["failure"].startswith("is empty") for row in table().values())


def test_what_is_done_is_left_out_and_what_changed_is_done_again() -> None:
    Path("in/bad.wav").touch()
    assert enhance("in", "-o", "out", "--recursive").exit_code == 1
    first = {name: os.stat(f"out/{name}").st_mtime_ns for name in results()}
    _noise("in/bad.wav")  # mended
    write_audio("in/deep/b.flac", Audio(NOISE[:, ::2], RATE))  # another
    result = enhance("in", "-o", "out", "--recursive", "--resume")
    assert result.exit_code == 0 and "2 enhanced, 1 done before, 0 failed" in result.stdout
    assert os.stat("out/a.wav").st_mtime_ns == first["a.wav"]
    assert read_audio("out/deep/b.flac").rate == RATE
    assert len(table()) == 3 and not any(row["failure"] for row in table().values())
    assert "0 enhanced, 3 done before" in enhance("in", "-o", "out", "--recursive", "--resume").stdout


@pytest.mark.parametrize("options", [("--exit", "1"), ("--mix", "0.5"), ("--channels", "mono")])
def test_other_settings_are_other_results(options: tuple[str, ...]) -> None:
    enhance("in", "-o", "out")
    assert "1 enhanced, 0 failed" in enhance("in", "-o", "out", "--resume", *options).stdout


def test_the_deepest_exit_by_number_is_the_default() -> None:
    enhance("in", "-o", "out")
    assert "0 enhanced, 1 done before" in enhance("in", "-o", "out", "--resume", "--exit", "5").stdout


def test_without_resume_all_is_written_again() -> None:
    enhance("in", "-o", "out", "--recursive")
    Path("out/a.wav").write_text("spoilt")
    assert "2 enhanced, 0 failed" in enhance("in", "-o", "out", "--recursive").stdout
    assert read_audio("out/a.wav").samples.shape == (1, 4000)


def test_what_a_killed_run_left_goes_and_what_is_no_ones_stays() -> None:
    Path("out").mkdir()
    left, other = Path("out", f".{'0' * 32}.part"), Path("out/.mine.part")
    left.touch()
    other.touch()
    assert enhance("in", "-o", "out", "--resume").exit_code == 0
    assert not left.exists() and other.exists()


def test_in_place_a_tree_once() -> None:
    Path("in/bad.wav").touch()
    before = results("in")
    assert enhance("in", "--in_place", "--recursive").exit_code == 1
    after = results("in")
    assert {name for name in after if after[name] != before[name]} == {"a.wav", "deep/b.flac"}
    result = enhance("in", "--in_place", "--recursive", "--resume", "--table", "t.csv")
    assert result.exit_code == 1 and "0 enhanced, 2 done before, 1 failed" in result.stdout
    assert results("in") == after
    assert set(table("t.csv")) == {"a.wav", "bad.wav", "deep/b.flac"}


@pytest.mark.parametrize(("first", "then"), [("in/deep", "in"), ("in", "in/deep"), ("in/deep/b.flac", "in")])
def test_in_place_a_tree_once_wherever_it_was_begun(first: str, then: str) -> None:
    enhance(first, "--in_place", "--recursive", "--resume")
    once = Path("in/deep/b.flac").read_bytes()
    assert ", 1 done before, 0 failed" in enhance(then, "--in_place", "--recursive", "--resume", "--exit", "1").stdout
    assert Path("in/deep/b.flac").read_bytes() == once


def test_ranks_share_the_work_and_the_last_counts_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        shutil.copy("in/a.wav", f"in/{number}.wav")
    Path("in/bad.wav").touch()
    monkeypatch.setenv("WORLD_SIZE", "3")
    done: set[str] = set()
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        before = set(results())
        result = enhance("in", "-o", "out", "--recursive")
        missing = "rank 0, rank 2" if rank == "1" else "rank 2"
        assert result.exit_code == 0 and result.stdout.endswith(f"still missing: {missing}\n")
        assert not Path("out/enhanced.csv").exists()
        assert not before & (set(results()) - before)
        done |= set(results())
    monkeypatch.setenv("RANK", "2")
    times = {name: os.stat(f"out/{name}").st_mtime_ns for name in done}
    result = enhance("in", "-o", "out", "--recursive")
    assert result.exit_code == 1 and "7 enhanced, 1 failed" in result.stdout
    assert "in/bad.wav: is empty" in result.stderr
    assert all(os.stat(f"out/{name}").st_mtime_ns == time for name, time in times.items())
    assert len(table()) == 8


@pytest.mark.parametrize(
    "environment",
    [{"RANK": "0"}, {"WORLD_SIZE": "2"}, {"RANK": "2", "WORLD_SIZE": "2"}, {"RANK": "a", "WORLD_SIZE": "2"}],
)
def test_ranks_that_make_no_sense(environment: dict[str, str]) -> None:
    with pytest.raises(InputError, match="set both"):
        rank_and_ranks(environment)


def test_where_there_is_no_terminal_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    paths = [Path(f"{number}.bin").absolute() for number in range(4)]
    for path in paths:
        path.write_bytes(bytes(1000))
    facts = {"frames": RATE, "rate": RATE}
    row = Row(str(paths[0]), "a", None, None, "", facts=facts)
    with Progress([Task(path, path) for path in paths], every_s=0.0) as progress:
        progress.add(row)
        progress.add(Row(str(paths[1]), "b", None, None, "", failure="empty"))
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("1 of 4 files, ") and first.endswith(" left") and "x real time" in first
    assert second.startswith("2 of 4 files, 1 failed, ")


def test_the_time_left_knows_files_of_a_folder_beside_this_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [Path("..", Path.cwd().name, f"{number}.bin") for number in range(2)]
    for path in paths:
        path.write_bytes(bytes(1_000_000))
    tasks = [Task(path, path) for path in paths]
    with Progress(tasks, every_s=0.0) as progress:
        progress.add(Worklog(tmp_path).row(tasks[0], "", None, facts={"frames": RATE, "rate": RATE}))
    assert "about 00:00 left" in capsys.readouterr().err  # half is done, in less than a second


@pytest.mark.parametrize(("inputs", "end"), [(("in", "--recursive"), "2 of 2 files"), (("in/a.wav",), "0.25/0.25")])
def test_on_a_terminal_a_bar(inputs: tuple[str, ...], end: str) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))  # rows, columns
    command = [
        sys.executable,
        "-c",
        "from speechbrain_dynsnet.cli import main; main()",
        "enhance",
        *inputs,
        "-o",
        "out/",
    ]
    subprocess.run(command, stderr=theirs, stdout=subprocess.DEVNULL, check=True)
    os.close(theirs)
    said = os.read(ours, 65536).decode()
    os.close(ours)
    assert "100%|" in said and end in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["in/a.wav", "-o", "b.wav", "--table", "in/a.wav"], "ends in .csv"),
        (["in/a.wav", "-o", "b.wav", "--table", "notes.csv"], "is not a table of this command, and would be replaced"),
        (["in", "-o", "kept"], "enhanced.csv: is not a table of this command"),
        (["", "--in_place"], "a file name is empty"),
        (["in/a.wav", "-o", ""], "a file name is empty"),
        (["in/false.flac", "--in_place"], "in/false.flac: holds WAV, which its name does not say; rename it"),
        (["in/cut.wav", "-o", "b.wav"], "in/cut.wav: is cut short, 7,000 of 8,000 bytes of samples are there"),
    ],
)
def test_nothing_else_is_replaced_by_mistake(arguments: list[str], message: str) -> None:
    Path("kept").mkdir()
    for name in ("notes.csv", "kept/enhanced.csv"):
        Path(name).write_text("mine")
    shutil.copy("in/a.wav", "in/false.flac")
    Path("in/cut.wav").write_bytes(Path("in/a.wav").read_bytes()[:-1000])
    before = {path: path.read_bytes() for path in Path(".").rglob("*") if path.is_file()}
    result = enhance(*arguments)
    assert result.exit_code and message in result.stderr + result.stdout
    after = {path: path.read_bytes() for path in Path(".").rglob("*") if path.is_file() and ".dynsnet" not in str(path)}
    assert after == before


def test_a_table_and_a_page_inside_a_new_folder() -> None:
    result = enhance("in", "-o", "new/", "--recursive", "--table", "new/t.csv", "--report", "new/page.html")
    assert result.exit_code == 0, result.output
    assert {"t.csv", "page.html", "a.wav", "deep"} <= {path.name for path in Path("new").iterdir()}


def test_a_complete_run_with_other_settings_is_no_rank_of_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        result = enhance("in", "-o", "out", "--recursive")
    assert "2 enhanced" in result.stdout
    monkeypatch.setenv("RANK", "0")
    assert "still missing: rank 1" in enhance("in", "-o", "out", "--recursive", "--exit", "1").stdout
