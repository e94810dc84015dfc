"""Pictures of what a model does to a recording."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.constants import HOP, SAMPLE_RATE
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.writing import appearing, check_writable

_FORMATS = (".png", ".pdf", ".svg", ".jpg")
RANGE_DB = 80.0  # below the loudest bin


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
        [("noisy", decibels(noisy, level), False)]
        + [(f"mask of exit {exit}", mask, True) for exit, mask in sorted(masks.items())]
        + [(f"enhanced at exit {deepest}", decibels(noisy * masks[deepest], level), False)]
    )
    figure = Figure(figsize=(10, 2.1 * len(panels)), layout="constrained")
    shared = None
    for index, (name, values, is_mask) in enumerate(panels):
        axes = figure.add_subplot(len(panels), 1, index + 1, sharex=shared)
        shared = shared or axes
        draw_panel(figure, axes, values, name, is_mask)
        axes.set_ylabel("kHz")
        axes.tick_params(labelbottom=index == len(panels) - 1)
    axes.set_xlabel("time (s)")
    figure.suptitle(title)
    save_figure(figure, path)


def draw_panel(
    figure: Figure, axes: Axes, values: NDArray[np.float32], name: str, is_mask: bool = False, has_bar: bool = True
) -> None:
    """Draw a spectrogram or a mask over seconds and kHz.

    Arguments
    ---------
    figure : Figure
        Of matplotlib, and
    axes : Axes
        a part of it.
    values : array
        (time, bins): levels in dB, the loudest 0; or gains in [0, 1].
    name : str
        Above it.
    is_mask : bool
        Whether these are gains.
    has_bar : bool
        Whether a bar of colours stands beside it.
    """
    seconds = values.shape[0] * HOP / SAMPLE_RATE
    image = axes.imshow(
        values.T,
        origin="lower",
        aspect="auto",
        extent=(0.0, seconds, 0.0, SAMPLE_RATE / 2000),
        cmap="viridis" if is_mask else "magma",
        vmin=0.0 if is_mask else -RANGE_DB,
        vmax=1.0 if is_mask else 0.0,
        interpolation="nearest" if seconds < 5 else "antialiased",
    )
    axes.set_title(name, loc="left", fontsize=10)
    if has_bar:
        figure.colorbar(image, ax=axes, label="gain" if is_mask else "level (dB)", pad=0.01)


def decibels(spectrum: NDArray[np.complex64], level: float) -> NDArray[np.float32]:
    """Of magnitudes, relative to one; not below -120."""
    return np.asarray(20.0 * np.log10(np.abs(spectrum) / max(level, 1e-12) + 1e-6), np.float32)


def check_picture(path: Path) -> None:
    """InputError when a picture cannot be written there, before any work and without touching the disk."""
    if path.suffix.lower() not in _FORMATS:
        raise InputError(f"{path}: give a file name that ends in one of {' '.join(_FORMATS)}")
    check_writable(path, "picture")


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a picture, whole or not at all; its extension chooses the format."""
    with appearing(Path(path)) as unfinished:
        figure.savefig(unfinished, dpi=110)
