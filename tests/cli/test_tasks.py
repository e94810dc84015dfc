"""Commands side by side: in order, so many at once, done ones left out, failures named, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from speechbrain_dynsnet.cli import tasks
from speechbrain_dynsnet.cli.tasks import Task, run_tasks
from speechbrain_dynsnet.data.folder_lock import hold
from speechbrain_dynsnet.errors import InputError

ROOT = Path(__file__).parents[2]
# Says in `story` when it begins and ends, and leaves a file of its name.
TELL = """
import sys, time
name, seconds = sys.argv[1:]
def tell(what):
    with open("story", "a") as story:
        story.write(f"{what}{name} ")
tell("+"); time.sleep(float(seconds)); tell("-"); open(name, "w").close()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tasks, "_POLL_S", 0.01)
    # As at a terminal: what is started in the background of a shell ignores Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield tmp_path
    signal.signal(signal.SIGINT, before)


def task(name: str, code: str = TELL, seconds: float = 0.0, needs: Sequence[str] = (), always: bool = False) -> Task:
    command = (sys.executable, "-S", "-c", code, name, str(seconds))
    return Task(name, command, Path(f"{name}.log"), Path(name), tuple(map(Path, needs)), always)


def story() -> list[str]:
    return Path("story").read_text().split() if Path("story").exists() else []


def begun() -> list[str]:
    return [word[1:] for word in story() if word[0] == "+"]


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_so_many_run_at_once_and_begin_in_their_order(jobs: int) -> None:
    notes = []
    assert run_tasks([task(name, seconds=0.3) for name in "abcde"], jobs, note=lambda: notes.append(1)) == {}
    level = most = 0
    for word in story():
        level += 1 if word[0] == "+" else -1
        most = max(most, level)
    assert most == jobs and len(notes) == 10
    assert sorted(begun()) == list("abcde") and (jobs > 1 or begun() == list("abcde"))


def test_what_is_done_is_left_out_and_what_is_old_is_not() -> None:
    all_of_them = [task("a"), task("b", needs="a"), task("c", always=True)]
    for expected in (["a", "b", "c"], ["c"]):
        Path("story").unlink(missing_ok=True)
        assert run_tasks(all_of_them, 1) == {} and begun() == expected
    os.utime("a", (time.time() + 9, time.time() + 9))
    Path("story").unlink()
    assert run_tasks(all_of_them, 1) == {} and begun() == ["b", "c"]


def test_a_task_waits_for_what_it_needs_and_others_pass_it() -> None:
    assert run_tasks([task("a", seconds=0.5), task("b", needs="a"), task("c")], 2) == {}
    assert story().index("-a") < story().index("+b") and story().index("+c") < story().index("-a")


def test_what_was_made_before_something_it_needs_is_made_again_once_that_is_there() -> None:
    Path("b").touch()
    assert run_tasks([task("b", needs=["a", "c"]), task("a"), task("c")], 1) == {}
    assert begun() == ["a", "c", "b"]


def test_failures_are_named_with_their_last_line_and_the_others_go_on() -> None:
    Path("bad.log").write_text("Error: of an earlier run\n")
    ends = "print('first'); raise SystemExit('Error: the disk\\tis full')"
    dies = "import os; os.kill(os.getpid(), 9)"
    lazy = "print('nothing to do')"
    broken = [task("bad", ends), task("dead", dies), task("lazy", lazy)]
    failures = run_tasks([*broken, task("b", needs=["bad"]), task("c")], 1)
    assert failures == {
        "bad": "the disk\\tis full (exit code 1)",
        "dead": "it said nothing (ended by signal 9)",
        "lazy": "nothing to do (exit code 0)",
        "b": "needs bad, which is not there",
    }
    assert begun() == ["c"]
    assert Path("bad.log").read_text().splitlines() == ["Error: of an earlier run", "first", "Error: the disk\tis full"]


def test_tasks_have_one_thread_and_no_input() -> None:
    code = "import os, sys; assert os.environ['OMP_NUM_THREADS'] == '1' and not sys.stdin.read(); open('a', 'w')"
    assert run_tasks([task("a", code)], 1) == {}


@pytest.mark.parametrize("deaf", [False, True])
def test_an_interruption_ends_all_that_runs(deaf: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_STOP_S", 0.2)
    sleep = "import os, signal, sys, time; "
    sleep += "signal.signal(signal.SIGTERM, signal.SIG_IGN); " if deaf else ""
    sleep += "open(sys.argv[1] + '.pid', 'w').write(str(os.getpid())); "
    interrupt = "while not os.path.exists('a.pid'): time.sleep(0.01)\n"
    interrupt += "os.kill(os.getppid(), signal.SIGINT); time.sleep(60)"
    with pytest.raises(KeyboardInterrupt):
        run_tasks([task("a", sleep + "time.sleep(60)"), task("b", sleep + "\n" + interrupt), task("c")], 2)
    for name in "ab":
        with pytest.raises(ProcessLookupError):
            os.kill(int(Path(f"{name}.pid").read_text()), 0)
    assert begun() == []


def test_what_outlives_a_killed_program_keeps_its_lock(folder: Path) -> None:
    code = f"""
from pathlib import Path
from speechbrain_dynsnet.cli.tasks import Task, run_tasks
from speechbrain_dynsnet.data.folder_lock import hold
sleep = "import os, time; open('pid_', 'w').write(str(os.getpid())); os.rename('pid_', 'pid'); time.sleep(60)"
with hold(Path(".")) as lock:
    run_tasks([Task("a", ({sys.executable!r}, "-c", sleep), Path("log"), Path("a"))], 1, [lock])
"""
    with subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)}) as program:
        deadline = time.monotonic() + 30
        while not Path("pid").exists():
            assert program.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        program.kill()
    with pytest.raises(InputError, match="another run is writing"), hold(folder):
        pass
    os.kill(int(Path("pid").read_text()), signal.SIGKILL)
    while True:
        try:
            with hold(folder):
                break
        except InputError:
            assert time.monotonic() < deadline
            time.sleep(0.01)
