"""Denoise a recording of any rate block by block: down to the model's rate, through it, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.audio.high_band import TopGains
from speechbrain_dynsnet.audio.resample import resampled_length
from speechbrain_dynsnet.audio.settings import Settings
from speechbrain_dynsnet.audio.stream_resampler import StreamResampler
from speechbrain_dynsnet.audio.suppressor import MaskModel, Suppressed, suppressor_for
from speechbrain_dynsnet.errors import InputError

Array = NDArray[np.float32]

SLOWEST, FASTEST = 1000, 1_536_000  # Hz


class BlockEnhancer:
    """A recording in blocks of any length; the results together are as long as it is, and in step with it.

    What the way to 16 kHz and back takes away, most of it above 8 kHz, is the input less the input after the same way.
    It is added to the enhanced signal with a gain: by `settings.high_band`, the mean of the mask's highest bands, which
    goes from frame to frame with the crossfade of the STFT, or 0, or 1.

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
    name : str
        Of the recording, for messages.
    lengths : sequence of int or None
        In frames, where the channels are recordings by themselves and go on as silence: they come back as they would
        alone. None for channels that all are as long as what comes.

    Raises
    ------
    InputError
        For an exit that the model lacks, or a rate that is no sound's.
    """

    def __init__(
        self,
        model: MaskModel,
        rate: int,
        channels: int,
        settings: Settings,
        name: str = "the recording",
        lengths: Sequence[int] | None = None,
    ) -> None:
        if not SLOWEST <= rate <= FASTEST:
            raise InputError(f"{name}: its rate of {rate} Hz is no sound's; give {SLOWEST} to {FASTEST} Hz")
        self._suppressor = suppressor_for(model, rate, channels, settings)
        inner = self._suppressor.channels
        self._rate, self._mix = rate, np.float32(settings.mix)
        self._mono = settings.way_of(channels) == "mono"
        self._noisy = _Queue(channels)  # what has come in and not gone out
        self._taken = self._given = 0  # frames
        self._same_rate = rate == SAMPLE_RATE
        # What goes back to the recording's rate: the enhanced signal, and beside it the noisy one if that is needed.
        self._with_high_band = not self._same_rate and settings.high_band != "drop"
        self._gains = TopGains(rate) if self._with_high_band and settings.high_band == "follow" else None
        if not self._same_rate:
            self._in = StreamResampler(rate, SAMPLE_RATE, inner)
            self._out = StreamResampler(SAMPLE_RATE, rate, 2 * inner if self._with_high_band else inner)
            ends = [resampled_length(length, rate, SAMPLE_RATE) for length in lengths or ()]
            self._end_in, self._end_out = _Ends(ends), _Ends(ends)

    def through(self, blocks: Iterable[Array]) -> Iterator[Array]:
        """All of a recording: a result, of any length, for each block and one for the end."""
        for block in blocks:
            yield self.process(block)
        yield self.finish()

    def process(self, block: Array) -> Array:
        """Take in (time, channels) float32; what is ready."""
        self._taken += len(block)
        self._noisy.push(block)
        inner = self._inner(block)
        if self._same_rate:
            return self._join(self._take(self._suppressor.process(inner)))
        resampled = self._end_in.silence(self._in.process(inner))
        return self._join(self._out.process(self._take(self._suppressor.process(resampled))))

    def finish(self) -> Array:
        """The rest; nothing more may come after."""
        if self._same_rate:
            return self._join(self._take(self._suppressor.finish()))
        rest = self._end_in.silence(self._in.finish(resampled_length(self._taken, self._rate, SAMPLE_RATE)))
        last = [self._take(self._suppressor.process(rest)), self._take(self._suppressor.finish())]
        results = [self._out.process(ready) for ready in last]
        return self._join(np.concatenate([*results, self._out.finish(self._taken)]))

    def _inner(self, noisy: Array) -> Array:
        return noisy.mean(axis=1, keepdims=True) if self._mono else noisy

    def _take(self, ready: Suppressed) -> Array:
        if self._gains is not None:
            self._gains.push(ready.masks)
        if self._same_rate:
            return ready.enhanced
        enhanced = self._end_out.silence(ready.enhanced)
        return np.concatenate([enhanced, ready.noisy], axis=1) if self._with_high_band else enhanced

    def _join(self, result: Array) -> Array:
        """With the high band and the share of the input, for what has come back."""
        start = self._given
        self._given += len(result)
        noisy = self._noisy.pop(len(result))
        if self._with_high_band:
            result, low = np.split(result, 2, axis=1)
            high = self._inner(noisy) - low
            if self._gains is not None:
                high *= self._gains.between(start, self._given)
            result = result + high
        if self._mix < 1:
            result = noisy + self._mix * (result - noisy)
        return np.broadcast_to(result, noisy.shape)


class _Ends:
    """Silence after the end of each channel, where a filter rings on: alone, a recording is cut there."""

    def __init__(self, ends: Sequence[int]) -> None:
        self._ends = ends
        self._done = 0  # samples

    def silence(self, samples: Array) -> Array:
        """The next samples, (time, channels), changed in place."""
        for channel, end in enumerate(self._ends):
            samples[max(0, end - self._done) :, channel] = 0.0
        self._done += len(samples)
        return samples


class _Queue:
    """Samples in the order of their coming."""

    def __init__(self, channels: int) -> None:
        self._samples = np.zeros((0, channels), np.float32)

    def push(self, samples: Array) -> None:
        """(time, channels)."""
        self._samples = np.concatenate([self._samples, samples])

    def pop(self, count: int) -> Array:
        """The next so many."""
        taken, self._samples = self._samples[:count], self._samples[count:]
        return taken
