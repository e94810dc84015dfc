"""Whether a WAV file holds what its header promises: libsndfile takes what there is without a word."""

from __future__ import annotations

import struct
from pathlib import Path

from speechbrain_dynsnet.errors import InputError

_CHUNK = struct.Struct("<4sI")
_STREAMED = 0x7FFF0000  # sizes from here on, and 0, are what programs write that do not know the length


def check_whole(path: Path) -> None:
    """InputError when a RIFF/WAVE file ends before its samples do; other files pass.

    Arguments
    ---------
    path : Path
        A file that libsndfile opens.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return
        while len(chunk := file.read(_CHUNK.size)) == _CHUNK.size:
            name, length = _CHUNK.unpack(chunk)
            if name == b"data":
                there = size - file.tell()
                if there < length < _STREAMED:
                    raise InputError(
                        f"{path}: is cut short, {there:,} of {length:,} bytes of samples are there; fetch it again, or "
                        "open and save it with another program to keep what is left"
                    )
                return
            file.seek(length + length % 2, 1)  # chunks begin at even places
