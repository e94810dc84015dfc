"""Pictures of what a model does to a recording."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.constants import HOP, SAMPLE_RATE

_RANGE_DB = 80.0  # below the loudest bin


def draw_exits(
    noisy: NDArray[np.complex64],
    masks: Mapping[int, NDArray[np.float32]],
    path: str | Path,
    title: str = "",
) -> None:
    """Draw the noisy spectrogram, the mask of each exit, and the result of the deepest (as Figure 5 of the paper).

    Arguments
    ---------
    noisy : array
        (time, bins), complex spectrum.
    masks : mapping of int to array
        (time, bins), gains in [0, 1], for each exit.
    path : str or Path
        The picture; its extension chooses the format. It appears whole or not at all.
    title : str
        Above everything.
    """
    deepest = max(masks)
    level = float(np.abs(noisy).max())
    panels = (
        [("noisy", _decibels(noisy, level), "level (dB)")]
        + [(f"mask of exit {exit}", mask, "gain") for exit, mask in sorted(masks.items())]
        + [(f"enhanced at exit {deepest}", _decibels(noisy * masks[deepest], level), "level (dB)")]
    )
    figure = Figure(figsize=(10, 2.1 * len(panels)), layout="constrained")
    seconds = noisy.shape[0] * HOP / SAMPLE_RATE
    shared = None
    for index, (name, values, unit) in enumerate(panels):
        axes = figure.add_subplot(len(panels), 1, index + 1, sharex=shared)
        shared = shared or axes
        is_mask = unit == "gain"
        image = axes.imshow(
            values.T,
            origin="lower",
            aspect="auto",
            extent=(0.0, seconds, 0.0, SAMPLE_RATE / 2000),
            cmap="viridis" if is_mask else "magma",
            vmin=0.0 if is_mask else -_RANGE_DB,
            vmax=1.0 if is_mask else 0.0,
            interpolation="nearest" if seconds < 5 else "antialiased",
        )
        axes.set_title(name, loc="left", fontsize=10)
        axes.set_ylabel("kHz")
        axes.tick_params(labelbottom=index == len(panels) - 1)
        figure.colorbar(image, ax=axes, label=unit, pad=0.01)
    axes.set_xlabel("time (s)")
    figure.suptitle(title)
    path = Path(path)
    fresh = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    try:
        figure.savefig(fresh, dpi=110)
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def _decibels(spectrum: NDArray[np.complex64], level: float) -> NDArray[np.float32]:
    return np.asarray(20.0 * np.log10(np.abs(spectrum) / max(level, 1e-12) + 1e-6), np.float32)
