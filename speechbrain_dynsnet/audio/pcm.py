"""Samples as they come from sound devices and files: int16 or float32, and not always sound."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_FULL_SCALE = 32768.0  # of int16; 1 in float32
_LOUDEST = 1e9  # what is beyond is no audio; its power spectrum would near the end of float32


def from_int16(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """Float32 with full scale at 1, of any shape."""
    return np.multiply(samples, 1 / _FULL_SCALE, dtype=np.float32)


def to_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """The inverse of `from_int16`: rounded, and clipped at full scale."""
    scaled = np.rint(samples * np.float32(_FULL_SCALE))
    return np.asarray(np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1), np.int16)


def without_bad_samples(samples: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """NaN, infinite and absurd samples (beyond 1e9) become 0.

    Arguments
    ---------
    samples : array
        (time,) float32; stays as it is.

    Returns
    -------
    array
        (time,) float32: `samples` itself when there is nothing wrong with it.
    int
        How many were bad.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        energy = float(samples.dot(samples))
    if energy <= _LOUDEST**2:  # almost all audio, in one pass; false for NaN
        return samples, 0
    bad = ~(np.abs(samples) <= _LOUDEST)
    return np.where(bad, np.float32(0.0), samples), int(np.count_nonzero(bad))
