"""Denoise recordings of any rate, channels and length with any model that gives masks, in little memory.

Torch and onnxruntime both come here: the model is a `MaskModel`, and all that is not the model is done in this room.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.block_enhancer import BlockEnhancer
from speechbrain_dynsnet.audio.files import Audio
from speechbrain_dynsnet.audio.formats import container_for
from speechbrain_dynsnet.audio.reader import AudioReader
from speechbrain_dynsnet.audio.settings import Settings
from speechbrain_dynsnet.audio.suppressor import MaskModel, MaskStream
from speechbrain_dynsnet.audio.writer import AudioWriter, check_output
from speechbrain_dynsnet.errors import InputError

Array = NDArray[np.float32]

__all__ = ["FileFacts", "MaskModel", "MaskStream", "Settings", "enhance_audio", "enhance_file"]

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


def enhance_file(
    model: MaskModel,
    source: str | Path,
    target: str | Path,
    settings: Settings | None = None,
    in_place: bool = False,
    progress: Callable[[int], None] | None = None,
    keep: Callable[[Array], None] | None = None,
) -> FileFacts:
    """Denoise a file, block by block: memory does not grow with its length.

    Arguments
    ---------
    model : MaskModel
        What gives the masks.
    source, target : str or Path
        The file to read and the one to write, whose extension chooses the format. It appears whole or not at all.
    settings : Settings or None
        None is the defaults.
    in_place : bool
        Allow the target to be the source, which is then replaced in one step.
    progress : callable or None
        Called after each block with the frames (samples of each channel) done so far.
    keep : callable or None
        Called with each block of the result, (time, channels), before it is encoded.

    Returns
    -------
    FileFacts

    Raises
    ------
    InputError
        For an exit that the model lacks, a file that is not usable audio, or an output that cannot be written, or is
        the input without `in_place`. Then the target stays as it was.
    """
    settings = settings or Settings()
    exit = model.check_exit(settings.exit)
    source, target = Path(source), Path(target)
    check_output(target, source=None if in_place else source)
    with AudioReader(source) as reader:
        replaces = in_place and _same(source, target)
        if replaces:
            target = Path(os.path.realpath(target))  # a link stays one
        enhancer = BlockEnhancer(model, reader.rate, reader.channels, settings, str(source))
        if replaces and container_for(target, reader.format) not in (reader.format, "RF64"):
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
        ) as writer:
            levels_in, levels_out = _Levels(), _Levels()
            blocks = levels_in.watch(reader.blocks(_block_frames(reader.rate, reader.channels)))
            for result in levels_out.watch(_through(enhancer, blocks)):
                writer.write(result)
                if keep is not None:
                    keep(result)
                if progress is not None:
                    progress(levels_out.frames)
    return FileFacts(
        levels_out.frames,
        reader.rate,
        reader.channels,
        writer.format,
        writer.subtype,
        exit,
        levels_in.peak,
        levels_out.peak,
        levels_in.rms,
        levels_out.rms,
        writer.clipped,
    )


def enhance_audio(model: MaskModel, audio: Audio, settings: Settings | None = None) -> Audio:
    """The same for samples in memory: of the same shape, rate and encoding."""
    channels, frames = audio.samples.shape
    enhancer = BlockEnhancer(model, audio.rate, channels, settings or Settings())
    size = _block_frames(audio.rate, channels)
    blocks = (audio.samples[:, begin : begin + size].T for begin in range(0, frames, size))
    enhanced = np.empty_like(audio.samples)
    done = 0
    for result in _through(enhancer, blocks):
        enhanced[:, done : done + len(result)] = result.T
        done += len(result)
    return replace(audio, samples=enhanced)


def _through(enhancer: BlockEnhancer, blocks: Iterable[Array]) -> Iterator[Array]:
    for block in blocks:
        yield enhancer.process(block)
    yield enhancer.finish()


def _block_frames(rate: int, channels: int) -> int:
    return max(1, min(_BLOCK_S * rate, _BLOCK_SAMPLES // channels))


def _same(source: Path, target: Path) -> bool:
    return target.exists() and target.samefile(source)


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

    def watch(self, blocks: Iterable[Array]) -> Iterator[Array]:
        """The blocks, (time, channels), as they are."""
        for block in blocks:
            if block.size:
                self.peak = max(self.peak, float(block.max()), -float(block.min()))
                self._energy += float(np.square(block, dtype=np.float64).sum())
            self.frames += len(block)
            self._samples += block.size
            yield block
