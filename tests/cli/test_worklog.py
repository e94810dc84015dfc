"""The record of what is done: it holds against kills, and against anything that makes a result another one's."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from speechbrain_dynsnet.cli.worklist import Task
from speechbrain_dynsnet.cli.worklog import FOLDER, Row, Worklog, rows_of, version_of
from speechbrain_dynsnet.errors import InputError

FACTS = {"frames": 8000, "rate": 16000}


@pytest.fixture
def task(tmp_path: Path) -> Task:
    (tmp_path / "out").mkdir()
    (tmp_path / "in.wav").write_bytes(b"noisy")
    (tmp_path / "out" / "a.wav").write_bytes(b"clean")
    return Task(tmp_path / "in.wav", tmp_path / "out" / "a.wav")


def done(worklog: Worklog, task: Task, settings: str = "one") -> None:
    worklog.append(worklog.row(task, settings, version_of(task.source), 0.1, FACTS))


def test_a_result_is_found_again(task: Task) -> None:
    worklog = Worklog(task.target.parent)
    worklog.begin("key")
    assert worklog.finished("one").find(task) is None
    done(worklog, task)
    row = Worklog(task.target.parent).finished("one").find(task)
    assert row is not None and row.seconds == 0.5 and row.source == str(task.source)
    assert Worklog(task.target.parent, 2, 3).finished("one").find(task) == row  # by other ranks, too


def touched(path: Path) -> None:
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize(
    "change",
    [
        lambda task: touched(task.source),
        lambda task: touched(task.target),
        lambda task: task.source.write_bytes(b"another"),
        lambda task: task.target.write_bytes(b"another"),
        lambda task: task.target.unlink(),
        lambda task: task.source.unlink(),
    ],
)
def test_a_change_of_input_or_result_means_not_done(task: Task, change: Callable[[Task], None]) -> None:
    worklog = Worklog(task.target.parent)
    worklog.begin("key")
    done(worklog, task)
    change(task)
    assert worklog.finished("one").find(task) is None


def test_other_settings_or_another_input_mean_not_done(task: Task, tmp_path: Path) -> None:
    worklog = Worklog(task.target.parent)
    worklog.begin("key")
    done(worklog, task)
    assert worklog.finished("two").find(task) is None
    other = tmp_path / "other.wav"
    os.link(task.source, other)  # of the same size and time
    assert worklog.finished("one").find(Task(other, task.target)) is None


def test_a_failure_is_not_done(task: Task) -> None:
    worklog = Worklog(task.target.parent)
    worklog.begin("key")
    worklog.append(worklog.row(task, "one", version_of(task.source), failure="is empty"))
    assert worklog.finished("one").find(task) is None


def test_wherever_a_kill_cuts_the_last_line_the_others_count(task: Task, tmp_path: Path) -> None:
    worklog = Worklog(task.target.parent)
    worklog.begin("key")
    done(worklog, task)
    file = task.target.parent / FOLDER / "rank0of1.jsonl"
    whole = file.read_bytes()
    second = Task(task.source, tmp_path / "out" / "b.wav")
    second.target.write_bytes(b"clean")
    done(worklog, second)
    line = file.read_bytes()[len(whole) :]
    for length in range(len(line) - 1):
        file.write_bytes(whole + line[:length])
        finished = worklog.finished("one")
        assert finished.find(task) is not None and finished.find(second) is None
        worklog.begin("key")
        done(worklog, second)
        assert worklog.finished("one").find(second) is not None


@pytest.mark.parametrize("line", [b"\x00\xff\n", b"[1]\n", b"7\n", b"{}\n", b'{"source": 1}\n', b"\n"])
def test_what_is_no_row_is_passed_over(task: Task, line: bytes) -> None:
    worklog = Worklog(task.target.parent)
    worklog.begin("key")
    done(worklog, task)
    with (task.target.parent / FOLDER / "rank0of1.jsonl").open("ab") as file:
        file.write(line)
    assert [row.target for row in rows_of(worklog.folder)] == ["a.wav"]
    assert worklog.finished("one").find(task) is not None


def replace(path: Path, content: bytes) -> None:
    new = path.with_name(".new")
    new.write_bytes(content)
    os.replace(new, path)


def test_in_place_a_kill_just_after_the_replacement_counts_as_done(task: Task) -> None:
    here = Task(task.source, task.source)
    worklog = Worklog(task.source.parent)
    worklog.begin("key")
    worklog.announce(here, "one")
    assert worklog.finished("one").find(here) is None  # killed before: still noisy
    replace(here.target, b"clean")
    assert worklog.finished("one").find(here) is not None
    done(worklog, here)
    assert worklog.finished("one").find(here) is not None
    replace(here.target, b"another noisy one")
    assert worklog.finished("one").find(here) is None


def test_in_place_a_file_that_a_kill_spared_and_a_backup_brought_back_is_not_done(task: Task) -> None:
    here = Task(task.target, task.target)
    worklog = Worklog(task.target.parent)
    worklog.begin("key")
    worklog.announce(here, "one")
    backup = here.target.with_name("backup")
    shutil.copy2(here.target, backup)  # with its date
    os.replace(backup, here.target)
    assert worklog.finished("one").find(here) is None
    assert worklog.outcome(here, "one") is None


def test_in_place_a_file_that_failed_and_was_mended_is_not_done(task: Task) -> None:
    here = Task(task.source, task.source)
    worklog = Worklog(task.source.parent)
    worklog.begin("key")
    worklog.announce(here, "one")
    worklog.append(worklog.row(here, "one", version_of(here.source), failure="damaged"))
    replace(here.target, b"mended")
    assert worklog.finished("one").find(here) is None


def test_in_place_any_settings_count_as_done(task: Task) -> None:
    here = Task(task.target, task.target)
    here.target.write_bytes(b"enhanced")
    worklog = Worklog(task.target.parent)
    worklog.begin("one")
    worklog.append(worklog.row(here, "one", version_of(here.source), facts={"frames": 1, "rate": 1}))
    assert worklog.finished("another").find(here) is not None
    replace(here.target, b"a new recording")
    assert worklog.finished("another").find(here) is None


@pytest.mark.parametrize("first", ["", "deep", "deep/er"])
@pytest.mark.parametrize("then", ["", "deep", "deep/er", "deep/er/most"])
def test_in_place_the_folder_that_a_run_began_in_does_not_matter(tmp_path: Path, first: str, then: str) -> None:
    path = tmp_path / "deep/er/most/a.wav"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"noisy")
    here = Task(path, path)
    worklog = Worklog(tmp_path / first)
    worklog.begin("one")
    worklog.announce(here, "one")
    assert Worklog(tmp_path / then).finished("two").find(here) is None
    replace(path, b"clean")
    assert Worklog(tmp_path / then).finished("two").find(here) is not None
    done(worklog, here)
    assert Worklog(tmp_path / then).finished("two").find(here) is not None
    other = Task(path.with_name("b.wav"), path.with_name("b.wav"))
    shutil.copy2(path, other.target)
    assert Worklog(tmp_path / then).finished("two").find(other) is None
    replace(path, b"another noisy one")
    assert Worklog(tmp_path / then).finished("two").find(here) is None


def test_the_records_of_other_folders_are_not_asked_for_copies(task: Task, tmp_path: Path) -> None:
    """Only what is done in place cannot be done again: another folder of results is another folder of results."""
    done(begun(Worklog(tmp_path)), task)
    assert Worklog(tmp_path).finished("one").find(task) is not None
    assert Worklog(task.target.parent).finished("one").find(task) is None


@pytest.mark.parametrize("in_place", [False, True])
def test_the_outcome_of_a_file_is_that_of_this_run(task: Task, in_place: bool) -> None:
    here = Task(task.target, task.target) if in_place else task
    worklog = begun(Worklog(task.target.parent))
    assert worklog.outcome(here, "key") is None
    done(worklog, here, "key")
    assert worklog.outcome(here, "key") is not None
    begun(worklog)  # again: what was done before is to be done again, in place too
    assert worklog.outcome(here, "key") is None
    worklog.announce(here, "key")
    assert worklog.outcome(here, "key") is None
    replace(here.target, b"enhanced")
    assert (worklog.outcome(here, "key") is not None) == in_place
    worklog.append(worklog.row(here, "key", None, failure="damaged"))
    assert worklog.outcome(here, "key") == Row(str(here.source), here.target.name, None, None, "key", failure="damaged")


def begun(worklog: Worklog) -> Worklog:
    worklog.begin("key")
    return worklog


def test_ranks_that_have_not_ended_are_missing(task: Task) -> None:
    folder = task.target.parent
    ranks = [Worklog(folder, rank, 3) for rank in range(3)]
    ranks[0].begin("key")
    done(ranks[0], task)
    ranks[0].end(2.0)
    ranks[1].begin("key")
    rows, missing, longest_s = ranks[0].of_this_run("key")
    assert (list(rows), missing, longest_s) == (["a.wav"], [1, 2], 2.0)
    ranks[1].end(3.0)
    ranks[2].begin("key")
    ranks[2].end(1.0)
    assert ranks[1].of_this_run("key")[1:] == ([], 3.0)
    ranks[0].begin("key")  # what it did before is another run's
    assert ranks[1].of_this_run("key") == ({}, [0], 3.0)
    ranks[1].begin("other")
    assert ranks[1].of_this_run("other") == ({}, [0, 1, 2], 0.0)  # whole runs with other settings do not count


def test_a_full_disk_is_one_line(task: Task) -> None:
    worklog = Worklog(task.target.parent)
    worklog.begin("key")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30, limits[1]))
        with pytest.raises(InputError, match=r"rank0of1.jsonl: cannot be written"):
            done(worklog, task)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(rows_of(worklog.folder)) == []
