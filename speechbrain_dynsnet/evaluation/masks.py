"""What masks look like: those of all exits beside a baseline's, and how wide a range each covers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from textwrap import fill

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.evaluation.evaluate import Row
from speechbrain_dynsnet.evaluation.figures import tidy
from speechbrain_dynsnet.evaluation.pictures import decibels, draw_panel
from speechbrain_dynsnet.model.features import log_power, stft
from speechbrain_dynsnet.model.network import DynamicNsNet2

Mask = NDArray[np.float32]
Signal = NDArray[np.float32]
PERCENTILES = (1, 5, 50, 95, 99)
REGIONS = ("speech", "noise")
RANGE_COLUMNS = ("model", "exit", "region", "points", *(f"p{percentile}_db" for percentile in PERCENTILES))
_PAGE_IN = 7.5  # spectrograms do not compress: no wider than they are shown
_FLOOR_DB = -80.0  # a mask below is as good as closed
_COLOURS = {"speech": "#0072B2", "noise": "#D55E00"}


@torch.no_grad()
def masks_of(network: DynamicNsNet2, noisy: Signal) -> tuple[NDArray[np.complex64], dict[int, Mask]]:
    """The spectrum of a clip and the mask of each exit.

    Arguments
    ---------
    network : DynamicNsNet2
        Of any family.
    noisy : array
        (samples,), 16 kHz.

    Returns
    -------
    tuple
        (time, 257) complex, and of each exit (time, 257) gains in [0, 1].
    """
    spectrum = stft(torch.from_numpy(noisy)[None])
    masks, _ = network(log_power(spectrum), exit=network.exits)
    return spectrum[0].numpy(), {exit: mask[0].numpy() for exit, mask in zip(network.exits, masks, strict=True)}


def mask_ranges(name: str, network: DynamicNsNet2, clips: Iterable[tuple[Signal, Signal]]) -> list[Row]:
    """Percentiles of the masks of each exit, where speech is and where noise is.

    Arguments
    ---------
    name : str
        What the model is called.
    network : DynamicNsNet2
        Of any family.
    clips : iterable of tuple of array
        Clean and noisy, (samples,) each, 16 kHz. A time-frequency point belongs to speech where the clean signal is
        stronger than what was added to it: the ideal binary mask of Wang (2005) at 0 dB.

    Returns
    -------
    list of dict
        A row with `RANGE_COLUMNS` for each exit and region that has points; gains below -80 dB count as -80 dB.

    Raises
    ------
    InputError
        When there are no clips.
    """
    values: dict[tuple[int, str], list[Mask]] = {}
    for clean, noisy in clips:
        _, masks = masks_of(network, noisy)
        both = stft(torch.from_numpy(np.stack([clean, noisy - clean]))).abs().numpy()
        is_speech = both[0] > both[1]
        for exit, mask in masks.items():
            for region, points in zip(REGIONS, (is_speech, ~is_speech), strict=True):
                values.setdefault((exit, region), []).append(mask[points])
    if not values:
        raise InputError(f"no clips to see the masks of {name} on")
    rows = []
    for (exit, region), parts in values.items():
        gains = np.concatenate(parts)
        if len(gains):
            # Of gains, then in dB: percentiles do not mind the order, and only five logarithms are taken.
            found = 20.0 * np.log10(np.maximum(np.percentile(gains, PERCENTILES), 10.0 ** (_FLOOR_DB / 20.0)))
            cells = [name, str(exit), region, str(len(gains)), *(f"{value:.3f}" for value in found)]
            rows.append(dict(zip(RANGE_COLUMNS, cells, strict=True)))
    return rows


def draw_mask_ranges(rows: Sequence[Row]) -> Figure:
    """The range of each exit's mask: a panel a model, speech beside noise.

    Arguments
    ---------
    rows : sequence of dict
        Of `mask_ranges`, of any number of models.

    Returns
    -------
    Figure
        Thin lines from percentile 1 to 99, thick ones from 5 to 95, dots at the median.

    Raises
    ------
    InputError
        When there are no rows, or they lack a column.
    """
    if not rows or not set(RANGE_COLUMNS) <= rows[0].keys():
        raise InputError(f"no ranges of masks: the rows need the columns {', '.join(RANGE_COLUMNS)}")
    models = list(dict.fromkeys(row["model"] for row in rows))
    exits = {name: sorted({int(row["exit"]) for row in rows if row["model"] == name}) for name in models}
    figure = Figure(figsize=(max(5.0, 1.0 + 0.9 * sum(map(len, exits.values()))), 4.2), layout="constrained")
    widths = [max(1.5, len(exits[name])) for name in models]
    grid = figure.subplots(1, len(models), sharey=True, squeeze=False, width_ratios=widths)[0]
    for axes, name in zip(grid, models, strict=True):
        for row in rows:
            if row["model"] == name:
                offset = -0.13 if row["region"] == REGIONS[0] else 0.13
                _draw_range(axes, exits[name].index(int(row["exit"])) + offset, row)
        axes.set_xticks(range(len(exits[name])), map(str, exits[name]))
        axes.set_xlim(-0.6, len(exits[name]) - 0.4)
        axes.set_xlabel("exit")
        axes.set_title(fill(name, 10 + 8 * len(exits[name])), fontsize=10)
        tidy(axes, "y")
    grid[0].set_ylabel("gain of the mask (dB)")
    handles = [grid[0].plot([], [], color=colour, linewidth=5)[0] for colour in _COLOURS.values()]
    labels = ["where speech is stronger", "where noise is stronger"]
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)
    return figure


def draw_masks(noisy: NDArray[np.complex64], masks: Mapping[str, Mask], title: str = "") -> Figure:
    """The noisy spectrogram, and masks by their names (arXiv 2308.16678, Figure 5).

    Arguments
    ---------
    noisy : array
        (time, 257), complex.
    masks : mapping of str to array
        (time, 257) each, gains in [0, 1].
    title : str
        Above everything.

    Returns
    -------
    Figure
        Of matplotlib; not yet saved.
    """
    columns = 2
    lines = -(-(1 + len(masks)) // columns)
    figure = Figure(figsize=(_PAGE_IN, 1.5 * lines + 0.4), layout="constrained")
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    panels = {"noisy": decibels(noisy, float(np.abs(noisy).max()))} | dict(masks)
    for place, (axes, (name, values)) in enumerate(zip(grid.flat, panels.items(), strict=False)):
        # All masks are of one scale: a bar on the right is enough.
        draw_panel(figure, axes, values, name, is_mask=place > 0, has_bar=place == 0 or place % columns == 1)
        if place % columns == 0:
            axes.set_ylabel("kHz")
        if place + columns >= len(panels):
            axes.set_xlabel("time (s)")
            axes.tick_params(labelbottom=True)
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    figure.suptitle(title)
    return figure


def _draw_range(axes: Axes, place: float, row: Row) -> None:
    outer_low, low, median, high, outer_high = (float(row[f"p{percentile}_db"]) for percentile in PERCENTILES)
    colour = _COLOURS[row["region"]]
    axes.vlines(place, outer_low, outer_high, color=colour, linewidth=1.2)
    axes.vlines(place, low, high, color=colour, linewidth=6)
    axes.plot(place, median, marker="o", color="white", markeredgecolor="black", markersize=5)
