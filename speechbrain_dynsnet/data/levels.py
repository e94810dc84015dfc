"""How loud a signal is, and in how much of it there is sound."""

from __future__ import annotations

import numpy as np

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE

CLIPPED = 0.99  # a recording that goes beyond was clipped
_ACTIVE_FRAME = 512  # samples
_ACTIVE_RANGE_DB = 35.0  # a frame this far under the loudest one is a pause


def rms(signal: np.ndarray) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.square(signal).mean()))


def active_rms(signal: np.ndarray) -> float:
    """RMS over the 32 ms frames that are no pause (within 35 dB of the loudest); 0 for silence."""
    frames = signal[: len(signal) // _ACTIVE_FRAME * _ACTIVE_FRAME].reshape(-1, _ACTIVE_FRAME)
    power = np.square(frames).mean(axis=1) if len(frames) else np.square(signal).mean(keepdims=True)
    loudest = float(power.max())
    if loudest <= 0.0:
        return 0.0
    return float(np.sqrt(power[power >= loudest * 10.0 ** (-_ACTIVE_RANGE_DB / 10.0)].mean()))


def activity(signal: np.ndarray) -> float:
    """The share of 50 ms windows in which there is sound, as the challenge decides it.

    A window's power, relative to that of the whole signal, gives a probability; it rises within a window and falls
    within two, so that a pause of one window counts as active. The limit is 6.3 dB under the signal's level.
    The constants are those of the original's `activitydetector` (which sets the signal to -25 dB full scale, adds up
    a window's squares and takes 20 log10 of the sum) in terms of level: the decisions are the same.

    Arguments
    ---------
    signal : array
        (time,), of any level.

    Returns
    -------
    float
        From 0 to 1; 0 for silence.
    """
    window = SAMPLE_RATE // 20
    power = np.square(signal[: len(signal) // window * window].reshape(-1, window)).mean(axis=1)
    if not power.any():
        return 0.0
    with np.errstate(divide="ignore"):  # -inf dB is a probability of 0
        level_db = 10.0 * np.log10(power / np.square(signal).mean())
    probability = 1.0 / (1.0 + np.exp(-0.4 * (level_db + 1.531)))
    before = np.concatenate([[0.0], probability[:-1]])
    weight = np.where(probability > before, 0.8, 0.05)
    return float(np.mean(weight * probability + (1.0 - weight) * before > 0.13))
