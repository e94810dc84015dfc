"""The STFT of the models in numpy, for where torch is not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.constants import HOP, POWER_FLOOR, WINDOW

# Periodic square-root Hann: at half overlap the squares of two neighbours add up to 1.
SQRT_HANN = np.sin(np.pi * np.arange(WINDOW) / WINDOW).astype(np.float32)


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
