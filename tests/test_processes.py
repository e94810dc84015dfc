"""Work in processes: nothing is lost or done twice when one is killed, and none outlives the program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.processes import map_unordered, map_until_killed
from tests.working import sign

PROGRAM = """
import time
import torch
from torch.utils.data import DataLoader, TensorDataset
from speechbrain_dynsnet.processes import end_with_parent
if __name__ == "__main__":
    data = TensorDataset(torch.arange(9.0))
    loader = iter(DataLoader(data, num_workers=1, multiprocessing_context="forkserver", worker_init_fn=end_with_parent))
    next(loader)
    print(loader._workers[0].pid, flush=True)
    time.sleep(60)
"""


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_killed_program_leaves_no_worker(tmp_path: os.PathLike[str]) -> None:
    script = os.path.join(tmp_path, "program.py")
    with open(script, "w", encoding="utf-8") as file:
        file.write(PROGRAM)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as program:
        assert program.stdout is not None
        worker = int(program.stdout.readline())
        assert is_running(worker)
        program.send_signal(signal.SIGKILL)
    until = time.monotonic() + 20
    while is_running(worker):
        assert time.monotonic() < until, "the worker lives on"
        time.sleep(0.05)


IMPORTING = """
import sys
from concurrent.futures import ProcessPoolExecutor
from speechbrain_dynsnet.processes import clean_start
from tests.working import has
if __name__ == "__main__":
    import turtledemo  # no other has it
    with ProcessPoolExecutor(2, mp_context=clean_start(sys.argv[1] or None)) as pool:
        print(*pool.map(has, ["turtledemo", sys.argv[1]]))
"""


@pytest.mark.parametrize(("module", "expected"), [("", "False False"), ("this", "False True")])
def test_processes_start_clean_but_for_what_they_are_to_import(module: str, expected: str, tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(IMPORTING)
    command = [sys.executable, script, module]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": "."})
    assert done.stdout.splitlines()[-1] == expected


@pytest.mark.parametrize("ahead", [1, 2])
@pytest.mark.parametrize("place", [0, 3, 11])
def test_when_a_process_is_killed_every_item_is_done_or_was_under_way_or_is_left(place: int, ahead: int) -> None:
    items = list(range(1, 13))
    items[place] *= -1
    left, killed = deque(items), list[int]()

    def all_of_it() -> Iterator[int]:
        killed.extend((yield from map_until_killed(sign, left, 2, ahead)))

    results = list(all_of_it())
    assert -(place + 1) in killed and len(killed) <= 2 * ahead
    assert sorted([*results, *killed, *left]) == sorted(items)


def test_without_a_kill_all_items_are_done_once() -> None:
    assert sorted(map_unordered(sign, iter(range(1, 40)), 2)) == list(range(1, 40))
    assert list(map_unordered(sign, [], 2)) == []


def test_who_does_not_go_on_gets_one_line() -> None:
    with pytest.raises(InputError, match="a process was killed, .* fewer --jobs"):
        list(map_unordered(sign, [1, -2, 3], 2))


def test_what_the_work_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        list(map_unordered(sign, [1, 0, 3], 2))
