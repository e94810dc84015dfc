"""The rows of a bench as Markdown, narrow enough to read: three tables of a row an exit."""

from __future__ import annotations

from collections.abc import Sequence

from speechbrain_dynsnet.evaluation.bench import ENGINES, FILES_S, FLOORS, MEGABYTE, STATISTICS, Row

_COSTS = """\
What an exit costs: the weights alone, and torch's FLOP counter finds the same. A second of audio is 63 frames, as in
the paper (the hop alone makes 62.5, 0.8 % less):"""
_FRAMES = """\
What a frame takes, in ms: median / mean / p99. The floor is a matrix-vector product over as many weights, in the cache
and not (medians); the median of an engine over it is how far that engine is above what this machine could do:"""
_FILES = """\
What a whole file takes, in seconds of computing for each second of audio, and peak memory of the process in MB:"""


def to_markdown(rows: Sequence[Row]) -> str:
    """What an exit costs, what a frame takes, and what a file takes.

    Arguments
    ---------
    rows : sequence of dict
        What `speechbrain_dynsnet.evaluation.bench.bench` returns.
    """
    tables = ((_COSTS, _costs), (_FRAMES, _frames), (_FILES, _files))
    return "\n\n".join(f"{text}\n\n{_table([cells(row) for row in rows])}" for text, cells in tables)


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
        cells[engine] = " / ".join(_format(row, f"{engine}_frame_{one}_ms", ".3f") for one in STATISTICS)
    cells["floor: cached / not"] = " / ".join(_format(row, f"{floor}_frame_median_ms", ".3f") for floor in FLOORS)
    for engine in ENGINES:
        cells[f"{engine} over it"] = " / ".join(_format(row, f"{engine}_frame_to_{floor}", ".2f") for floor in FLOORS)
    return cells


def _files(row: Row) -> dict[str, str]:
    cells = {"exit": str(row["exit"])}
    for engine in ENGINES:
        for seconds in FILES_S:
            cells[f"{engine}, {seconds} s"] = _format(row, f"{engine}_real_time_factor_{seconds}s", ".4f")
    for engine in ENGINES:
        cells[f"{engine}, MB: frames"] = _format(row, f"{engine}_peak_memory_frames_mb", ".0f")
        cells[f"{engine}, MB: {max(FILES_S)} s"] = _format(row, f"{engine}_peak_memory_file_mb", ".0f")
    return cells


def _format(row: Row, column: str, form: str, scale: float = 1.0) -> str:
    value = row[column]
    return "" if value == "" else format(float(value) * scale, form)


def _percent(row: Row, column: str) -> str:
    return _format(row, column, ".1f", 100.0) + " %"


def _table(rows: Sequence[dict[str, str]]) -> str:
    lines = [f"| {' | '.join(rows[0])} |", "|" + "---|" * len(rows[0])]
    return "\n".join(lines + [f"| {' | '.join(row.values())} |" for row in rows])
