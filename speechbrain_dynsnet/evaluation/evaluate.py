"""Every clip through every system, scored: a row each, whatever the number of processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import soundfile
from threadpoolctl import threadpool_limits

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.audio.resample import resampled_length
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.evaluation.metrics import METRICS, Scores, score
from speechbrain_dynsnet.evaluation.systems import EstimateFailure, Estimator, Output, Pair, System, read_mono
from speechbrain_dynsnet.processes import map_unordered

Row = dict[str, str]
COLUMNS = ("clip", "system", "model", "exit", *METRICS, "failures")  # then the facts of the pairs


def evaluate(pairs: Sequence[Pair], systems: Sequence[System], jobs: int = 1) -> Iterator[list[Row]]:
    """Score the estimates of all systems, clip by clip.

    Arguments
    ---------
    pairs : sequence of Pair
        The clips.
    systems : sequence of System
        What is measured.
    jobs : int
        Processes, each on one core. Any number gives the same rows; 1 works in this one.

    Yields
    ------
    list of dict
        The rows of one clip, one for each output of each system, with `COLUMNS` and the pair's facts; clips come as
        they are finished. A metric without a score is empty, and named in `failures`: `metric: reason; metric: ...`.

    Raises
    ------
    InputError
        When a clean or noisy file cannot be read, clean and estimate differ in length, or a process was killed.
    """
    check_lengths(pairs)
    rows = _Scorer(tuple(systems)).rows
    yield from map(rows, pairs) if jobs == 1 else map_unordered(rows, pairs, min(jobs, len(pairs)) or 1)


def check_lengths(pairs: Iterable[Pair]) -> None:
    """InputError when the files of a clip differ in length, by their headers."""
    for pair in pairs:
        expected = _length(pair.clean)
        for path in (pair.noisy, pair.enhanced):
            found = None if path is None else _length(path)
            # What cannot be opened is told of when it is read.
            if None not in (expected, found) and found != expected:
                raise InputError(
                    f"{path}: has {found} samples at {SAMPLE_RATE} Hz, but its clean file {pair.clean.name} has "
                    f"{expected}; cut them to one length (or check that they belong together)"
                )


def _length(path: Path) -> int | None:
    try:
        info = soundfile.info(str(path))
    except (soundfile.LibsndfileError, TypeError):  # TypeError: a .raw file
        return None
    return resampled_length(info.frames, info.samplerate, SAMPLE_RATE)


@dataclass(frozen=True)
class _Scorer:
    """What is asked of a clip."""

    systems: tuple[System, ...]

    @cached_property
    def _opened(self) -> list[tuple[tuple[Output, ...], Estimator]]:
        return [(system.outputs, system.open()) for system in self.systems]

    def rows(self, pair: Pair) -> list[Row]:
        """One for each output of each system, on one core."""
        clean = read_mono(pair.clean)
        rows = []
        for outputs, estimate in self._opened:
            with threadpool_limits(1):
                try:
                    scores = [score(clean, signal) for signal in estimate(pair)]
                except EstimateFailure as failure:
                    scores = [Scores({}, dict.fromkeys(METRICS, str(failure)))] * len(outputs)
            rows += [_row(pair, output, one) for output, one in zip(outputs, scores, strict=True)]
        return rows


def _row(pair: Pair, output: Output, scores: Scores) -> Row:
    return {
        "clip": pair.clip,
        "system": output.system,
        "model": output.model,
        "exit": "" if output.exit is None else str(output.exit),
        **{name: f"{scores.values[name]:.6f}" if name in scores.values else "" for name in METRICS},
        "failures": "; ".join(f"{name}: {reason.replace(';', ',')}" for name, reason in scores.failures.items()),
        **pair.facts,
    }
