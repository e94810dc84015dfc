"""The ranges of masks are those of masks that are known, where speech is and where noise is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.evaluation.masks import (
    PERCENTILES,
    RANGE_COLUMNS,
    draw_mask_ranges,
    draw_masks,
    mask_ranges,
    masks_of,
)
from speechbrain_dynsnet.model.bundle import load_bundle
from speechbrain_dynsnet.model.network import make_network

SAMPLES = 16000


def noise(level: float, seed: int) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(SAMPLES)).astype(np.float32)


def test_known_masks_have_known_ranges(known_bundle: Path) -> None:
    clean = noise(0.1, 0)
    rows = mask_ranges("known", load_bundle(known_bundle), [(clean, clean + noise(0.1, 1))])
    assert all(tuple(row) == RANGE_COLUMNS for row in rows)
    assert [(row["exit"], row["region"]) for row in rows] == [(k, r) for k in "0135" for r in ("speech", "noise")]
    for row in rows:
        gain_db = -6.0206 if row["exit"] == "1" else 0.0  # it halves, the others leave
        np.testing.assert_allclose([float(row[f"p{p}_db"]) for p in PERCENTILES], gain_db, atol=1e-3)
    assert {row["points"] for row in rows[::2]} == {rows[0]["points"]}
    assert int(rows[0]["points"]) + int(rows[1]["points"]) == (1 + -(-SAMPLES // 256)) * 257


def test_points_belong_to_the_stronger_one(known_bundle: Path) -> None:
    clean = noise(0.1, 0)
    speech = mask_ranges("known", load_bundle(known_bundle), [(clean, clean + noise(0.001, 1))])
    silence = mask_ranges("known", load_bundle(known_bundle), [(0 * clean, clean)])
    assert int(speech[0]["points"]) > 100 * int(speech[1]["points"])
    assert {row["region"] for row in silence} == {"noise"}  # and no row for what has no points


def test_percentiles_are_numpys_in_db_over_all_clips() -> None:
    network = make_network("split", (1, 5))
    clips = [(noise(0.1, seed), noise(0.1, seed) + noise(0.05, 9 + seed)) for seed in range(2)]
    rows = mask_ranges("random", network, clips)
    for exit in (1, 5):
        masks = np.concatenate([masks_of(network, noisy)[1][exit].ravel() for _, noisy in clips])
        of_exit = [row for row in rows if row["exit"] == str(exit)]
        assert sum(int(row["points"]) for row in of_exit) == len(masks)
        assert 20 * np.log10(masks.min()) - 1e-3 <= min(float(row["p1_db"]) for row in of_exit)
        assert all(float(row["p1_db"]) < float(row["p50_db"]) < float(row["p99_db"]) < 0.0 for row in of_exit)


def test_a_closed_mask_counts_as_80_db(known_bundle: Path) -> None:
    network = load_bundle(known_bundle)
    for name, parameter in network.named_parameters():
        if "mask_layer.linear.bias" in name:
            parameter.data.fill_(-40.0)
    rows = mask_ranges("closed", network, [(noise(0.1, 0), noise(0.1, 1))])
    assert {float(row["p50_db"]) for row in rows if row["exit"] != "1"} == {-80.0}


def test_the_figure_has_a_panel_a_model_and_a_pair_of_bars_an_exit(known_bundle: Path) -> None:
    clean = noise(0.1, 0)
    clips = [(clean, clean + noise(0.1, 1))]
    rows = mask_ranges("joint", load_bundle(known_bundle), clips)
    rows += mask_ranges("layerwise", make_network("concat", (0, 5)), clips)
    figure = draw_mask_ranges(rows)
    assert [axes.get_title() for axes in figure.axes] == ["joint", "layerwise"]
    for axes, exits in zip(figure.axes, ("0135", "05"), strict=True):
        assert [label.get_text() for label in axes.get_xticklabels()] == list(exits)
        assert len(axes.collections) == 2 * 2 * len(exits)  # thick and thin, speech and noise
    medians = [line.get_ydata()[0] for line in figure.axes[0].lines if len(line.get_ydata())]
    np.testing.assert_allclose(medians, [0, 0, -6.0206, -6.0206, 0, 0, 0, 0], atol=1e-3)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_masks_are_drawn_by_their_names_behind_the_noisy_one(count: int) -> None:
    rng = np.random.default_rng(0)
    noisy = rng.normal(size=(40, 257, 2)).astype(np.float32).view(np.complex64)[..., 0]
    masks = {f"mask {index}": np.full((40, 257), index / 8, np.float32) for index in range(count)}
    figure = draw_masks(noisy, masks, "title")
    drawn = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title(loc="left") for axes in drawn] == ["noisy", *masks]
    for index, axes in enumerate(drawn[1:]):
        np.testing.assert_allclose(axes.images[0].get_array(), index / 8)
        assert axes.images[0].get_clim() == (0.0, 1.0)
    assert sum(axes.get_xlabel() == "time (s)" for axes in drawn) == min(2, 1 + count)


def test_nothing_to_see_is_an_error(known_bundle: Path) -> None:
    with pytest.raises(InputError, match="no clips to see the masks of known on"):
        mask_ranges("known", load_bundle(known_bundle), [])
    with pytest.raises(InputError, match="the rows need the columns model, exit"):
        draw_mask_ranges([])
    with pytest.raises(InputError, match="the rows need the columns model, exit"):
        draw_mask_ranges([{"model": "known"}])
