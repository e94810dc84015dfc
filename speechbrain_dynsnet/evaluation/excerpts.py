"""The beginning of a recording and of its result, as a page can hold, play and score them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.enhancement import FileFacts
from speechbrain_dynsnet.audio.files import read_audio
from speechbrain_dynsnet.audio.resample import resample
from speechbrain_dynsnet.errors import InputError

Signal = NDArray[np.float32]

EXCERPT_S = 30
PLAYED_CHANNELS = 2
HIGHEST_RATE = 48000  # Hz; players and ears take no more


@dataclass(frozen=True, eq=False)
class Excerpts:
    """The same place of a recording before and after.

    Arguments
    ---------
    before, after : array
        (channels, time), float32.
    rate : int
        Of both, in Hz: that of the files, or `HIGHEST_RATE`.
    channel : int
        The loudest of the recording, which stands for it in pictures and scores.
    """

    before: Signal
    after: Signal
    rate: int
    channel: int

    @property
    def seconds(self) -> float:
        """Their length."""
        return float(self.before.shape[-1] / self.rate)

    @property
    def playing_gain(self) -> float:
        """What both are multiplied by to be played: below 1 where a sample is beyond full scale."""
        peaks = [float(np.abs(samples[:PLAYED_CHANNELS]).max()) for samples in (self.before, self.after)]
        return 1.0 / max(1.0, *peaks)

    @property
    def loudest(self) -> Signal:
        """The loudest channel before and after, (2, time)."""
        return np.stack([self.before[self.channel], self.after[self.channel]])

    def played(self) -> tuple[bytes, bytes]:
        """FLAC files of 16 bits: the first channels, two at most."""
        before, after = (
            _flac(self.playing_gain * samples[:PLAYED_CHANNELS], self.rate) for samples in (self.before, self.after)
        )
        return before, after


def read_excerpts(noisy: Path, enhanced: Path, facts: FileFacts) -> Excerpts:
    """Read the first `EXCERPT_S` seconds of a recording and of its result.

    Raises
    ------
    InputError
        For a file that cannot be read, and for two that do not belong together.
    """
    read = [read_audio(path, frames=EXCERPT_S * facts.rate) for path in (noisy, enhanced)]
    for path, audio in zip((noisy, enhanced), read, strict=True):
        if audio.rate != facts.rate or audio.samples.shape != read[0].samples.shape:
            raise InputError(f"{path}: has changed since it was enhanced; enhance the recording again")
    rate = min(facts.rate, HIGHEST_RATE)
    before, after = (resample(audio.samples, facts.rate, rate) for audio in read)
    return Excerpts(before, after, rate, int(np.argmax(np.square(before).mean(axis=-1))))


def _flac(samples: Signal, rate: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples.T, rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()
