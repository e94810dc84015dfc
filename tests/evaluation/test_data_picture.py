"""The picture of a data set shows every value once, and appears whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.evaluation.data_picture import Example, draw_data
from speechbrain_dynsnet.evaluation.pictures import check_picture

Values = NDArray[np.float64]
RNG = np.random.default_rng(0)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    figures: list[Figure] = []
    save = Figure.savefig

    def spy(figure: Figure, *args: Any, **kwargs: Any) -> None:
        figures.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", spy)
    return figures


def example(snr_db: float) -> Example:
    noisy, clean = RNG.normal(size=(2, 8000)).astype(np.float32)
    return Example(noisy, clean, snr_db)


def outlines(axes: Axes) -> dict[str, Values]:
    """The corners of each outline, by its name."""
    return {str(patch.get_label()): np.asarray(patch.get_path().vertices) for patch in axes.patches}


def heights(corners: Values) -> dict[float, float]:
    """By the left edge of each bin: of an outline that begins at zero and goes up and right in turn."""
    upper = corners[1 : 2 * 20 + 1 : 2]
    return dict(upper.tolist())


@pytest.mark.parametrize(
    "seconds",
    [
        RNG.uniform(1.0, 9.0, 300),
        np.exp(RNG.uniform(0.0, 6.0, 300)),  # a logarithmic axis
        np.full(7, 30.0),
        np.array([1e-9, 30.0]),
        np.array([5.0]),
        np.array([0.0, 5.0]),
    ],
)
def test_every_value_is_in_the_histogram(seconds: Values, tmp_path: Path, drawn: list[Figure]) -> None:
    draw_data(tmp_path / "data.png", "title", {"measured": seconds}, {"noise": seconds}, {"clean": seconds}, [])
    assert len(drawn[0].axes) == 3
    for axes, name in zip(drawn[0].axes, ("measured", "noise", "clean"), strict=True):
        assert sum(heights(outlines(axes)[name]).values()) == pytest.approx(100.0)
        left, right = axes.get_xlim()
        assert left <= seconds.min() <= seconds.max() <= right


def test_series_without_a_value_are_left_out(tmp_path: Path, drawn: list[Figure]) -> None:
    nan = np.full(3, np.nan)
    snrs = {"measured": np.array([1.0, np.inf, 5.0]), "asked for": nan}
    draw_data(tmp_path / "data.png", "", snrs, {"noise": np.full(2, -np.inf)}, {"clean": np.array([2.0])}, [])
    snr_axes, level_axes, _ = drawn[0].axes
    assert list(outlines(snr_axes)) == ["measured"]
    assert outlines(level_axes) == {}


@pytest.mark.parametrize("count", [1, 3])
def test_each_example_is_a_row_of_two_spectrograms_on_one_scale(
    count: int, tmp_path: Path, drawn: list[Figure]
) -> None:
    examples = [example(10.0 * number) for number in range(count)]
    values = {"measured": np.arange(9.0)}
    draw_data(tmp_path / "data.png", "title", values, values, values, examples)
    panels = [axes for axes in drawn[0].axes if axes.images]
    assert [axes.get_title(loc="left") for axes in panels[::2]] == [f"noisy, SNR {10 * n}.0 dB" for n in range(count)]
    for noisy, clean in zip(panels[::2], panels[1::2], strict=True):
        assert noisy.images[0].get_clim() == clean.images[0].get_clim()
        assert np.max(noisy.images[0].get_array()) == pytest.approx(0.0, abs=1e-3)


def test_silence_can_be_drawn(tmp_path: Path) -> None:
    silent = np.zeros(8000, np.float32)
    values = {"measured": np.arange(9.0)}
    draw_data(tmp_path / "data.png", "", values, values, values, [Example(silent, silent, 0.0)])
    assert (tmp_path / "data.png").read_bytes().startswith(b"\x89PNG")


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(figure: Figure, path: Path, **kwargs: Any) -> None:
        path.write_bytes(b"half a picture")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", fill)
    values = {"measured": np.arange(9.0)}
    with pytest.raises(InputError, match=r"data\.png: cannot be written \(No space left on device\)"):
        draw_data(tmp_path / "data.png", "", values, values, values, [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["data.PNG", "data.pdf", "data.svg", "data.jpg"])
def test_a_picture_that_is_let_through_can_be_written(name: str, tmp_path: Path) -> None:
    values = {"measured": np.arange(9.0)}
    check_picture(tmp_path / name)
    draw_data(tmp_path / name, "", values, values, values, [])
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_picture_that_cannot_be_written_is_refused_beforehand(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    for name, message in (("a.txt", "one of .png"), ("folder.png", "is a folder"), ("none/a.png", "create it first")):
        with pytest.raises(InputError, match=message):
            check_picture(tmp_path / name)
