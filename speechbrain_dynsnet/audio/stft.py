"""The STFT of the models in numpy, for where torch is not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.constants import BINS, HOP, POWER_FLOOR, SAMPLE_RATE, WINDOW

# Periodic square-root Hann: at half overlap the squares of two neighbours add up to 1.
SQRT_HANN = np.sin(np.pi * np.arange(WINDOW) / WINDOW).astype(np.float32)
_KILOHERTZ = 32  # bins
_FULL_SHARE = 0.97  # of the band below half a low sample rate; resampling filters take the rest


def stft(waveform: NDArray[np.float32]) -> NDArray[np.complex64]:
    """Centred spectrum, constant zero padding, of a waveform padded to whole hops.

    Arguments
    ---------
    waveform : array
        (channels, samples), 16 kHz.

    Returns
    -------
    array
        (channels, 1 + ceil(samples / 256), 257), complex64.
    """
    tail = -waveform.shape[-1] % HOP
    padded = np.pad(waveform, ((0, 0), (HOP, HOP + tail)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW, axis=-1)[:, ::HOP]
    return np.fft.rfft(frames * SQRT_HANN).astype(np.complex64)


def istft(spectrum: NDArray[np.complex64], length: int) -> NDArray[np.float32]:
    """The inverse of `stft`: (channels, time, 257) -> (channels, length)."""
    frames = np.fft.irfft(spectrum, WINDOW).astype(np.float32) * SQRT_HANN
    overlapped = frames[:, :-1, HOP:] + frames[:, 1:, :HOP]
    return np.ascontiguousarray(overlapped.reshape(len(frames), -1)[:, :length])


def log_power(spectrum: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Features: natural log of the power spectrum, of the spectrum's shape."""
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    return np.asarray(np.log(power + np.float32(POWER_FLOOR)))


def first_empty_bin(rate: int) -> int:
    """The first bin in which a recording of that sample rate has nothing, or `BINS` when it fills them all."""
    return BINS if rate >= SAMPLE_RATE else int(_FULL_SHARE * (BINS - 1) * rate / SAMPLE_RATE)


def fill_empty_bins(features: NDArray[np.float32], first: int) -> None:
    """Give the bins that a recording of a low sample rate leaves empty something that a model knows, in place.

    Models are trained on speech that reaches 8 kHz. Where the upper half of the spectrum is empty they take the rest
    for noise: 15 clips at 8 kHz came out 19 dB lower, with PESQ-NB down from 2.22 to 1.75. With the mean of the last
    kilohertz, and a little less, in every empty bin they came out 3.5 dB lower (as at 16 kHz) with 2.48.

    Arguments
    ---------
    features : array
        (..., 257), natural log of the power spectrum.
    first : int
        See `first_empty_bin`.
    """
    if first < BINS:
        features[..., first:] = features[..., max(0, first - _KILOHERTZ) : first].mean(axis=-1, keepdims=True) - 2.0
