"""Change the sample rate of a signal while it arrives, with the result of the whole signal."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.resample import resampled_length

Array = NDArray[np.float32]


class StreamResampler:
    """`speechbrain_dynsnet.audio.resample.resample` chunk by chunk.

    The linear-phase filter holds back 37 ms between 16 and 48 kHz, 116 ms between 8 and 16 kHz. Time 0 stays time 0.

    Arguments
    ---------
    from_hz, to_hz : int
        Sample rates in Hz, not the same.
    channels : int or None
        For signals of (time, channels); None for (time,).
    """

    def __init__(self, from_hz: int, to_hz: int, channels: int | None = None) -> None:
        self._rates = from_hz, to_hz
        self._shape = () if channels is None else (channels,)  # of a sample
        # Quality as in `resample`.
        self._resampler = soxr.ResampleStream(from_hz, to_hz, channels or 1, dtype="float32", quality="HQ")
        self._taken = self._given = 0  # samples

    def process(self, samples: Array) -> Array:
        """Take in (time,) or (time, channels) float32; what is ready."""
        self._taken += len(samples)
        ready: Array = self._resampler.resample_chunk(np.ascontiguousarray(samples))
        self._given += len(ready)
        return ready

    def finish(self, length: int) -> Array:
        """The rest, so that all results together are of this length; nothing more may come after."""
        from_hz, to_hz = self._rates
        # Silence lets the filter ring out, as for a whole signal.
        needed = resampled_length(length, to_hz, from_hz) + resampled_length(1, to_hz, from_hz)
        silence = np.zeros((max(0, needed - self._taken), *self._shape), np.float32)
        rest: Array = self._resampler.resample_chunk(silence, last=True)
        return rest[: length - self._given]
