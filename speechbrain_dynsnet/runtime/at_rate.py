"""A stream at another sample rate than the model's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.audio.pcm import without_bad_samples
from speechbrain_dynsnet.audio.resample import resampled_length
from speechbrain_dynsnet.audio.stft import first_empty_bin
from speechbrain_dynsnet.audio.stream_resampler import StreamResampler
from speechbrain_dynsnet.runtime.frame_times import StreamStats
from speechbrain_dynsnet.runtime.stream import Stream

Array = NDArray[np.float32]


class StreamAtRate:
    """Resamples to 16 kHz, runs a stream, and comes back; nothing above 8 kHz remains.

    The output is as long as the input and in step with it. Both filters add to the delay: see `StreamResampler`. Bad
    samples become 0 before a filter could spread them, and the stream is told their places.

    Arguments
    ---------
    stream : Stream
        At its start, without a fixed delay.
    rate : int
        Hz, not 16000.
    """

    def __init__(self, stream: Stream, rate: int) -> None:
        stream.empty_from = first_empty_bin(rate)
        self._stream = stream
        self._rate = rate
        self._bad_samples = 0
        self._is_bad: NDArray[np.bool_]  # the last samples, of which the filter has not given the result yet
        self._begin()

    @property
    def stats(self) -> StreamStats:
        """Times and counts since the stream was made; bad samples are those at this rate."""
        return replace(self._stream.stats, bad_samples=self._bad_samples)

    def process(self, samples: Array) -> Array:
        """Take in the next chunk, (time,) float32; what is ready."""
        clean, bad = without_bad_samples(samples)
        self._bad_samples += bad
        self._length += len(samples)
        self._is_bad = np.concatenate([self._is_bad, clean != samples])
        return self._out.process(self._stream.process(self._with_bad_samples(self._in.process(clean))))

    def flush(self) -> Array:
        """End the signal: the samples that are still to come. Then the stream begins anew."""
        rest = self._with_bad_samples(self._in.finish(resampled_length(self._length, self._rate, SAMPLE_RATE)))
        last = [self._out.process(self._stream.process(rest)), self._out.process(self._stream.flush())]
        result = np.concatenate([*last, self._out.finish(self._length)])
        self._begin()
        return result

    def _begin(self) -> None:
        self._in = StreamResampler(self._rate, SAMPLE_RATE)
        self._out = StreamResampler(SAMPLE_RATE, self._rate)
        self._length = 0  # samples so far
        self._is_bad = np.zeros(0, np.bool_)
        self._given = 0  # samples of 16 kHz

    def _with_bad_samples(self, resampled: Array) -> Array:
        """The next samples of 16 kHz, NaN where what came in at that time was bad."""
        first = self._length - len(self._is_bad)
        places = np.arange(self._given, self._given + len(resampled) + 1) * self._rate // SAMPLE_RATE - first
        resampled[self._is_bad[places[:-1]]] = np.nan
        self._is_bad = self._is_bad[places[-1] :]
        self._given += len(resampled)
        return resampled
