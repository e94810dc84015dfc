"""What each exit of a model costs, and what it takes on this machine.

These are the columns of Table 1 of arXiv 2308.16678, and the figures behind its Figure 4.
"""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from speechbrain_dynsnet.evaluation.bench_tasks import FLOORS, PEERS, STREAMS, Task, file_tasks, frame_tasks
from speechbrain_dynsnet.evaluation.bounds import macs_bound_ms
from speechbrain_dynsnet.evaluation.complexity import ExitCost, check_flops, exit_costs
from speechbrain_dynsnet.evaluation.engines import ENGINES, INT8, PRECISIONS, RUNTIME, TORCH, Engine
from speechbrain_dynsnet.evaluation.memory import peak_memory
from speechbrain_dynsnet.evaluation.peers import peer_version
from speechbrain_dynsnet.evaluation.timing import Timing, one_core, time_interleaved
from speechbrain_dynsnet.model.importing import load_network
from speechbrain_dynsnet.model.network import DynamicNsNet2
from speechbrain_dynsnet.runtime.export import export_onnx
from speechbrain_dynsnet.runtime.format import ANY

FILES_S = {10: 9, 60: 3}  # the length of files in seconds, and how many calls of each are timed
STATISTICS = ("median", "mean", "p99")
VERSIONS = ("torch", "onnxruntime", "numpy")
THREADS = 1
MEGABYTE = 1e6

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
    *(f"{task}_frame_{statistic}_ms" for task in (*ENGINES, *STREAMS.values(), *FLOORS) for statistic in STATISTICS),
    *(f"{engine}_frame_to_{floor}" for engine in ENGINES for floor in FLOORS),
    f"{INT8}_frame_to_{RUNTIME}",
    *(f"{engine}_macs_bound_ms" for engine in PRECISIONS),
    *(f"{engine}_transforms_ms" for engine in PRECISIONS),
    *(f"{task}_real_time_factor_{seconds}s" for task in (*ENGINES, *STREAMS.values(), *PEERS) for seconds in FILES_S),
    *(f"{engine}_peak_memory_{what}_mb" for engine in ENGINES for what in ("frames", "file")),
    "peers",
    "cpu",
    "threads",
    *(f"{name}_version" for name in VERSIONS),
)

Row = dict[str, str | int | float]


def bench(
    path: str | Path,
    name: str,
    frames: int,
    peers: Sequence[str] = (),
    report: Callable[[str], None] = lambda step: None,
) -> list[Row]:
    """Count and time every exit of a model, on one core.

    A second of audio is the paper's 63 frames. A frame is timed from its features to its mask, states carried on, in
    torch and in the runtime with float32 and int8 weights: one file each, which holds all exits. The transforms are not
    in it; they are in a frame of a stream, from 256 samples to 256 samples, and `transforms` is the difference of the
    two medians. Real-time factors are seconds of computing for each second of audio, of whole clips: by an engine at
    once, by its stream in chunks of 256 samples, and by peers, each from and to samples at 16 kHz. Medians are compared
    with a matrix-vector product over as many weights in float32; see `speechbrain_dynsnet.evaluation.floor`. Peak
    memory is the whole process's, while it runs frames and the longer file.

    Arguments
    ---------
    path : str or Path
        A bundle, or public nsNet2 weights (.npz).
    name : str
        What the model is called in the rows.
    frames : int
        How many are timed, of each exit and engine.
    peers : sequence of str
        Of `speechbrain_dynsnet.evaluation.peers`.
    report : callable
        Told of each step as it begins.

    Returns
    -------
    list of dict
        One an exit, shallow to deep, with `COLUMNS`; the peak memory is empty where the system does not tell it, and so
        are peers that were not asked for. What is no exit's (peers, machine) is in every row.

    Raises
    ------
    InputError
        When there is no such model or peer.
    RuntimeError
        When torch counts other FLOPs than the architecture has.
    """
    path = Path(path)
    versions = [peer_version(peer) for peer in peers]
    network = load_network(path)
    check_flops(network)
    costs = exit_costs(network)
    rows: dict[int, Row] = {cost.exit: _machine() | _cost(cost) for cost in costs}
    with tempfile.TemporaryDirectory() as folder:
        report("exporting")
        engines = _engines(path, network, Path(folder))
        with one_core():
            report(f"timing {frames} frames")
            _add_frames(rows, time_interleaved(frame_tasks(engines, costs), frames))
            for seconds, calls in FILES_S.items():
                report(f"timing files of {seconds} s")
                tasks = file_tasks(engines, peers, seconds)
                _add_files(rows, time_interleaved(tasks, calls, block=1, warm_up=1), seconds)
        report("measuring memory")
        for engine in engines:
            peak = peak_memory(engine, max(FILES_S))
            rows[engine.exit] |= {
                f"{engine.name}_peak_memory_frames_mb": "" if peak is None else peak.frames / MEGABYTE,
                f"{engine.name}_peak_memory_file_mb": "" if peak is None else peak.file / MEGABYTE,
            }
    told: Row = {
        "model": name,
        "family": network.architecture.family,
        "frames_timed": frames,
        "peers": ", ".join(versions),
    }
    return [dict.fromkeys(COLUMNS, "") | row | told for row in rows.values()]


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


def _engines(path: Path, network: DynamicNsNet2, folder: Path) -> list[Engine]:
    """All at all exits, shallow to deep."""
    files = {TORCH: (path, path)}
    for engine, precision in PRECISIONS.items():
        files[engine] = (
            export_onnx(network, folder / f"{engine}_frames.onnx", precision=precision),
            export_onnx(network, folder / f"{engine}_files.onnx", precision=precision, frames=ANY),
        )
    return [Engine(name, *files[name], exit) for exit in network.exits for name in ENGINES]


def _add_frames(rows: Mapping[int, Row], timings: Mapping[Task, Timing]) -> None:
    for (task, exit), timing in timings.items():
        assert exit is not None, "frames are of an exit"
        values = (timing.median_s, timing.mean_s, timing.p99_s)
        for statistic, seconds in zip(STATISTICS, values, strict=True):
            rows[exit][f"{task}_frame_{statistic}_ms"] = 1000.0 * seconds
    deepest = max(rows)
    for exit, row in rows.items():

        def median_s(task: str, exit: int = exit) -> float:
            return timings[task, exit].median_s

        for engine in ENGINES:
            for floor in FLOORS:
                row[f"{engine}_frame_to_{floor}"] = median_s(engine) / median_s(floor)
        row[f"{INT8}_frame_to_{RUNTIME}"] = median_s(INT8) / median_s(RUNTIME)
        for engine, stream in STREAMS.items():
            share, deepest_ms = float(row["macs_share_of_deepest"]), 1000.0 * median_s(engine, deepest)
            row[f"{engine}_macs_bound_ms"] = macs_bound_ms(share, deepest_ms)
            row[f"{engine}_transforms_ms"] = 1000.0 * (median_s(stream) - median_s(engine))


def _add_files(rows: Mapping[int, Row], timings: Mapping[Task, Timing], seconds: int) -> None:
    for (task, exit), timing in timings.items():
        for row in rows.values() if exit is None else [rows[exit]]:
            row[f"{task}_real_time_factor_{seconds}s"] = timing.median_s / seconds
