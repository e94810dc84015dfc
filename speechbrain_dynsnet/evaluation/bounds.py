"""What the runtime is meant to reach, as ratios within one run of `dynsnet bench`, and whether it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from speechbrain_dynsnet.evaluation.bench_tasks import STREAMS
from speechbrain_dynsnet.evaluation.engines import INT8, PRECISIONS

LARGEST_TO_FLOOR = 1.5  # float32 at the deepest exit, over a matrix-vector product with its weights in the cache
LARGEST_INT8_TO_FP32 = 0.6  # at the deepest exit
MACS_MARGIN_MS = 0.02  # for what a call costs whatever it computes
LARGEST_TRANSFORMS_MS = 0.04  # a frame: STFT, overlap-add and bookkeeping
_SHARES_OF_PEERS = {None: 1.0, 1: 0.5}  # at the deepest exit, and at exit 1
_PEERS = {"nsnet2": "NSNet2 (whole)", "rnnoise": "RNNoise (frame by frame)"}  # as they take clips
_CLIP_S = 10

_Row = Mapping[str, str | int | float]


@dataclass(frozen=True)
class Bound:
    """A figure, and what it may be at most.

    Arguments
    ---------
    name : str
        What is bounded.
    measured, limit : float
        In one unit.
    """

    name: str
    measured: float
    limit: float

    @property
    def is_met(self) -> bool:
        """Whether it is within the limit."""
        return self.measured <= self.limit

    def __str__(self) -> str:
        verdict = "met" if self.is_met else "missed"
        return f"{self.name}: at most {self.limit:.4g}, measured {self.measured:.4g}: {verdict}"


def macs_bound_ms(share: float, deepest_ms: float) -> float:
    """The time that an exit may take if time follows the multiply-accumulates.

    Arguments
    ---------
    share : float
        Of the deepest exit's multiply-accumulates.
    deepest_ms : float
        What the deepest exit takes.

    Returns
    -------
    float
        In ms.
    """
    return share * deepest_ms + MACS_MARGIN_MS


def check_bounds(rows: Sequence[_Row]) -> list[Bound]:
    """The bounds of a model.

    Arguments
    ---------
    rows : sequence of dict
        What `speechbrain_dynsnet.evaluation.bench.bench` returns. Of peers that were not measured there are no bounds.

    Returns
    -------
    list of Bound
        What was measured beside what it may be.
    """
    return list(_bounds(rows))


def _bounds(rows: Sequence[_Row]) -> Iterator[Bound]:
    deepest = rows[-1]
    to_floor, to_fp32 = float(deepest["runtime_frame_to_floor_cached"]), float(deepest["int8_frame_to_runtime"])
    yield Bound(f"fp32 over the floor in the cache, exit {deepest['exit']}", to_floor, LARGEST_TO_FLOOR)
    yield Bound(f"int8 over fp32, exit {deepest['exit']}", to_fp32, LARGEST_INT8_TO_FP32)
    for engine, precision in PRECISIONS.items():
        for row in rows[:-1]:
            time_ms, bound_ms = (float(row[f"{engine}_{of}"]) for of in ("frame_median_ms", "macs_bound_ms"))
            yield Bound(f"{precision} frame (ms) by its MACs, exit {row['exit']}", time_ms, bound_ms)
    for engine, precision in PRECISIONS.items():
        transforms_ms = max(float(row[f"{engine}_transforms_ms"]) for row in rows)
        yield Bound(f"all but the network (ms a frame), {precision}, at worst", transforms_ms, LARGEST_TRANSFORMS_MS)
    for peer in _PEERS:
        if deepest[_factor(peer)] != "":
            yield from _bounds_of_peer(rows, peer)


def _bounds_of_peer(rows: Sequence[_Row], peer: str) -> Iterator[Bound]:
    by_exit = {row["exit"]: row for row in rows} | {None: rows[-1]}
    for exit, share in _SHARES_OF_PEERS.items():
        if exit in by_exit:
            row = by_exit[exit]
            for task, what in ((INT8, "whole"), (STREAMS[INT8], "streamed")):
                ratio = float(row[_factor(task)]) / float(row[_factor(peer)])
                yield Bound(f"int8, clips {what}, over {_PEERS[peer]}, exit {row['exit']}", ratio, share)


def _factor(task: str) -> str:
    return f"{task}_real_time_factor_{_CLIP_S}s"
