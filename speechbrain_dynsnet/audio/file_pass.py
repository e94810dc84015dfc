"""One file on its way through: opened and checked, read and written block by block, and what is known of it then."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.formats import container_for
from speechbrain_dynsnet.audio.reader import AudioReader
from speechbrain_dynsnet.audio.writer import AudioWriter, check_output
from speechbrain_dynsnet.errors import InputError

Array = NDArray[np.float32]

_BLOCK_S = 2
_BLOCK_SAMPLES = 2**19  # over all channels: many channels, or a high rate, get shorter blocks


@dataclass(frozen=True)
class FileFacts:
    """What is known of a recording and its result; levels are of full scale 1, over all channels."""

    frames: int  # samples of each channel
    rate: int  # Hz
    channels: int
    format: str  # container and encoding of the result, in libsndfile's words
    subtype: str
    exit: int
    peak_in: float
    peak_out: float
    rms_in: float
    rms_out: float
    clipped: int  # samples of the result that were beyond what its encoding holds

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.frames / self.rate


class FilePass:
    """A reader and a writer, and the levels of what goes through them: see `file_pass`."""

    def __init__(self, reader: AudioReader, writer: AudioWriter) -> None:
        self._reader, self._writer = reader, writer
        self._levels_in, self._levels_out = _Levels(), _Levels()
        self.rate, self.channels, self.frames = reader.rate, reader.channels, reader.frames

    @property
    def done(self) -> int:
        """Frames (a sample of every channel) that are written."""
        return self._levels_out.frames

    def blocks(self, size: int) -> Iterator[Array]:
        """See `AudioReader.blocks`."""
        for block in self._reader.blocks(size):
            self._levels_in.add(block)
            yield block

    def write(self, result: Array) -> None:
        """See `AudioWriter.write`."""
        self._levels_out.add(result)
        self._writer.write(result)

    def facts(self, exit: int) -> FileFacts:
        """What is known once all is written; `exit` is the one used."""
        return FileFacts(
            self.done,
            self.rate,
            self.channels,
            self._writer.format,
            self._writer.subtype,
            exit,
            self._levels_in.peak,
            self._levels_out.peak,
            self._levels_in.rms,
            self._levels_out.rms,
            self._writer.clipped,
        )


@contextmanager
def file_pass(source: Path, target: Path, in_place: bool = False) -> Iterator[FilePass]:
    """Open a file and its result, which appears at the end of the context; after an error the target is as it was.

    Raises
    ------
    InputError
        As `AudioReader`, `AudioWriter` and `check_output`; for a target that is the source, without `in_place`, or with
        it, when the name says another format than the file has.
    """
    with AudioReader(source) as reader:
        check_output(target, source=None if in_place else source)
        if in_place and target.exists() and target.samefile(source):
            target = Path(os.path.realpath(target))  # a link stays one
            if container_for(target, reader.format) not in (reader.format, "RF64"):
                raise InputError(
                    f"{source}: holds {reader.format}, which its name does not say; rename it, or give another output"
                )
        with AudioWriter(
            target,
            reader.rate,
            reader.channels,
            reader.format,
            reader.subtype,
            reader.frames,
            reader.tags,
            reader.bits_per_second,
            reader.metadata,
        ) as writer:
            yield FilePass(reader, writer)


def block_frames(rate: int, channels: int) -> int:
    """How many frames to take at once, so that memory stays small."""
    return max(1, min(_BLOCK_S * rate, _BLOCK_SAMPLES // channels))


class _Levels:
    """Peak and root mean square of a signal that comes in blocks."""

    def __init__(self) -> None:
        self.peak = 0.0
        self.frames = 0
        self._samples = 0
        self._energy = 0.0

    @property
    def rms(self) -> float:
        """Of all samples so far."""
        return math.sqrt(self._energy / max(1, self._samples))

    def add(self, block: Array) -> None:
        """(time, channels)."""
        if block.size:
            self.peak = max(self.peak, float(block.max()), -float(block.min()))
            self._energy += float(np.square(block, dtype=np.float64).sum())
        self.frames += len(block)
        self._samples += block.size
