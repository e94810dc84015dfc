"""Change the sample rate of a whole signal, with control over the exact length."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray


def resample(samples: NDArray[np.float32], from_hz: int, to_hz: int, length: int | None = None) -> NDArray[np.float32]:
    """Resample a signal in one shot, linear phase, so that time 0 stays time 0.

    Arguments
    ---------
    samples : array
        (channels, time), float32.
    from_hz, to_hz : int
        Sample rates in Hz.
    length : int or None
        Samples to return: the signal goes on as silence, or is cut. None is `resampled_length`.

    Returns
    -------
    array
        (channels, length), float32. At equal rates and lengths, the samples unchanged.

    Example
    -------
    >>> resample(np.zeros((2, 44100), dtype=np.float32), 44100, 16000).shape
    (2, 16000)
    """
    if length is None:
        length = resampled_length(samples.shape[-1], from_hz, to_hz)
    # Trailing silence lets the filter ring out; without it soxr ends up to one output sample early.
    needed = resampled_length(length, to_hz, from_hz) + resampled_length(1, to_hz, from_hz)
    if from_hz == to_hz:
        needed = length
    padded = np.pad(samples, ((0, 0), (0, max(0, needed - samples.shape[-1]))))
    if from_hz != to_hz:
        padded = soxr.resample(padded.T, from_hz, to_hz, quality="HQ").T
    return np.ascontiguousarray(padded[:, :length])


def resampled_length(length: int, from_hz: int, to_hz: int) -> int:
    """Samples at `to_hz` that cover `length` samples at `from_hz`: rounded up."""
    return -(-length * to_hz // from_hz)
