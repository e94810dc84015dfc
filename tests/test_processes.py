"""A worker ends with the program that it works for, even when that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

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
