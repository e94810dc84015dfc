"""Means with intervals that hold what they say, comparisons on common clips, and shares of the right baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import scipy.stats

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.evaluation.evaluate import Row
from speechbrain_dynsnet.evaluation.metrics import METRICS
from speechbrain_dynsnet.evaluation.summary import COLUMNS, interval, summarise, to_markdown

Values = Sequence[float | None]


def make_rows(systems: Mapping[str, Values]) -> list[Row]:
    """Rows of an evaluation in which every metric of a clip has the same value; None is a failure."""
    clips = len(next(iter(systems.values())))
    return [
        {
            "clip": f"fileid_{clip}",
            "system": system,
            "model": "" if system == "noisy" else "model",
            "exit": system.removeprefix("exit_") if system.startswith("exit_") else "",
            **{metric: "" if values[clip] is None else str(values[clip]) for metric in METRICS},
            "failures": "" if values[clip] is not None else "; ".join(f"{metric}: silent" for metric in METRICS),
        }
        for clip in range(clips)
        for system, values in systems.items()
    ]


def of(summary: list[Row], system: str, metric: str = "pesq_wb") -> Row:
    (row,) = (row for row in summary if (row["system"], row["metric"]) == (system, metric))
    return row


def test_the_interval_is_that_of_scipy() -> None:
    values = np.random.default_rng(1).gamma(2.0, size=60)
    mean, low, high = interval(values)
    theirs = scipy.stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20000).confidence_interval
    assert mean == pytest.approx(values.mean())
    np.testing.assert_allclose([low, high], theirs, atol=0.02)


def test_the_interval_holds_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(200):
        _, low, high = interval(rng.standard_normal(40))
        assert low is not None and high is not None
        held += low <= 0.0 <= high
    assert 0.90 <= held / 200 <= 0.98


def test_the_same_values_give_the_same_interval_in_any_order_of_rows() -> None:
    rows = make_rows({"noisy": [1.0, 2.0, 4.0], "exit_0": [1.5, 2.0, 5.0]})
    assert summarise(rows) == summarise(
        [row for system in ("noisy", "exit_0") for row in reversed(rows) if row["system"] == system]
    )


@pytest.mark.parametrize(("values", "expected"), [([], (None, None, None)), ([2.5], (2.5, None, None))])
def test_too_few_clips_have_no_interval(values: list[float], expected: tuple[float | None, ...]) -> None:
    assert interval(np.array(values)) == expected


def test_exits_are_compared_with_the_exit_before_and_the_rest_with_the_input() -> None:
    rows = make_rows({name: [1.0, 2.0] for name in ("noisy", "exit_0", "exit_3", "rnnoise", "exit_5", "theirs")})
    compared = {row["system"]: row["compared_with"] for row in summarise(rows)}
    assert compared == {
        "noisy": "",
        "exit_0": "noisy",
        "exit_3": "exit_0",
        "rnnoise": "noisy",
        "exit_5": "exit_3",
        "theirs": "noisy",
    }
    alone = summarise(make_rows({"theirs": [1.0, 2.0]}))
    assert {row["compared_with"] for row in alone} == {""}


def test_a_pairing_finds_what_two_means_do_not() -> None:
    """A constant gain of 0.1 on clips that differ by far more: the difference is certain, the means overlap."""
    before = np.random.default_rng(3).uniform(1.0, 4.0, 50)
    row = of(summarise(make_rows({"exit_0": before.tolist(), "exit_1": (before + 0.1).tolist()})), "exit_1")
    assert row["compared_with"] == "exit_0"
    assert [float(row[f"difference{end}"]) for end in ("", "_low", "_high")] == pytest.approx([0.1] * 3, abs=1e-5)
    assert float(row["high"]) - float(row["low"]) > 0.3


def test_failures_are_counted_and_leave_the_comparison_to_common_clips() -> None:
    systems: dict[str, Values] = {"exit_0": [1.0, None, 3.0, 5.0], "exit_1": [2.0, 9.0, None, 7.0]}
    summary = summarise(make_rows(systems), macs_shares={"exit_0": 0.024})
    first, second = of(summary, "exit_0"), of(summary, "exit_1")
    assert (first["clips"], first["failures"], float(first["mean"])) == ("3", "1", 3.0)
    assert (second["clips"], second["failures"], float(second["mean"])) == ("3", "1", 6.0)
    assert (second["common_clips"], float(second["difference"])) == ("2", 1.5)
    assert (float(first["macs_share"]), second["macs_share"]) == (0.024, "")
    text = to_markdown(summary)
    assert "exit_0, PESQ-WB: 3 of 4 clips have a score" in text and "nan" not in text.lower()


def test_a_system_without_any_score_is_empty_and_not_zero() -> None:
    summary = summarise(make_rows({"noisy": [1.0, 2.0], "theirs": [None, None]}))
    row = of(summary, "theirs")
    assert (row["clips"], row["failures"], row["common_clips"]) == ("0", "2", "0")
    assert not any(row[name] for name in ("mean", "low", "high", "difference", "share_of_baseline"))
    assert "theirs, STOI: 0 of 2 clips" in to_markdown(summary)


def test_shares_are_of_the_baselines_mean_on_common_clips() -> None:
    rows = make_rows({"noisy": [1.0, 1.0, 1.0], "exit_0": [2.0, 3.0, None], "baseline": [4.0, None, 8.0]})
    summary = summarise(rows, rows)
    assert float(of(summary, "exit_0")["share_of_baseline"]) == 0.5
    assert float(of(summary, "baseline")["share_of_baseline"]) == 1.0
    assert {of(summary, system, "si_sdr_db")["share_of_baseline"] for system in ("noisy", "exit_0")} == {""}
    assert "50.0%" in to_markdown(summary)


def test_the_baseline_may_be_of_another_run() -> None:
    rows = make_rows({"noisy": [1.0, 1.0], "exit_0": [2.0, 2.0]})
    other = make_rows({"noisy": [1.0, 1.0], "exit_5": [4.0, 4.0]})
    assert float(of(summarise(rows, other), "exit_0")["share_of_baseline"]) == 0.5


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"noisy": [1.0, 1.0]}, "hold no system"),
        ({"exit_0": [1.0, 1.0], "exit_1": [1.0, 1.0]}, "hold exit_0, exit_1: give those of one"),
        ({"noisy": [1.0, 1.2], "exit_5": [4.0, 4.0]}, "of another test set"),
        ({"exit_5": [None, None]}, "no clip in common"),
    ],
)
def test_a_baseline_that_is_none_is_an_error(other: Mapping[str, Values], message: str) -> None:
    with pytest.raises(InputError, match=message):
        summarise(make_rows({"noisy": [1.0, 1.0], "exit_0": [2.0, 2.0]}), make_rows(other))


def test_the_summary_is_tidy() -> None:
    summary = summarise(make_rows({"noisy": [1.0, 2.0], "exit_0": [1.0, 3.0]}))
    assert [(row["system"], row["metric"]) for row in summary] == [
        (system, metric) for system in ("noisy", "exit_0") for metric in METRICS
    ]
    assert all(tuple(row) == COLUMNS for row in summary)
