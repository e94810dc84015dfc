"""Denoise short files side by side: they are the channels of one recording, and a call of the model is for all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.block_enhancer import BlockEnhancer
from speechbrain_dynsnet.audio.file_pass import FileFacts, FilePass, block_frames, file_pass
from speechbrain_dynsnet.audio.settings import Settings
from speechbrain_dynsnet.audio.suppressor import MaskModel
from speechbrain_dynsnet.errors import InputError

Array = NDArray[np.float32]
_LITTLE_S = 60  # more silence than that, and than sound, costs more than is saved


def enhance_together(
    model: MaskModel, files: Sequence[tuple[Path, Path]], settings: Settings, in_place: bool = False
) -> Iterator[tuple[int, FileFacts]]:
    """Denoise files of one channel and one rate; each result is the one that `enhance_file` gives.

    Shorter files go on as silence until the longest one ends: those of about one length gain the most. Memory
    does not grow with their length.

    Arguments
    ---------
    model : MaskModel
        What gives the masks.
    files : sequence of pairs
        Sources and targets.
    settings, in_place
        See `enhance_file`.

    Yields
    ------
    index, facts
        A file whose result is in its place.

    Raises
    ------
    InputError
        As `enhance_file`, for any of them; and when they are not all of one channel and rate and of about one length.
        The targets of those that were not yielded are as they were.
    """
    exit = model.check_exit(settings.exit)
    with ExitStack() as undo:
        ends = [undo.enter_context(ExitStack()) for _ in files]  # each file's own, so that it can end before the others
        passes: list[FilePass] = []
        for end, paths in zip(ends, files, strict=True):
            passes.append(end.enter_context(file_pass(*paths, in_place)))
            if (passes[-1].rate, passes[-1].channels) != (passes[0].rate, 1):
                raise InputError(f"{paths[0]}: files that go together must be of one channel and one rate")
        rate, lengths = passes[0].rate, [one.frames for one in passes]
        if len(files) * max(lengths) - sum(lengths) > max(sum(lengths), _LITTLE_S * rate):
            raise InputError(f"{files[0][0]}: files that go together must be of about one length")
        # Of one channel, all ways are this one.
        each = replace(settings, channels="each")
        enhancer = BlockEnhancer(model, rate, len(files), each, str(files[0][0]), lengths)
        for result in enhancer.through(_side_by_side(passes, block_frames(rate, len(files)))):
            for index, one in enumerate(passes):
                left = one.frames - one.done
                if left > 0:
                    one.write(result[:left, index : index + 1])
                    if one.done == one.frames:
                        ends[index].close()
                        yield index, one.facts(exit)


def _side_by_side(passes: Sequence[FilePass], size: int) -> Iterator[Array]:
    """Blocks of (time, files), as long as the longest."""
    readers = [one.blocks(size) for one in passes]
    longest = max(one.frames for one in passes)
    for begin in range(0, longest or 1, size):  # one without samples says so when it is read
        together = np.zeros((min(size, longest - begin), len(passes)), np.float32)
        for column, reader in enumerate(readers):
            block = next(reader, None)
            if block is not None:
                together[: len(block), column] = block[:, 0]
        yield together
