"""Points of cost and quality hold the architecture's operations, and measured times where they belong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.evaluation.bench import COLUMNS as BENCH_COLUMNS
from speechbrain_dynsnet.evaluation.complexity import exit_costs
from speechbrain_dynsnet.evaluation.configurations import PAPER_CONFIGURATIONS, read_runs
from speechbrain_dynsnet.evaluation.costs import TIME, CostPoint, cost_points, draw_costs, read_times
from speechbrain_dynsnet.model.architecture import Architecture
from speechbrain_dynsnet.model.network import DynamicNsNet2
from tests.measured import SHARES, write_results

COSTS = {cost.exit: cost for cost in exit_costs(DynamicNsNet2(Architecture("concat", (0, 1, 3, 5))))}


@pytest.fixture
def exact_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    for exit, cost in COSTS.items():
        monkeypatch.setitem(SHARES, f"exit_{exit}", cost.share_of_baseline)


def test_points_are_the_exits_and_a_baseline_from_elsewhere(tmp_path: Path, exact_shares: None) -> None:
    systems = {
        "noisy": [1.0, 1.0],
        "exit_0": [1.0, 2.0],
        "exit_5": [2.0, 4.0],
        "rnnoise": [3.0, 3.0],
        "baseline": [4.0, 4.0],
    }
    theirs = {"baseline": {"model": "nsnet2.npz"}}
    points = cost_points(read_runs([write_results(tmp_path, systems, identities=theirs)]))
    pesq = [point for point in points if point.metric == "pesq_wb"]
    assert len(points) == 2 * len(pesq)
    names = ["concat, joint, 2 exits"] * 2 + ["baseline (concat_joint_4)"]
    assert [(point.series, point.exit, point.mean) for point in pesq] == list(
        zip(names, (0, 5, 5), (1.5, 3.0, 4.0), strict=True)
    )
    expected = [COSTS[0].macs_per_second, COSTS[5].macs_per_second, 2_777_000 * 63]
    np.testing.assert_allclose([point.macs_per_second for point in pesq], expected, rtol=1e-4)
    assert all(point.low <= point.mean <= point.high and point.ms_per_frame is None for point in points)


def write_bench(path: Path, exits: dict[int, float]) -> Path:
    lines = [f"exit,macs_per_second,torch_frame_median_ms,{TIME}"]
    lines += [f"{exit},{COSTS[exit].macs_per_second},9,{ms}" for exit, ms in exits.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_times_go_to_the_exit_with_the_same_operations(tmp_path: Path, exact_shares: None) -> None:
    assert {"exit", "macs_per_second", TIME} <= set(BENCH_COLUMNS)
    times = read_times(write_bench(tmp_path / "bench.csv", {0: 0.01, 1: 0.05, 5: 0.125}))
    folder = write_results(tmp_path / "known", {"exit_1": [1.0, 2.0], "exit_5": [2.0, 4.0]})
    assert {point.exit: point.ms_per_frame for point in cost_points(read_runs([folder]), times)} == {1: 0.05, 5: 0.125}
    # The same exit of a model of another family costs something else.
    assert all(
        point.ms_per_frame is None
        for point in cost_points(
            read_runs([write_results(tmp_path / "split", {"exit_3": [1.0, 2.0]}, "split_joint_4")]), times
        )
    )


@pytest.mark.parametrize("with_times", [False, True])
def test_a_panel_a_metric_and_a_column_more_for_times(with_times: bool) -> None:
    points = [
        CostPoint(
            series,
            exit,
            metric,
            1.0 + exit,
            0.9 + exit,
            1.2 + exit,
            1e6 * (exit + 1),
            0.1 * (exit + 1) if with_times else None,
        )
        for series in ("concat", "split")
        for metric in ("pesq_wb", "p808_mos")
        for exit in (3, 0, 1)
    ]
    figure = draw_costs(points, {"pesq_wb": 1.5, "p808_mos": 2.5})
    panels = figure.axes
    assert len(panels) == (4 if with_times else 2)
    for place, axes in enumerate(panels):
        drawn = [one for one in axes.containers if isinstance(one, ErrorbarContainer)]
        assert [one.get_label() for one in drawn] == ["concat", "split"]
        x, y = (np.asarray(values, float) for values in drawn[0].lines[0].get_data())
        of_time = with_times and place % 2 == 1
        np.testing.assert_allclose(x, [0.1, 0.2, 0.4] if of_time else [1.0, 2.0, 4.0])
        np.testing.assert_allclose(y, [1.0, 2.0, 4.0])
        assert [text.get_text() for text in axes.texts] == ["0", "1", "3"] * 2
    assert panels[0].get_ylabel() == "PESQ-WB" and "MACs a second" in panels[-2 if with_times else -1].get_xlabel()
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    assert not any(legend.overlaps(axes.get_window_extent()) for axes in panels)


def test_many_models_differ_in_their_lines_and_have_no_details() -> None:
    points = [
        CostPoint(f"model {index}", exit, "pesq_wb", 1.0 + exit, 0.9, 3.2, 1e6 * (exit + 1))
        for index in range(14)
        for exit in (0, 1)
    ]
    (axes,) = draw_costs(points).axes
    drawn = [one for one in axes.containers if isinstance(one, ErrorbarContainer)]
    looks = {(one.lines[0].get_color(), one.lines[0].get_marker(), one.lines[0].get_linestyle()) for one in drawn}
    assert len(looks) == len(drawn) == 14
    assert not axes.texts and not any(one.has_yerr for one in drawn)


def test_the_papers_models_are_told_apart_by_what_tells_them_apart() -> None:
    points = [
        CostPoint(str(one), exit, "pesq_wb", 1.0 + exit, 0.9, 3.2, 1e6 * (exit + 1), configuration=one)
        for one in PAPER_CONFIGURATIONS
        for exit in one.exits
    ]
    (axes,) = draw_costs(points).axes
    lines = {one.get_label(): one.lines[0] for one in axes.containers if isinstance(one, ErrorbarContainer)}
    looks = {}
    for one in PAPER_CONFIGURATIONS:
        line = lines[str(one)]
        looks[one] = (line.get_color(), line.get_marker(), line.get_linestyle(), line.get_markerfacecolor() == "white")
    assert len(set(looks.values())) == len(PAPER_CONFIGURATIONS)
    for one, (colour, marker, dashes, is_hollow) in looks.items():
        assert {(colour, marker)} == {look[:2] for other, look in looks.items() if other.family == one.family}
        assert (dashes == "--") == (one.scheme == "layerwise") and is_hollow == (len(one.exits) == 6)


def test_no_points_are_an_error() -> None:
    with pytest.raises(InputError, match="no exit with a known cost"):
        draw_costs([])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs a row"),
        ("exit,macs_per_second\n0,1\n", f"needs a row and exit, macs_per_second, {TIME}"),
        (f"exit,macs_per_second,{TIME}\n0,many,1\n", "a row has no number"),
        (f"exit,macs_per_second,{TIME}\n,1,1\n", "a row has no number"),
    ],
)
def test_what_is_no_bench_is_an_error(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "bench.csv").write_text(text)
    with pytest.raises(InputError, match=rf"bench.csv: {message}"):
        read_times(tmp_path / "bench.csv")
