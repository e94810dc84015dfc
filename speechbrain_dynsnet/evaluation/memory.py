"""Peak memory of running a model, each in a process of its own: in a shared one the largest would hide the others.

The process is `python -m speechbrain_dynsnet.evaluation.memory`, which prints what it needed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from speechbrain_dynsnet.audio.constants import BINS, SAMPLE_RATE
from speechbrain_dynsnet.evaluation.engines import Engine

_FRAMES = 100
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class PeakMemory:
    """Resident bytes of the whole process, interpreter and libraries included, at their highest.

    Arguments
    ---------
    frames : int
        Running frame by frame.
    file : int
        Enhancing a whole file, after the frames.
    """

    frames: int
    file: int


def peak_memory(engine: Engine, file_s: float) -> PeakMemory | None:
    """Measure a model in a fresh process on one core.

    Arguments
    ---------
    engine : Engine
        What to run.
    file_s : float
        Length of the file, in seconds.

    Returns
    -------
    PeakMemory or None
        None on a system that does not tell (Linux and macOS do).

    Raises
    ------
    subprocess.CalledProcessError
        When the process fails; it has said why on stderr.
    """
    words = (engine.name, engine.frames_path, engine.files_path, engine.exit, file_s)
    command = [sys.executable, "-m", __spec__.name, *map(str, words)]
    child = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True, check=True
    )
    measured = json.loads(child.stdout)
    return None if measured is None else PeakMemory(**measured)


def _measure(engine: Engine, file_s: float) -> PeakMemory | None:
    rng = np.random.default_rng(0)
    run_frame = engine.open_frames()
    for _ in range(_FRAMES):
        run_frame(rng.standard_normal(BINS, dtype=np.float32))
    after_frames = _peak_bytes()
    del run_frame
    engine.open_files()(0.1 * rng.standard_normal((1, round(file_s * SAMPLE_RATE)), dtype=np.float32))
    after_file = _peak_bytes()
    return None if after_frames is None or after_file is None else PeakMemory(after_frames, after_file)


def _peak_bytes() -> int | None:
    # Not from getrusage where it can be helped: on Linux a process starts with the peak of the one that started it.
    if _STATUS.is_file():
        (line,) = (line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes there
    return None


def _main() -> None:
    name, frames_path, files_path, exit, file_s = sys.argv[1:]
    measured = _measure(Engine(name, Path(frames_path), Path(files_path), int(exit)), float(file_s))
    print(json.dumps(None if measured is None else asdict(measured)))


if __name__ == "__main__":
    _main()
