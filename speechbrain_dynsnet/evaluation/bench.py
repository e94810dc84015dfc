"""What each exit of a model costs, and what it takes on this machine.

These are the columns of Table 1 of arXiv 2308.16678, and the figures behind its Figure 4.
"""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from itertools import cycle
from pathlib import Path

import numpy as np

from speechbrain_dynsnet.audio.constants import BINS, SAMPLE_RATE
from speechbrain_dynsnet.audio.stft import log_power, stft
from speechbrain_dynsnet.evaluation.complexity import ExitCost, check_flops, exit_costs
from speechbrain_dynsnet.evaluation.engines import RUNTIME, TORCH, Array, Engine, RunFrame
from speechbrain_dynsnet.evaluation.floor import GemvFloor
from speechbrain_dynsnet.evaluation.memory import peak_memory
from speechbrain_dynsnet.evaluation.timing import Timing, one_core, time_interleaved
from speechbrain_dynsnet.model.importing import load_network
from speechbrain_dynsnet.runtime.export import export_onnx

ENGINES = (TORCH, RUNTIME)
FLOORS = ("floor_cached", "floor_uncached")
FILES_S = (10, 60)
STATISTICS = ("median", "mean", "p99")
VERSIONS = ("torch", "onnxruntime", "numpy")
THREADS = 1
MEGABYTE = 1e6
_FILE_CALLS = 3

COLUMNS = (
    "model",
    "family",
    "exit",
    "parameters",
    "parameters_in_all",
    "weight_bytes_in_all",
    "weight_bytes_per_frame",
    "macs_per_frame",
    "macs_per_second",
    "flops_per_second",
    "macs_share_of_deepest",
    "macs_share_of_baseline",
    "frames_timed",
    *(f"{task}_frame_{statistic}_ms" for task in (*ENGINES, *FLOORS) for statistic in STATISTICS),
    *(f"{engine}_frame_to_{floor}" for engine in ENGINES for floor in FLOORS),
    *(f"{engine}_real_time_factor_{seconds}s" for engine in ENGINES for seconds in FILES_S),
    *(f"{engine}_peak_memory_{what}_mb" for engine in ENGINES for what in ("frames", "file")),
    "cpu",
    "threads",
    *(f"{name}_version" for name in VERSIONS),
)

Row = dict[str, str | int | float]
_Task = tuple[str, int]  # an engine or floor, and an exit


def bench(path: str | Path, name: str, frames: int, report: Callable[[str], None] = lambda step: None) -> list[Row]:
    """Count and time every exit of a model, on one core.

    A second of audio is the paper's 63 frames. A frame is timed from its features to its mask, states carried on; the
    transforms are not in it, and they are in the real-time factor of whole files: seconds of computing for each second
    of audio. Medians are compared with a matrix-vector product over as many weights; see
    `speechbrain_dynsnet.evaluation.floor`. Peak memory is the whole process's, while it runs frames and the longer
    file.

    Arguments
    ---------
    path : str or Path
        A bundle, or public nsNet2 weights (.npz).
    name : str
        What the model is called in the rows.
    frames : int
        How many are timed, of each exit and engine.
    report : callable
        Told of each step as it begins.

    Returns
    -------
    list of dict
        One an exit, shallow to deep, with `COLUMNS`; the peak memory is empty where the system does not tell it.

    Raises
    ------
    InputError
        When there is no such model.
    RuntimeError
        When torch counts other FLOPs than the architecture has.
    """
    path = Path(path)
    network = load_network(path)
    check_flops(network)
    costs = exit_costs(network)
    rows: dict[int, Row] = {cost.exit: _machine() | _cost(cost) for cost in costs}
    with tempfile.TemporaryDirectory() as folder:
        engines = [
            engine
            for cost in costs
            for engine in (
                Engine(TORCH, path, cost.exit),
                Engine(RUNTIME, export_onnx(network, Path(folder) / f"{cost.exit}.onnx", cost.exit), cost.exit),
            )
        ]
        report(f"timing {frames} frames")
        with one_core():
            _add_frames(rows, _time_frames(engines, costs, frames))
            for seconds in FILES_S:
                report(f"timing a file of {seconds} s")
                for (task, exit), timing in _time_files(engines, seconds).items():
                    rows[exit][f"{task}_real_time_factor_{seconds}s"] = timing.median_s / seconds
        report("measuring memory")
        for engine in engines:
            peak = peak_memory(engine, max(FILES_S))
            rows[engine.exit] |= {
                f"{engine.name}_peak_memory_frames_mb": "" if peak is None else peak.frames / MEGABYTE,
                f"{engine.name}_peak_memory_file_mb": "" if peak is None else peak.file / MEGABYTE,
            }
    return [
        row | {"model": name, "family": network.architecture.family, "frames_timed": frames} for row in rows.values()
    ]


def cpu_name() -> str:
    """As the maker calls it, or at least its kind."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:  # not Linux
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _machine() -> Row:
    return {"cpu": cpu_name(), "threads": THREADS, **{f"{name}_version": version(name) for name in VERSIONS}}


def _cost(cost: ExitCost) -> Row:
    return {
        "exit": cost.exit,
        "parameters": cost.parameters,
        "parameters_in_all": cost.parameters_in_all,
        "weight_bytes_in_all": 4 * cost.parameters_in_all,
        "weight_bytes_per_frame": cost.weight_bytes,
        "macs_per_frame": cost.macs_per_frame,
        "macs_per_second": cost.macs_per_second,
        "flops_per_second": cost.flops_per_second,
        "macs_share_of_deepest": cost.share_of_deepest,
        "macs_share_of_baseline": cost.share_of_baseline,
    }


def _time_frames(engines: Sequence[Engine], costs: Sequence[ExitCost], frames: int) -> dict[_Task, Timing]:
    floor = GemvFloor(max(cost.weight_bytes for cost in costs))
    tasks: dict[_Task, Callable[[], object]] = {}
    for engine in engines:
        tasks[engine.name, engine.exit] = _next_frame(engine.open_frames())
    for cost in costs:
        tasks[FLOORS[0], cost.exit] = floor.cached(cost.weight_bytes)
        tasks[FLOORS[1], cost.exit] = floor.uncached(cost.weight_bytes)
    return time_interleaved(tasks, frames)


def _next_frame(run: RunFrame) -> Callable[[], object]:
    features = log_power(stft(_noise(1)))
    turns = cycle([np.ascontiguousarray(frame).reshape(1, 1, BINS) for frame in features[0]])
    return lambda: run(next(turns))


def _time_files(engines: Sequence[Engine], seconds: int) -> dict[_Task, Timing]:
    noisy = _noise(seconds)

    def task(engine: Engine) -> Callable[[], object]:
        run = engine.open_files()
        return lambda: run(noisy)

    tasks = {(engine.name, engine.exit): task(engine) for engine in engines}
    return time_interleaved(tasks, _FILE_CALLS, block=1, warm_up=1)


def _noise(seconds: int) -> Array:
    rng = np.random.default_rng(0)
    return 0.1 * rng.standard_normal((1, seconds * SAMPLE_RATE), dtype=np.float32)


def _add_frames(rows: Mapping[int, Row], timings: Mapping[_Task, Timing]) -> None:
    for (task, exit), timing in timings.items():
        values = (timing.median_s, timing.mean_s, timing.p99_s)
        for statistic, seconds in zip(STATISTICS, values, strict=True):
            rows[exit][f"{task}_frame_{statistic}_ms"] = 1000.0 * seconds
    for exit, row in rows.items():
        for engine in ENGINES:
            for floor in FLOORS:
                row[f"{engine}_frame_to_{floor}"] = timings[engine, exit].median_s / timings[floor, exit].median_s
