"""Figures show the numbers that they were given, in the panels that they should have, and say what they lack."""

from __future__ import annotations

import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from PIL import Image

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.evaluation.configurations import scores_of
from speechbrain_dynsnet.evaluation.figures import (
    draw_boxes,
    draw_gains,
    draw_noise_types,
    save_figures,
    system_colour,
    system_marker,
)
from speechbrain_dynsnet.evaluation.metrics import METRICS
from speechbrain_dynsnet.evaluation.summary import interval
from tests.measured import make_rows

SYSTEMS = {
    "noisy": [1.0, 1.5, 2.0, 2.5],
    "exit_0": [1.2, 1.5, 2.5, 2.5],
    "exit_3": [2.2, 2.0, 2.0, 4.0],
    "rnnoise": [2.0, 2.1, 2.2, 2.3],
}
DRAWINGS = (draw_boxes, draw_gains, draw_noise_types)


def panels(figure: Figure) -> list[Axes]:
    return list(figure.axes)


def bars(axes: Axes) -> dict[str, ErrorbarContainer]:
    return {str(one.get_label()): one for one in axes.containers if isinstance(one, ErrorbarContainer)}


@pytest.mark.parametrize("draw", DRAWINGS)
def test_files_are_a_png_and_an_svg_that_open(draw: object, tmp_path: Path) -> None:
    paths = save_figures(draw(make_rows(SYSTEMS), title="known"), tmp_path, "figure")  # type: ignore[operator]
    assert [path.name for path in paths] == ["figure.png", "figure.svg"] == sorted(p.name for p in tmp_path.iterdir())
    with Image.open(paths[0]) as picture:
        picture.load()
        assert picture.format == "PNG" and min(picture.size) > 200
    assert xml.etree.ElementTree.parse(paths[1]).getroot().tag.endswith("svg")


@pytest.mark.parametrize("draw", DRAWINGS)
def test_no_text_lies_over_another_or_outside(draw: object) -> None:
    rows = make_rows({"noisy": [1.0] * 8} | {f"exit_{exit}": np.linspace(1, 2, 8).tolist() for exit in range(6)})
    figure = draw(rows, title="concat, layerwise, 6 exits")  # type: ignore[operator]
    figure.draw_without_rendering()
    width, height = figure.bbox.size
    texts = [figure._suptitle, *(legend for legend in figure.legends)]
    texts += [axes.xaxis.label for axes in panels(figure)]
    boxes = [text.get_window_extent() for text in texts if text is not None]
    for index, box in enumerate(boxes):
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])


def test_a_panel_a_metric_and_a_box_a_system() -> None:
    figure = draw_boxes(make_rows(SYSTEMS))
    assert [axes.get_xlabel() for axes in panels(figure)] == list(METRICS.values())
    for axes in panels(figure):
        assert len(axes.patches) == len(SYSTEMS)
        # matplotlib draws the median of each box as a line of two points, and its mean as a marker
        means = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "D"]
        np.testing.assert_allclose(means, [np.mean(values) for values in SYSTEMS.values()])
    figure.draw_without_rendering()
    labels = [label.get_text() for label in panels(figure)[0].get_yticklabels()]
    assert labels == ["noisy", "exit 0", "exit 3", "rnnoise"]
    low, high = panels(figure)[0].get_ylim()
    assert low > high  # noisy on top


def test_a_metric_that_nothing_has_gets_no_panel_and_a_failure_no_place_in_a_box() -> None:
    rows = [row | {"stoi": ""} for row in make_rows(SYSTEMS | {"exit_3": [2.0, None, None, 4.0]})]
    figure = draw_boxes(rows)
    assert "STOI" not in [axes.get_xlabel() for axes in panels(figure)] and len(panels(figure)) == len(METRICS) - 1
    mean = [line.get_xdata()[0] for line in panels(figure)[0].lines if line.get_marker() == "D"][2]
    assert mean == pytest.approx(3.0)


def test_gains_are_paired_differences_in_bins_of_snr() -> None:
    (axes,) = panels(draw_gains(make_rows(SYSTEMS)))
    drawn = bars(axes)
    assert list(drawn) == ["exit 0 over noisy", "exit 3 over exit 0"]
    # SNRs are 0 and 2.5, 7 and 12 dB
    np.testing.assert_allclose(drawn["exit 0 over noisy"].lines[0].get_ydata(), [0.1, 0.5, 0.0], atol=1e-9)
    np.testing.assert_allclose(drawn["exit 3 over exit 0"].lines[0].get_ydata(), [0.75, -0.5, 1.5], atol=1e-9)
    _, low, high = interval(np.array([1.0, 0.5]))
    (segments,) = (lines.get_segments() for lines in drawn["exit 3 over exit 0"].lines[2])
    np.testing.assert_allclose(segments[0][:, 1], [low, high])
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "0 to 5\n2 clips",
        "5 to 10\n1 clips",
        "10 to 15\n1 clips",
    ]


def test_a_clip_without_one_of_two_scores_is_out_of_that_pair_only() -> None:
    (axes,) = panels(draw_gains(make_rows(SYSTEMS | {"exit_3": [2.2, None, 2.0, 4.0]})))
    drawn = bars(axes)
    np.testing.assert_allclose(drawn["exit 0 over noisy"].lines[0].get_ydata(), [0.1, 0.5, 0.0], atol=1e-9)
    np.testing.assert_allclose(drawn["exit 3 over exit 0"].lines[0].get_ydata(), [1.0, -0.5, 1.5], atol=1e-9)


def test_the_highest_snr_belongs_to_the_last_bin() -> None:
    rows = [
        row | {"snr_db": {"0": "-5", "1": "5"}[row["clip"][-1]]}
        for row in make_rows({"noisy": [1.0, 1.0], "exit_0": [1.5, 2.0]})
    ]
    (axes,) = panels(draw_gains(rows))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["-5 to 0\n1 clips", "0 to 5\n1 clips"]


def test_types_of_noise_are_in_the_order_of_the_deepest_exit_with_their_counts() -> None:
    figure = draw_noise_types(make_rows(SYSTEMS))
    left, right = panels(figure)
    names = [label.get_text() for label in left.get_yticklabels()]
    assert names == ["birds (1)", "fan (2)", "babble (1)"]  # upwards: 2.0, 2.1, 4.0
    drawn = {str(line.get_label()): line for line in left.lines}
    assert list(drawn) == ["noisy", "exit 0", "exit 3"]  # peers are no exits
    np.testing.assert_allclose(drawn["exit 3"].get_xdata(), [2.0, 2.1, 4.0])
    np.testing.assert_allclose(drawn["noisy"].get_xdata(), [2.0, 1.25, 2.5])
    assert [axes.get_xlabel() for axes in (left, right)] == ["PESQ-WB, mean", "DNSMOS P.808, mean"]


def test_the_rarest_of_many_types_are_taken_together() -> None:
    rows = make_rows({"noisy": [1.0] * 30, "exit_0": [2.0] * 30})
    for row in rows:
        number = int(row["clip"].removeprefix("fileid_"))
        row["noise_category"] = "common" if number < 6 else f"type {number}"
    names = [label.get_text() for label in panels(draw_noise_types(rows))[0].get_yticklabels()]
    assert len(names) == 20 and "common (6)" in names and "6 others (6)" in names
    assert sum(int(name.rpartition("(")[2][:-1]) for name in names) == 30


def test_exits_differ_in_colour_and_in_marker() -> None:
    systems = ["noisy", "rnnoise", *(f"exit_{exit}" for exit in range(6))]
    assert len({system_colour(system) for system in systems}) == 8 == len({system_marker(s) for s in systems})


@pytest.mark.parametrize("draw", DRAWINGS)
def test_one_clip_is_drawn(draw: object) -> None:
    figure = draw(make_rows({"noisy": [1.0], "exit_0": [2.0]}))  # type: ignore[operator]
    figure.draw_without_rendering()


@pytest.mark.parametrize("draw", DRAWINGS)
def test_nothing_to_draw_is_an_error_that_says_what(draw: object) -> None:
    rows = make_rows(SYSTEMS)
    with pytest.raises(InputError, match="holds no clip"):
        draw([])  # type: ignore[operator]
    with pytest.raises(InputError, match="the rows lack pesq_wb, system"):
        draw([{k: v for k, v in row.items() if k not in ("pesq_wb", "system")} for row in rows])  # type: ignore[operator]
    with pytest.raises(InputError, match="no clip has a score"):
        draw([row | dict.fromkeys(METRICS, "") for row in rows])  # type: ignore[operator]


def test_what_a_test_set_does_not_say_is_an_error() -> None:
    rows = make_rows(SYSTEMS)
    without = [{k: v for k, v in row.items() if k not in ("snr_db", "noise_category")} for row in rows]
    with pytest.raises(InputError, match="column snr_db"):
        draw_gains(without)
    with pytest.raises(InputError, match="column noise_category"):
        draw_noise_types(without)
    with pytest.raises(InputError, match="two exits to compare"):
        draw_gains(make_rows({"exit_0": [1.0, 2.0]}))
    with pytest.raises(InputError, match="no exit"):
        draw_noise_types(make_rows({"rnnoise": [1.0, 2.0]}))


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(figure: Figure, path: Path, **kwargs: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(InputError, match=r"figure.png: cannot be written \(No space left"):
        save_figures(Figure(), tmp_path, "figure")
    assert not list(tmp_path.iterdir())


def test_scores_are_of_clips_that_have_one() -> None:
    rows = make_rows({"noisy": [1.0, None, 3.0]})
    assert scores_of(rows, "noisy", "stoi") == {"fileid_0": 1.0, "fileid_2": 3.0}
