"""A model's masks applied to a signal that comes in blocks of any length, at the model's rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.constants import BINS, HOP, WINDOW
from speechbrain_dynsnet.audio.settings import Settings
from speechbrain_dynsnet.audio.stft import SQRT_HANN, fill_empty_bins, first_empty_bin, log_power

Array = NDArray[np.float32]
MaskStream = Callable[[Array], Array]
"""The next frames' features, (frames, channels, 257) float32, to their masks, of that shape; it keeps the states."""


class MaskModel(Protocol):
    """What a model offers to be used on recordings."""

    @property
    def exits(self) -> tuple[int, ...]:
        """Where it can be left, shallow to deep."""

    def check_exit(self, exit: int | None) -> int:
        """The exit to use: `exit`, or the deepest for None. InputError when there is none such."""

    def start(self, channels: int, exit: int) -> MaskStream:
        """Begin a signal: zero states for each of so many channels."""


def suppressor_for(model: MaskModel, rate: int, channels: int, settings: Settings) -> Suppressor:
    """What runs inside for a recording, at 16 kHz: on one channel for `mono`, else on all.

    Arguments
    ---------
    model : MaskModel
        What gives the masks.
    rate : int
        Hz, of the recording.
    channels : int
        Of the recording.
    settings : Settings
        What is done with it.

    Returns
    -------
    Suppressor
        New, before the first sample.

    Raises
    ------
    InputError
        For an exit that the model lacks.
    """
    way = settings.way_of(channels)
    inner = 1 if way == "mono" else channels
    masks = model.start(inner, model.check_exit(settings.exit))
    return Suppressor(masks, inner, settings.floor, way == "linked", first_empty_bin(rate))


@dataclass(frozen=True)
class Suppressed:
    """What is ready of a signal: of the same time, (time, channels) float32 each; and what the new frames were given.

    Arguments
    ---------
    enhanced, noisy : array
        (time, channels), at 16 kHz.
    masks : array
        (frames, channels or 1, 257), one more frame than hops since the signal's start.
    """

    enhanced: Array
    noisy: Array
    masks: Array


class Suppressor:
    """`speechbrain_dynsnet.audio.stft` and a mask in between, block by block: the same as for the signal whole.

    Arguments
    ---------
    masks : callable
        See `MaskStream`.
    channels : int
        Of the signal.
    floor : float
        Least gain, 0 to 1.
    linked : bool
        One mask for all channels, so that nothing moves from side to side: the highest gain of all. With the mask of
        the channels' average a voice on one side (20 dB apart, noise on both) lost 1 dB more, and 2 dB of SI-SDR.
    empty_from : int
        The first bin in which the recording has nothing: see `fill_empty_bins`.
    """

    def __init__(
        self, masks: MaskStream, channels: int, floor: float = 0.0, linked: bool = False, empty_from: int = BINS
    ) -> None:
        self.channels = channels
        self._empty_from = empty_from
        self._masks, self._floor, self._linked = masks, np.float32(floor), linked
        self._pending = np.zeros((0, channels), np.float32)  # no whole hop yet
        self._history: Array | None = None  # the hop before; None at the start of the signal
        self._overlap = np.zeros((channels, HOP), np.float32)  # second half of the last frame's result
        self._taken = self._given = 0  # samples

    def process(self, samples: Array) -> Suppressed:
        """Take in (time, channels) float32, 16 kHz; what is ready."""
        self._taken += len(samples)
        waiting = np.concatenate([self._pending, samples])
        whole = len(waiting) // HOP * HOP
        self._pending = waiting[whole:]
        result = self._run(waiting[:whole])
        self._given += len(result.noisy)
        return result

    def finish(self) -> Suppressed:
        """The rest; nothing more may come after."""
        left = self._taken - self._given
        last = self._run(np.pad(self._pending, ((0, -len(self._pending) % HOP + HOP), (0, 0))))
        return Suppressed(last.enhanced[:left], last.noisy[:left], last.masks)

    def _run(self, hops: Array) -> Suppressed:
        """Whole hops, (hops * 256, channels): as many frames."""
        channels = hops.shape[1]
        if not len(hops):
            nothing = np.zeros((0, channels), np.float32)
            return Suppressed(nothing, nothing, np.zeros((0, 1 if self._linked else channels, BINS), np.float32))
        before = np.zeros((HOP, channels), np.float32) if self._history is None else self._history
        padded = np.concatenate([before, hops])
        views = np.lib.stride_tricks.sliding_window_view(padded, WINDOW, axis=0)[::HOP]
        frames = np.multiply(views, SQRT_HANN, order="C")  # (frames, channels, 512)
        spectrum = np.fft.rfft(frames).astype(np.complex64, copy=False)
        features = log_power(spectrum)
        fill_empty_bins(features, self._empty_from)
        masks = np.maximum(self._masks(features), self._floor)
        if self._linked:
            masks = masks.max(axis=1, keepdims=True)
        spectrum *= masks
        np.fft.irfft(spectrum, WINDOW, out=frames)
        frames *= SQRT_HANN
        enhanced = frames[..., :HOP].copy()
        enhanced[0] += self._overlap
        enhanced[1:] += frames[:-1, :, HOP:]
        self._overlap = frames[-1, :, HOP:].copy()
        in_time = np.ascontiguousarray(enhanced.transpose(0, 2, 1)).reshape(-1, channels)
        # The first frame's first half lies before the signal.
        ahead = HOP if self._history is None else 0
        self._history = hops[-HOP:].copy()
        return Suppressed(in_time[ahead:], padded[ahead:-HOP], masks)
