"""Denoise recordings of any rate, channels and length with any model that gives masks, in little memory.

Torch and onnxruntime both come here: the model is a `MaskModel`, and all that is not the model is done in this room.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.block_enhancer import BlockEnhancer
from speechbrain_dynsnet.audio.file_pass import FileFacts, block_frames, file_pass
from speechbrain_dynsnet.audio.files import Audio
from speechbrain_dynsnet.audio.settings import Settings
from speechbrain_dynsnet.audio.suppressor import MaskModel, MaskStream

Array = NDArray[np.float32]

__all__ = ["FileFacts", "MaskModel", "MaskStream", "Settings", "enhance_audio", "enhance_file"]


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
    with file_pass(Path(source), Path(target), in_place) as file:
        enhancer = BlockEnhancer(model, file.rate, file.channels, settings, str(source))
        for result in enhancer.through(file.blocks(block_frames(file.rate, file.channels))):
            file.write(result)
            if keep is not None:
                keep(result)
            if progress is not None:
                progress(file.done)
    return file.facts(exit)


def enhance_audio(model: MaskModel, audio: Audio, settings: Settings | None = None) -> Audio:
    """The same for samples in memory: of the same shape, rate and encoding."""
    channels, frames = audio.samples.shape
    enhancer = BlockEnhancer(model, audio.rate, channels, settings or Settings())
    size = block_frames(audio.rate, channels)
    blocks = (audio.samples[:, begin : begin + size].T for begin in range(0, frames, size))
    enhanced = np.empty_like(audio.samples)
    done = 0
    for result in enhancer.through(blocks):
        enhanced[:, done : done + len(result)] = result.T
        done += len(result)
    return replace(audio, samples=enhanced)
