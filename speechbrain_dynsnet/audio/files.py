"""Whole audio files: checked on the way in, never half-written on the way out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.reader import LARGEST_SAMPLE, AudioReader
from speechbrain_dynsnet.audio.writer import AudioWriter, check_output

__all__ = ["LARGEST_SAMPLE", "Audio", "check_output", "read_audio", "write_audio"]

_BLOCK = 65536  # frames


@dataclass(frozen=True, eq=False)
class Audio:
    """Samples, and what it takes to write them back as they came.

    Arguments
    ---------
    samples : array
        (channels, time), float32, full scale is 1.
    rate : int
        Samples a second, in Hz.
    format, subtype : str
        Container and encoding in libsndfile's words, such as `WAV` and `PCM_16`.
    tags : mapping
        Texts by libsndfile's names, such as `title` and `artist`.
    """

    samples: NDArray[np.float32]
    rate: int
    format: str = "WAV"
    subtype: str = "PCM_16"
    tags: Mapping[str, str] = field(default_factory=dict)


def read_audio(path: str | Path, start: int = 0, frames: int | None = None) -> Audio:
    """Read a file, or a part of it, in any format that libsndfile knows.

    Arguments
    ---------
    path : str or Path
        The file.
    start : int
        First frame (a sample of every channel) to read.
    frames : int or None
        How many frames to read at most. None reads to the end.

    Returns
    -------
    Audio
        At the file's own rate, with all of its channels.

    Raises
    ------
    InputError
        For a file that is missing, unreadable, empty, no audio or (where the format tells) cut short,
        or that holds no samples, or samples that are NaN, infinite or absurdly large.
    """
    with AudioReader(path) as reader:
        blocks = list(reader.blocks(_BLOCK, start, frames))
    samples = np.ascontiguousarray(np.concatenate(blocks).T)
    return Audio(samples, reader.rate, reader.format, reader.subtype, reader.tags)


def write_audio(path: str | Path, audio: Audio) -> None:
    """Write a file in the format that its name asks for; it appears whole or not at all.

    The encoding stays that of `audio` where the format has it. Integer formats clip what is
    beyond full scale. An existing file is replaced.

    Arguments
    ---------
    path : str or Path
        The file; its extension chooses the format.
    audio : Audio
        What to write.

    Raises
    ------
    InputError
        See `check_output`; and when the format cannot hold this rate or these channels, the
        samples are not finite, or the disk is full.
    """
    channels, frames = audio.samples.shape
    with AudioWriter(path, audio.rate, channels, audio.format, audio.subtype, frames, audio.tags) as writer:
        writer.write(audio.samples.T)
