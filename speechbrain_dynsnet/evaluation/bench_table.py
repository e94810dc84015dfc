"""The rows of a bench as Markdown, narrow enough to read: tables of a row an exit, peers, and the bounds."""

from __future__ import annotations

from collections.abc import Sequence

from speechbrain_dynsnet.evaluation.bench import FILES_S, MEGABYTE, STATISTICS, Row
from speechbrain_dynsnet.evaluation.bench_tasks import FLOORS, PEERS, STREAMS
from speechbrain_dynsnet.evaluation.bounds import check_bounds
from speechbrain_dynsnet.evaluation.engines import ENGINES, PRECISIONS

_COSTS = """\
What an exit costs: the weights alone, and torch's FLOP counter finds the same. A second of audio is 63 frames, as in
the paper (the hop alone makes 62.5, 0.8 % less):"""
_FRAMES = """\
What a frame takes, in ms: median / mean / p99. The runtime runs float32 weights, and int8 is the same in int8. The
floor is a matrix-vector product over as many float32 weights, in the cache and not (medians):"""
_RATIOS = """\
Medians over the floor (in the cache / not), which is how far an engine is above what this machine could do with
float32; int8 over the runtime; and a frame beside its bound, the deepest exit's time by its share of the MACs and
0.02 ms:"""
_STREAMS = """\
What 256 samples of a stream take, in ms: median / mean / p99; and what of it is not the network (medians):"""
_FILES = """\
What a whole file takes, in seconds of computing for each second of audio, for files of {lengths} s; an engine gets it
at once, and a stream in chunks of 256 samples:"""
_PEERS = """\
The same files by others, from and to 16 kHz; rnnoise_48khz is without the resampling to its rate and back ({peers}):"""
_MEMORY = """\
Peak memory of the process in MB, running frames / a file of {longest} s:"""
_BOUNDS = """\
Bounds on this run:"""


def to_markdown(rows: Sequence[Row]) -> str:
    """What an exit costs, what frames, streams, files and others take, and the bounds.

    Arguments
    ---------
    rows : sequence of dict
        What `speechbrain_dynsnet.evaluation.bench.bench` returns.

    Returns
    -------
    str
        Markdown: tables, and a list of the bounds.
    """
    lengths = " / ".join(map(str, FILES_S))
    tables = [
        (_COSTS, [_costs(row) for row in rows]),
        (_FRAMES, [_frames(row) for row in rows]),
        (_RATIOS, [_ratios(row) for row in rows]),
        (_STREAMS, [_streams(row) for row in rows]),
        (_FILES.format(lengths=lengths), [_files(row) for row in rows]),
    ]
    if rows[0]["peers"]:
        tables.append((_PEERS.format(peers=rows[0]["peers"]), [_peers(rows[0])]))
    tables.append((_MEMORY.format(longest=max(FILES_S)), [_memory(row) for row in rows]))
    parts = [f"{text}\n\n{_table(cells)}" for text, cells in tables]
    return "\n\n".join([*parts, f"{_BOUNDS}\n\n" + "\n".join(f"- {bound}" for bound in check_bounds(rows))])


def _costs(row: Row) -> dict[str, str]:
    return {
        "exit": str(row["exit"]),
        "parameters": f"{row['parameters']:,}",
        "weights read a frame (MB)": _format(row, "weight_bytes_per_frame", ".2f", 1 / MEGABYTE),
        "MACs (M/s)": _format(row, "macs_per_second", ".1f", 1e-6),
        "FLOPs (M/s)": _format(row, "flops_per_second", ".1f", 1e-6),
        "MACs of the deepest": _percent(row, "macs_share_of_deepest"),
        "MACs of the baseline": _percent(row, "macs_share_of_baseline"),
    }


def _frames(row: Row) -> dict[str, str]:
    cells = {"exit": str(row["exit"])}
    for engine in ENGINES:
        cells[engine] = _statistics(row, engine)
    cells["floor: cached / not"] = " / ".join(_format(row, f"{floor}_frame_median_ms", ".3f") for floor in FLOORS)
    return cells


def _ratios(row: Row) -> dict[str, str]:
    cells = {"exit": str(row["exit"])}
    for engine in ENGINES:
        ratios = (_format(row, f"{engine}_frame_to_{floor}", ".2f") for floor in FLOORS)
        cells[f"{engine} over the floor"] = " / ".join(ratios)
    cells["int8 over runtime"] = _format(row, "int8_frame_to_runtime", ".2f")
    for engine in PRECISIONS:
        time, bound = (_format(row, f"{engine}_{of}", ".3f") for of in ("frame_median_ms", "macs_bound_ms"))
        cells[f"{engine}, of its bound (ms)"] = f"{time} of {bound}"
    return cells


def _streams(row: Row) -> dict[str, str]:
    cells = {"exit": str(row["exit"])}
    for engine, stream in STREAMS.items():
        cells[engine] = _statistics(row, stream)
    for engine in STREAMS:
        cells[f"{engine}, not the network"] = _format(row, f"{engine}_transforms_ms", ".3f")
    return cells


def _files(row: Row) -> dict[str, str]:
    tasks = (*ENGINES, *STREAMS.values())
    return {"exit": str(row["exit"]), **{task.replace("_", " "): _factors(row, task) for task in tasks}}


def _peers(row: Row) -> dict[str, str]:
    cells = {task: _factors(row, task) for task in PEERS if row[f"{task}_real_time_factor_{min(FILES_S)}s"] != ""}
    return {"": "seconds a second", **cells}


def _memory(row: Row) -> dict[str, str]:
    cells = {"exit": str(row["exit"])}
    for engine in ENGINES:
        peaks = (_format(row, f"{engine}_peak_memory_{what}_mb", ".0f") for what in ("frames", "file"))
        cells[engine] = " / ".join(peaks)
    return cells


def _statistics(row: Row, task: str) -> str:
    return " / ".join(_format(row, f"{task}_frame_{one}_ms", ".3f") for one in STATISTICS)


def _factors(row: Row, task: str) -> str:
    return " / ".join(_format(row, f"{task}_real_time_factor_{seconds}s", ".4f") for seconds in FILES_S)


def _format(row: Row, column: str, form: str, scale: float = 1.0) -> str:
    value = row[column]
    return "" if value == "" else format(float(value) * scale, form)


def _percent(row: Row, column: str) -> str:
    return _format(row, column, ".1f", 100.0) + " %"


def _table(rows: Sequence[dict[str, str]]) -> str:
    lines = [f"| {' | '.join(rows[0])} |", "|" + "---|" * len(rows[0])]
    return "\n".join(lines + [f"| {' | '.join(row.values())} |" for row in rows])
