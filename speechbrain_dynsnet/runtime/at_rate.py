"""A stream at another sample rate than the model's."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.constants import HOP, SAMPLE_RATE, WINDOW
from speechbrain_dynsnet.audio.high_band import HighBand, TopGains
from speechbrain_dynsnet.audio.low_delay import LowDelayResampler
from speechbrain_dynsnet.audio.pcm import without_bad_samples
from speechbrain_dynsnet.audio.settings import HIGH_BANDS
from speechbrain_dynsnet.audio.stft import first_empty_bin
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.runtime.chunk_guard import ChunkGuard
from speechbrain_dynsnet.runtime.frame_times import StreamStats
from speechbrain_dynsnet.runtime.stream import Stream

Array = NDArray[np.float32]
RATES = range(4000, 384001)  # Hz


class StreamAtRate:
    """A stream for signals of another rate: resamples to 16 kHz and back.

    The output is as long as the input and in step with it. Both filters add to the delay, 6.4 ms at rates of 16 kHz and
    more: a sample comes out at the latest when `latency_samples` after it have gone in. Bad samples become 0 before a
    filter could spread them, and count for the frames that they are in as in any stream.

    Arguments
    ---------
    stream : Stream
        One that has not begun, without a fixed delay; it runs inside this one from then on. Its exit may change.
    rate : int
        Hz: 4000 to 384000, not 16000.
    fixed_delay : bool
        For audio callbacks: `process` returns as many samples as it takes, the signal delayed by exactly
        `latency_samples`; what it holds back comes with `flush`.
    high_band : str
        What happens with the band that the model does not hear, above 8 kHz, and with what the filters turn down before
        it, from 7.2 kHz on: `follow` (the gain of the model's highest bands, as in files), `drop` or `keep`.

    Raises
    ------
    InputError
        For another rate or word, or a stream that is in use or has a fixed delay.

    Example
    -------
    >>> stream = StreamAtRate(Stream(exit=3), 48000, fixed_delay=True)
    >>> len(stream.process(np.zeros(480, np.float32)))
    480
    """

    def __init__(self, stream: Stream, rate: int, fixed_delay: bool = False, high_band: str = "follow") -> None:
        if not isinstance(rate, int) or rate not in RATES or rate == SAMPLE_RATE:
            told = f"give whole Hz from {RATES[0]} to {RATES[-1]}; a Stream is for {SAMPLE_RATE}"
            raise InputError(f"rate is {rate!r}: {told}")
        if high_band not in HIGH_BANDS:
            raise InputError(f"high_band is {high_band!r}: choose one of {', '.join(HIGH_BANDS)}")
        stream.put_into(self)
        self.empty_from = first_empty_bin(rate)  # for the stream inside
        self._stream = stream
        self._rate = rate
        self._fixed_delay = fixed_delay
        self._way = high_band
        self._guard = ChunkGuard()
        self._bad_samples = 0
        self.reset()

    @property
    def latency_samples(self) -> int:
        """Samples, at this rate."""
        # The stream gives a sample with the 511th after it; a filter's delay begins with the sample itself.
        return math.ceil(self._rate * (self._in.delay_s + (WINDOW - 2) / SAMPLE_RATE + self._out.delay_s))

    @property
    def latency_ms(self) -> float:
        """The same in milliseconds."""
        return 1000 * self.latency_samples / self._rate

    @property
    def stats(self) -> StreamStats:
        """Counts since the stream was made, bad samples at this rate; and times of frames, without the resampling."""
        return replace(self._stream.stats, bad_samples=self._bad_samples)

    def process(self, samples: Array) -> Array:
        """Take in the next chunk, of any length.

        Arguments
        ---------
        samples : array
            (time,) float32, full scale 1.

        Returns
        -------
        array
            (time,) float32: what is ready, which can be nothing; with a fixed delay, as many as went in.

        Raises
        ------
        InputError
            For anything else; the stream is then as it was.
        """
        if not isinstance(samples, np.ndarray) or samples.ndim != 1 or samples.dtype != np.float32:
            raise InputError("samples are no numpy array of float32 and of shape (time,): give one channel so")
        at_once = self._rate // 2  # memory does not grow with a long chunk
        with self._guard.chunk():
            results = [self._process(samples[begin : begin + at_once]) for begin in range(0, len(samples), at_once)]
        return np.concatenate([*results, np.zeros(0, np.float32)])

    def flush(self) -> Array:
        """End the signal: the samples that are still to come. Then the stream begins anew."""
        with self._guard.chunk():
            resampled = self._in.finish()
            if self._high is not None:
                self._high.finish(resampled)
            last = [self._out.process(self._stream.process(resampled)), self._out.process(self._stream.flush())]
            result = np.concatenate([*last, self._out.finish(self._length)])
            result = self._deliver(result, self.latency_samples)
        self.reset()
        return result

    def reset(self) -> None:
        """Forget the signal and begin a new one. Exit, budget and statistics stay."""
        self._guard.reset()
        self._stream.reset()
        self._in = LowDelayResampler(self._rate, SAMPLE_RATE)
        self._out = LowDelayResampler(SAMPLE_RATE, self._rate)
        self._length = 0  # samples so far
        self._bad_by_hop: Counter[int] = Counter()  # at this rate
        self._top_gains = TopGains(self._rate) if self._way == "follow" else None
        self._high = None if self._way == "drop" else HighBand(self._rate, self._top_gains)
        self._delayed = np.zeros(self.latency_samples, np.float32) if self._fixed_delay else None

    def bad_samples(self, hop: int) -> int:
        """For the stream inside."""
        return round(self._bad_by_hop.pop(hop, 0) * SAMPLE_RATE / self._rate)

    def take_mask(self, mask: Array) -> None:
        """From the stream inside."""
        if self._top_gains is not None:
            self._top_gains.push(mask[np.newaxis, np.newaxis])

    def _process(self, samples: Array) -> Array:
        clean, bad = without_bad_samples(samples)
        if bad:
            self._bad_samples += bad
            places = self._length + np.flatnonzero(clean != samples)
            self._bad_by_hop.update((places * SAMPLE_RATE // (HOP * self._rate)).tolist())
        self._length += len(samples)
        resampled = self._in.process(clean)
        if self._high is not None:
            self._high.push(clean, resampled)
        return self._deliver(self._out.process(self._stream.process(resampled)), len(samples))

    def _deliver(self, ready: Array, count: int) -> Array:
        """Ready samples with their high band, or `count` of those that a fixed delay holds back."""
        ready = ready if self._high is None else self._high.add_to(ready)
        if self._delayed is None:
            return ready
        waiting = np.concatenate([self._delayed, ready])
        self._delayed = waiting[count:].copy()
        return waiting[:count]
