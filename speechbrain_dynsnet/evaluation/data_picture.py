"""One picture of a data set: SNRs, levels and durations as histograms, and a few pairs as spectrograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.stft import stft
from speechbrain_dynsnet.evaluation.pictures import decibels, draw_panel, save_figure

_BINS = 20
_WIDE = 20.0  # durations that differ by more than this factor are drawn on a logarithmic axis
_ASKED = "asked for"  # a series whose name ends so is the line that another is held against

Values = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Example:
    """A pair, (time,) each at 16 kHz, and its SNR in dB."""

    noisy: NDArray[np.float32]
    clean: NDArray[np.float32]
    snr_db: float


def draw_data(
    path: str | Path, title: str, snrs_db: Values, levels_dbfs: Values, seconds: Values, examples: Sequence[Example]
) -> None:
    """Draw three histograms, and below them each example: noisy on the left, clean on the right.

    Arguments
    ---------
    path : str or Path
        The picture; its extension chooses the format. It appears whole or not at all.
    title : str
        Above everything.
    snrs_db, levels_dbfs, seconds : mapping of str to array
        (values,) of each series; what is not finite is left out, and a series without any value too. One whose
        name ends in `asked for` is drawn dashed.
    examples : sequence of Example
        Both of a pair are drawn to one scale, 0 dB being the loudest of the noisy one.
    """
    figure = Figure(figsize=(13, 3.8 + 2.4 * len(examples)), layout="constrained")
    parts = figure.add_gridspec(2, 1, height_ratios=[3.8, max(2.4 * len(examples), 0.1)])
    histograms = (
        (snrs_db, "SNR (dB)", "pairs"),
        (levels_dbfs, "level (dBFS)", "pairs"),
        (seconds, "duration (s)", "files"),
    )
    places = parts[0].subgridspec(1, len(histograms))
    for column, (series, label, unit) in enumerate(histograms):
        _draw_histogram(figure.add_subplot(places[0, column]), series, label, unit)
    grid = parts[1].subgridspec(max(len(examples), 1), 2)
    for row, example in enumerate(examples):
        left, right = (figure.add_subplot(grid[row, column]) for column in range(2))
        noisy, clean = stft(np.stack([example.noisy, example.clean]))
        loudest = float(np.abs(noisy).max())
        draw_panel(figure, left, decibels(noisy, loudest), f"noisy, SNR {example.snr_db:.1f} dB", has_bar=False)
        draw_panel(figure, right, decibels(clean, loudest), "its clean speech")
        left.set_ylabel("kHz")
        right.tick_params(labelleft=False)
        if row == len(examples) - 1:
            left.set_xlabel("time (s)")
            right.set_xlabel("time (s)")
    figure.suptitle(title)
    save_figure(figure, path)


def _draw_histogram(axes: Axes, series: Values, label: str, unit: str) -> None:
    finite = {name: values[np.isfinite(values)] for name, values in series.items()}
    finite = {name: values for name, values in finite.items() if len(values)}
    axes.set_xlabel(label)
    axes.set_ylabel(f"share of {unit} (%)")
    if not finite:
        axes.text(0.5, 0.5, "none", ha="center", va="center", transform=axes.transAxes)
        return
    everything = np.concatenate(list(finite.values()))
    low, high = float(everything.min()), float(everything.max())
    if is_wide := low > 0.0 and high > _WIDE * low:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
    elif high - low < 1.0:  # as good as one value: a bin of its own in the middle
        low, high = low - 0.5, high + 0.5
    bins = np.geomspace(low, high, _BINS + 1) if is_wide else np.linspace(low, high, _BINS + 1)
    for number, (name, values) in enumerate(finite.items()):
        is_asked = name.endswith(_ASKED)
        axes.hist(
            values,
            bins.tolist(),
            weights=np.full(len(values), 100.0 / len(values)),
            histtype="stepfilled",
            facecolor="none" if is_asked else (f"C{number}", 0.12),
            edgecolor="black" if is_asked else f"C{number}",
            linestyle="--" if is_asked else "-",
            linewidth=1.5,
            label=name,
        )
    axes.margins(x=0.02, y=0.3)  # room for the legend
    axes.legend(fontsize=9, loc="upper right", ncols=2, frameon=False)
