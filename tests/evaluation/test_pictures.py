"""The picture has a panel for the input, each exit and the result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from speechbrain_dynsnet.evaluation.pictures import draw_exits


@pytest.mark.parametrize("level", [1.0, 0.0])
def test_panels_show_what_they_name(level: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    save = Figure.savefig

    def spy(figure: Figure, *args: Any, **kwargs: Any) -> None:
        drawn.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", spy)
    rng = np.random.default_rng(0)
    noisy = (level * rng.normal(size=(40, 257, 2))).astype(np.float32).view(np.complex64)[..., 0]
    masks = {exit: np.full((40, 257), exit / 5, np.float32) for exit in (5, 0, 3)}
    draw_exits(noisy, masks, tmp_path / "exits.png", "title")
    assert (tmp_path / "exits.png").read_bytes().startswith(b"\x89PNG")
    panels = [axes for axes in drawn[0].axes if axes.images]
    names = [axes.get_title(loc="left") for axes in panels]
    assert names == ["noisy", "mask of exit 0", "mask of exit 3", "mask of exit 5", "enhanced at exit 5"]
    for axes, exit in zip(panels[1:4], (0, 3, 5), strict=True):
        np.testing.assert_allclose(axes.images[0].get_array(), exit / 5)
    np.testing.assert_allclose(panels[0].images[0].get_array(), panels[-1].images[0].get_array())
