"""The bounds of a bench: within them is met, beyond is missed, and what was not measured is not told."""

from __future__ import annotations

import pytest

from speechbrain_dynsnet.evaluation.bounds import Bound, check_bounds, macs_bound_ms

SHARES = {0: 0.05, 1: 0.3, 5: 1.0}
PEERS = ("nsnet2", "rnnoise")


def make_rows(exits: tuple[int, ...] = (0, 1, 5), peers: bool = True) -> list[dict[str, str | int | float]]:
    """A model that meets all bounds, and just so."""
    rows = []
    for exit in exits:
        row: dict[str, str | int | float] = {
            "exit": exit,
            "runtime_frame_to_floor_cached": 1.5,
            "int8_frame_to_runtime": 0.6,
            "int8_real_time_factor_10s": 0.004 if exit == 5 else 0.002,
            "int8_stream_real_time_factor_10s": 0.004 if exit == 5 else 0.002,
            **{f"{peer}_real_time_factor_10s": 0.004 if peers else "" for peer in PEERS},
        }
        for engine, deepest_ms in (("runtime", 0.2), ("int8", 0.1)):
            row[f"{engine}_macs_bound_ms"] = row[f"{engine}_frame_median_ms"] = macs_bound_ms(SHARES[exit], deepest_ms)
            row[f"{engine}_transforms_ms"] = 0.04
        rows.append(row)
    return rows


def missed(rows: list[dict[str, str | int | float]]) -> list[Bound]:
    return [bound for bound in check_bounds(rows) if not bound.is_met]


def test_time_by_macs_is_the_share_of_the_deepest_and_a_margin() -> None:
    assert macs_bound_ms(0.25, 0.4) == pytest.approx(0.12)
    assert macs_bound_ms(0.0, 0.4) == pytest.approx(0.02)


def test_at_the_limit_all_are_met() -> None:
    assert missed(make_rows()) == []


@pytest.mark.parametrize(
    ("row", "column", "told"),
    [
        (-1, "runtime_frame_to_floor_cached", "fp32 over the floor"),
        (-1, "int8_frame_to_runtime", "int8 over fp32, exit 5"),
        (0, "runtime_frame_median_ms", "fp32 frame (ms) by its MACs, exit 0"),
        (1, "int8_frame_median_ms", "int8 frame (ms) by its MACs, exit 1"),
        (0, "runtime_transforms_ms", "all but the network (ms a frame), fp32"),
        (2, "int8_transforms_ms", "all but the network (ms a frame), int8"),
        (2, "int8_real_time_factor_10s", "int8, clips whole, over"),
        (2, "int8_stream_real_time_factor_10s", "int8, clips streamed, over"),
        (1, "int8_real_time_factor_10s", "exit 1"),
    ],
)
def test_beyond_the_limit_only_that_one_is_missed(row: int, column: str, told: str) -> None:
    rows = make_rows()
    rows[row][column] = 1.01 * float(rows[row][column])
    bounds = missed(rows)
    assert bounds and all(told in bound.name and str(bound).endswith("missed") for bound in bounds)
    assert len(bounds) == (len(PEERS) if "real_time" in column else 1)


@pytest.mark.parametrize(("row", "column"), [(0, "runtime_frame_to_floor_cached"), (0, "int8_frame_to_runtime")])
def test_ratios_are_bounded_at_the_deepest_exit_alone(row: int, column: str) -> None:
    rows = make_rows()
    rows[row][column] = 9.0
    assert missed(rows) == []


def test_without_peers_or_exit_1_there_are_no_bounds_on_them() -> None:
    names = [bound.name for bound in check_bounds(make_rows((0, 5), peers=False))]
    assert names and not any("NSNet2" in name or "RNNoise" in name for name in names)
    assert not any("exit 1" in bound.name for bound in check_bounds(make_rows((0, 5))))


def test_a_bound_says_what_was_measured() -> None:
    assert str(Bound("int8 over fp32", 0.581, 0.6)) == "int8 over fp32: at most 0.6, measured 0.581: met"
