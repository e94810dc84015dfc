"""DNSMOS of the beginnings of many recordings and of their results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.audio.enhancement import FileFacts
from speechbrain_dynsnet.audio.resample import resample
from speechbrain_dynsnet.errors import InputError, one_line
from speechbrain_dynsnet.evaluation.excerpts import Signal, read_excerpts
from speechbrain_dynsnet.evaluation.metrics import METRICS, MetricFailure, dnsmos_scores
from speechbrain_dynsnet.processes import map_unordered

SCALES = tuple(METRICS[name] for name in ("p808_mos", "sig_mos", "bak_mos", "ovrl_mos"))
"""What the four scores are called, in their order."""


@dataclass(frozen=True)
class Scored:
    """Scores of an excerpt on each of `SCALES`; None, and a word of why, for what has none."""

    before: tuple[float, ...] | None
    after: tuple[float, ...] | None
    failure: str = ""


def score_excerpts(pairs: Sequence[tuple[Path, Path, FileFacts]], jobs: int = 1) -> list[Scored]:
    """Score recordings (noisy, enhanced, what is known of them), in so many processes."""
    items = list(enumerate(pairs))
    done: Iterator[tuple[int, Scored]]
    done = map_unordered(_score, items, jobs) if jobs > 1 and len(items) > 1 else map(_score, items)
    scores = dict(tqdm(done, total=len(items), desc="DNSMOS", unit="file", disable=None))
    return [scores[number] for number in range(len(items))]


def _score(item: tuple[int, tuple[Path, Path, FileFacts]]) -> tuple[int, Scored]:
    number, (noisy, enhanced, facts) = item
    try:
        excerpts = read_excerpts(noisy, enhanced, facts)
    except InputError as error:
        return number, Scored(None, None, one_line(error))
    (before, why_before), (after, why_after) = map(_dnsmos, resample(excerpts.loudest, excerpts.rate, SAMPLE_RATE))
    return number, Scored(before, after, why_before or why_after)


def _dnsmos(signal: Signal) -> tuple[tuple[float, ...] | None, str]:
    try:
        return dnsmos_scores(signal), ""
    except MetricFailure as failure:
        return None, str(failure)
