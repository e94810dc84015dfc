"""What is done with the band that the model does not hear, above 8 kHz."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.constants import BINS, HOP, SAMPLE_RATE
from speechbrain_dynsnet.audio.low_delay import LowDelayResampler

Array = NDArray[np.float32]
_TOP_SHARE = 0.25  # of the band that model and recording share: from 6 to 8 kHz where the recording goes that far


class TopGains:
    """Mean gain of the highest bands, at the recording's rate, which goes from frame to frame as the STFT's windows do.

    Arguments
    ---------
    rate : int
        Hz, of the recording.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        top = min(BINS, 1 + (BINS - 1) * rate // SAMPLE_RATE)  # bins below half the rate
        self._bins = slice(int((1 - _TOP_SHARE) * top), top)
        self._gains: Array | None = None  # (frames, channels)
        self._first = 0  # frame number of the first of them

    def push(self, masks: Array) -> None:
        """The masks of the next frames, (frames, channels or 1, 257)."""
        gains = masks[..., self._bins].mean(axis=-1)
        self._gains = gains if self._gains is None else np.concatenate([self._gains, gains])

    def between(self, start: int, end: int) -> Array:
        """For these frames of the recording, (time, channels or 1); none before `start` is asked for again."""
        assert self._gains is not None, "masks come before what they are for"
        # Frame k is centred at 256 k samples of 16 kHz. In whole numbers, for it must not matter where a block begins.
        period = HOP * self._rate
        frame, ticks = np.divmod(np.arange(start, end, dtype=np.int64) * SAMPLE_RATE, period)
        later = np.square(np.sin((ticks * (np.pi / 2 / period)).astype(np.float32)))[:, np.newaxis]
        if len(frame):
            self._gains, self._first = self._gains[frame[0] - self._first :], int(frame[0])
        index = frame - self._first
        last = len(self._gains) - 1
        old, new = self._gains[np.minimum(index, last)], self._gains[np.minimum(index + 1, last)]
        result: Array = old + later * (new - old)
        return result


class HighBand:
    """Of a stream: what the way to 16 kHz and back takes away, which is the input less the input after that way.

    Arguments
    ---------
    rate : int
        Hz, of the stream.
    gains : TopGains or None
        What it is multiplied by; None leaves it as it is.
    """

    def __init__(self, rate: int, gains: TopGains | None) -> None:
        self._back = LowDelayResampler(SAMPLE_RATE, rate)
        self._gains = gains
        self._waiting = np.zeros(0, np.float32)  # the input; its first `_ready` samples without the low band
        self._ready = 0
        self._given = 0

    def push(self, samples: Array, resampled: Array) -> None:
        """The next samples of the input, and what they became at 16 kHz, (time,) each."""
        self._waiting = np.concatenate([self._waiting, samples])
        self._lower(self._back.process(resampled))

    def finish(self, resampled: Array) -> None:
        """The rest at 16 kHz."""
        self._lower(self._back.process(resampled))
        self._lower(self._back.finish(self._given + len(self._waiting)))

    def add_to(self, enhanced: Array) -> Array:
        """The next samples of the enhanced signal, with this band."""
        high, self._waiting = self._waiting[: len(enhanced)], self._waiting[len(enhanced) :]
        start, self._given = self._given, self._given + len(enhanced)
        self._ready -= len(enhanced)
        if self._gains is not None and len(enhanced):  # before the first there are no gains
            high *= self._gains.between(start, self._given)[:, 0]
        return enhanced + high

    def _lower(self, low: Array) -> None:
        self._waiting[self._ready : self._ready + len(low)] -= low
        self._ready += len(low)
