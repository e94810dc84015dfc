"""Spectrograms and masks as bare pixels, for pages that draw the axes themselves, in their own colours."""

from __future__ import annotations

import io

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from speechbrain_dynsnet.evaluation.pictures import RANGE_DB, decibels

LEVEL_COLOURS = "magma"
GAIN_COLOURS = "viridis"
_WINDOW_S = 0.032
_COLUMNS, _ROWS = 800, 320  # more than this is not seen, and does not compress
_SHADES = 64

Array = NDArray[np.float32]


def magnitudes(samples: Array, rate: int) -> Array:
    """(time,) to (frames, bins from 0 to half the rate): windows of 32 ms, half overlapped; one at least."""
    window = 2 * max(8, round(_WINDOW_S * rate / 2))
    padded = np.pad(samples, (window // 2, window // 2 + window))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[: len(samples) + 1 : window // 2]
    return np.abs(np.fft.rfft(frames * np.hanning(window).astype(np.float32))).astype(np.float32)


def draw_levels(values: Array, loudest: float) -> bytes:
    """A PNG of magnitudes, (frames, bins), from 80 dB below the loudest to it."""
    power = _coarser(np.square(values, dtype=np.float32))
    return _png(1.0 + decibels(np.sqrt(power).astype(np.complex64), loudest) / RANGE_DB, LEVEL_COLOURS)


def draw_gains(values: Array) -> bytes:
    """A PNG of gains, (frames, bins), from 0 to 1."""
    return _png(_coarser(values), GAIN_COLOURS)


def ticks(limit: float) -> list[tuple[float, str]]:
    """Round numbers from 0 to a limit, each with its place from 0 to 1; the limit itself only when it is one."""
    values = MaxNLocator(nbins=5, steps=[1, 2, 4, 5, 10]).tick_values(0.0, limit)
    return [(value / limit, f"{value:.4g}") for value in values if 0.0 <= value <= limit * 1.0001]


def gradient(colours: str) -> str:
    """The stops of a CSS gradient with these colours, low to high."""
    return ", ".join(map(to_hex, colormaps[colours](np.linspace(0.0, 1.0, 9))))


def _coarser(values: Array) -> Array:
    """Means over neighbouring frames and bins, so that no more than `_COLUMNS` and `_ROWS` are left."""
    for axis, most in enumerate((_COLUMNS, _ROWS)):
        if values.shape[axis] > most:
            edges = np.linspace(0, values.shape[axis], most + 1).astype(int)
            counts = np.expand_dims(np.diff(edges), 1 - axis).astype(np.float32)
            values = np.asarray(np.add.reduceat(values, edges[:-1], axis=axis) / counts, np.float32)
    return values


def _png(values: Array, colours: str) -> bytes:
    """(frames, bins) in [0, 1] to a picture of that many columns and rows, low bins at the bottom."""
    shades = np.clip(np.rint(values * (_SHADES - 1)), 0, _SHADES - 1).astype(np.uint8)
    picture = Image.fromarray(np.ascontiguousarray(shades.T[::-1]), mode="P")
    palette = colormaps[colours](np.linspace(0.0, 1.0, _SHADES))[:, :3]
    picture.putpalette(np.rint(255 * palette).astype(np.uint8).tobytes())
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
