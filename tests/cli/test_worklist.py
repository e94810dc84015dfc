"""Which files are meant and what they become: nothing is lost, met twice, or replaced."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from speechbrain_dynsnet.cli.worklist import Task, plan, share
from speechbrain_dynsnet.errors import InputError


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def pairs(tasks: list[Task]) -> dict[str, str]:
    return {str(task.source): str(task.target) for task in tasks}


def test_a_tree_is_kept() -> None:
    touch("in/a.wav", "in/x/b.flac", "in/x/y/a.wav", "in/notes.txt", "in/.hidden.wav", "in/.cache/c.wav")
    assert pairs(plan(["in"], "out")) == {"in/a.wav": "out/a.wav"}
    assert pairs(plan(["in"], "out", recursive=True)) == {
        "in/a.wav": "out/a.wav",
        "in/x/b.flac": "out/x/b.flac",
        "in/x/y/a.wav": "out/x/y/a.wav",
    }


def test_files_and_folders_together() -> None:
    touch("a.wav", "in/b.wav", "c.voc")
    assert pairs(plan(["a.wav", "in", "c.voc", "./a.wav"], "out")) == {
        "a.wav": "out/a.wav",
        "in/b.wav": "out/b.wav",
        "c.voc": "out/c.wav",
    }


@pytest.mark.parametrize("output", ["in/out", "in/x/../out", "link"])
def test_results_within_the_input_are_no_input(output: str) -> None:
    touch("in/a.wav", "in/out/a.wav", "in/out/deep/b.wav", "in/x/c.wav")
    os.symlink("in/out", "link")
    assert {str(task.source) for task in plan(["in"], output, recursive=True)} == {"in/a.wav", "in/x/c.wav"}


@pytest.mark.parametrize("output", ["in", "in/", "link"])
def test_a_folder_is_not_its_own_output(output: str) -> None:
    touch("in/a.wav")
    os.symlink("in", "link")
    with pytest.raises(InputError, match="is an input"):
        plan(["in"], output)


def test_loops_of_links_end_and_each_folder_is_met_once() -> None:
    touch("in/z/a.wav", "other/b.wav")
    os.symlink("..", "in/z/up")
    os.symlink("z", "in/a_link")  # sorted before the folder that it leads to
    os.symlink("../other", "in/other")
    os.symlink("loop.wav", "in/loop.wav")
    assert pairs(plan(["in"], "out", recursive=True)) == {
        "in/loop.wav": "out/loop.wav",  # to enhance it fails, which is said then
        "in/other/b.wav": "out/other/b.wav",
        "in/z/a.wav": "out/z/a.wav",
    }


def test_a_folder_that_may_not_be_read_is_not_passed_over_and_the_others_are_met(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    touch("in/a/a.wav", "in/closed/b.wav", "in/d/d.wav")
    scandir = os.scandir

    def guarded(path: Path) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    sources = [str(task.source) for task in plan(["in"], "out", recursive=True)]
    assert sources == ["in/a/a.wav", "in/closed", "in/d/d.wav"]
    with pytest.raises(PermissionError):
        plan(["in/closed"], "out")


def test_what_is_no_regular_file_is_not_passed_over() -> None:
    touch("in/a.wav")
    os.mkfifo("in/pipe.wav")
    os.symlink("nowhere", "in/dangling.wav")
    Path("in/folder.wav").mkdir()
    assert [task.source.name for task in plan(["in"], "out")] == ["a.wav", "dangling.wav", "pipe.wav"]


@pytest.mark.parametrize("inputs", [["a/x.wav", "b/x.wav"], ["a", "b"], ["a/x.wav", "b"], ["c/y.voc", "c/y.wav"]])
def test_two_that_would_become_one_are_refused(inputs: list[str]) -> None:
    touch("a/x.wav", "b/x.wav", "c/y.voc", "c/y.wav")
    with pytest.raises(InputError, match=r"and .* would both become out/[xy].wav"):
        plan(inputs, "out", recursive=True)


def test_a_result_never_is_an_input() -> None:
    touch("in/x/a.wav", "in/a.wav")
    with pytest.raises(InputError, match=r"in/a.wav: is an input"):
        plan(["in/x", "in/a.wav"], "in/")


def test_in_place_each_real_file_once_and_links_stay() -> None:
    touch("in/a.wav", "in/x/b.wav")
    os.symlink("a.wav", "in/link.wav")
    tasks = plan(["in", "in/link.wav"], None, recursive=True)
    assert [task.target for task in tasks] == [Path("in/a.wav").resolve(), Path("in/x/b.wav").resolve()]
    assert all(task.in_place for task in tasks)


def test_an_empty_folder_is_named_with_what_may_help() -> None:
    touch("in/x/a.wav")
    with pytest.raises(InputError, match=r"in: no audio files .* --recursive"):
        plan(["in"], "out")
    with pytest.raises(InputError, match="nothing: no audio files"):
        Path("nothing").mkdir()
        plan(["nothing"], "out", recursive=True)


def test_names_of_any_bytes_are_sorted() -> None:
    names = [b"in/a b.wav", b"in/\xff.wav", "in/\u00fc.wav".encode(), b"in/new\nline.wav", b"in/'q\".wav"]
    touch(*map(os.fsdecode, names))
    assert [os.fsencode(task.source) for task in plan(["in"], "out")] == sorted(names)


@pytest.mark.parametrize("ranks", [1, 2, 3, 7, 20])
def test_shares_are_everything_once(ranks: int) -> None:
    tasks = [Task(Path(f"{number}.wav"), Path(f"out/{number}.wav")) for number in range(11)]
    shares = [share(tasks, rank, ranks) for rank in range(ranks)]
    assert sorted(sum(shares, []), key=tasks.index) == tasks
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
