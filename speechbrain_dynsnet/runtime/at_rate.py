"""A stream at another sample rate than the model's."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE, WINDOW
from speechbrain_dynsnet.audio.pcm import without_bad_samples
from speechbrain_dynsnet.audio.resample import resampled_length
from speechbrain_dynsnet.audio.stft import first_empty_bin
from speechbrain_dynsnet.audio.stream_resampler import StreamResampler
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.runtime.frame_times import StreamStats
from speechbrain_dynsnet.runtime.stream import Stream

Array = NDArray[np.float32]
RATES = range(4000, 384001)  # Hz


class StreamAtRate:
    """A stream for signals of another rate: resamples to 16 kHz and back; nothing above 8 kHz remains.

    The output is as long as the input and in step with it. Both filters add to the delay: a sample comes out at the
    latest when `latency_samples` more have gone in, and mostly sooner (of 106 ms at 48 kHz after 98). Bad samples
    become 0 before a filter could spread them, and the stream is told their places.

    Arguments
    ---------
    stream : Stream
        At its start, without a fixed delay. Exit, budget and limit are its own, and may change while this one runs.
    rate : int
        Hz: 4000 to 384000, not 16000.
    fixed_delay : bool
        For audio callbacks: `process` returns as many samples as it takes, the signal delayed by exactly
        `latency_samples`; what it holds back comes with `flush`.

    Raises
    ------
    InputError
        For another rate, or a stream with a fixed delay.

    Example
    -------
    >>> stream = StreamAtRate(Stream(exit=3), 48000, fixed_delay=True)
    >>> len(stream.process(np.zeros(480, np.float32)))
    480
    """

    def __init__(self, stream: Stream, rate: int, fixed_delay: bool = False) -> None:
        if not isinstance(rate, int) or rate not in RATES or rate == SAMPLE_RATE:
            told = f"give whole Hz from {RATES[0]} to {RATES[-1]}; a Stream is for {SAMPLE_RATE}"
            raise InputError(f"rate is {rate!r}: {told}")
        if stream.has_fixed_delay:
            raise InputError(
                "the stream has a fixed delay of its own: ask for it here, StreamAtRate(..., fixed_delay=True)"
            )
        stream.empty_from = first_empty_bin(rate)
        self.latency_samples = _longest_delay(rate)
        self.latency_ms = 1000 * self.latency_samples / rate
        self._stream = stream
        self._rate = rate
        self._fixed_delay = fixed_delay
        self._bad_samples = 0
        self._is_bad: NDArray[np.bool_]  # the last samples, of which the filter has not given the result yet
        self._begin()

    @property
    def stats(self) -> StreamStats:
        """Times and counts since the stream was made; bad samples are those at this rate."""
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
            For anything else.
        """
        if not isinstance(samples, np.ndarray) or samples.ndim != 1 or samples.dtype != np.float32:
            raise InputError("samples are no numpy array of float32 and of shape (time,): give one channel so")
        clean, bad = without_bad_samples(samples)
        self._bad_samples += bad
        self._length += len(samples)
        self._is_bad = np.concatenate([self._is_bad, clean != samples])
        ready = self._out.process(self._stream.process(self._with_bad_samples(self._in.process(clean))))
        return self._deliver(ready, len(samples))

    def flush(self) -> Array:
        """End the signal: the samples that are still to come. Then the stream begins anew."""
        rest = self._with_bad_samples(self._in.finish(resampled_length(self._length, self._rate, SAMPLE_RATE)))
        last = [self._out.process(self._stream.process(rest)), self._out.process(self._stream.flush())]
        result = np.concatenate([*last, self._out.finish(self._length)])
        result = self._deliver(result, self.latency_samples)
        self._begin()
        return result

    def _begin(self) -> None:
        self._in = StreamResampler(self._rate, SAMPLE_RATE)
        self._out = StreamResampler(SAMPLE_RATE, self._rate)
        self._length = 0  # samples so far
        self._is_bad = np.zeros(0, np.bool_)
        self._given = 0  # samples of 16 kHz
        self._delayed = np.zeros(self.latency_samples, np.float32) if self._fixed_delay else None

    def _deliver(self, ready: Array, count: int) -> Array:
        """Ready samples, or `count` of those that a fixed delay holds back."""
        if self._delayed is None:
            return ready
        waiting = np.concatenate([self._delayed, ready])
        self._delayed = waiting[count:].copy()
        return waiting[:count]

    def _with_bad_samples(self, resampled: Array) -> Array:
        """The next samples of 16 kHz, NaN where what came in at that time was bad."""
        first = self._length - len(self._is_bad)
        places = np.arange(self._given, self._given + len(resampled) + 1) * self._rate // SAMPLE_RATE - first
        resampled[self._is_bad[places[:-1]]] = np.nan
        self._is_bad = self._is_bad[places[-1] :]
        self._given += len(resampled)
        return resampled


@cache
def _longest_delay(rate: int) -> int:
    """Samples that can have gone in without having come out, if both filters and the stream hold back most at once."""
    seconds = _held_back_s(rate, SAMPLE_RATE) + WINDOW / SAMPLE_RATE + _held_back_s(SAMPLE_RATE, rate)
    return math.ceil(seconds * rate) + 1  # what is rounded to whole samples


def _held_back_s(from_hz: int, to_hz: int) -> float:
    """The longest time that a filter holds back.

    It gives blocks of lengths that soxr does not tell, but the same ones whatever the chunks: a second of it is tried.
    """
    resampler = StreamResampler(from_hz, to_hz)
    step = np.zeros(math.ceil(from_hz / 4000), np.float32)  # 0.25 ms at most
    longest = 0.0
    given = 0
    for taken in range(len(step), from_hz + 1, len(step)):
        longest = max(longest, taken / from_hz - given / to_hz)  # just before it gives a block
        given += len(resampler.process(step))
    return longest
