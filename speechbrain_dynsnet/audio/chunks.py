"""Files made of chunks (WAV, RF64, W64, AIFF, CAF): where each chunk is, by the headers alone."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from speechbrain_dynsnet.audio.spans import Damaged

_MOST_CHUNKS = 10_000  # a damaged file could seem to have millions
_UNKNOWN = ((0x7F00_0000, 0x8000_0000), (0xFFFF_0000, 0xFFFF_FFFF), (2**62, 2**64))
_SAMPLES = (b"data", b"SSND")


@dataclass(frozen=True)
class Layout:
    """How a kind of file is built."""

    header: struct.Struct  # name and length of a chunk
    first: int  # where the first chunk begins
    step: int  # chunks begin at multiples of it
    counts_header: bool  # the length of a chunk does
    size_at: int  # where the length of the file is
    size: struct.Struct | None  # how it is written
    uncounted: int  # bytes that do not count in it


_WAV = Layout(struct.Struct("<4sI"), 12, 2, False, 4, struct.Struct("<I"), 8)
_RF64 = Layout(struct.Struct("<4sI"), 12, 2, False, 20, struct.Struct("<Q"), 8)
_AIFF = Layout(struct.Struct(">4sI"), 12, 2, False, 4, struct.Struct(">I"), 8)
_W64 = Layout(struct.Struct("<16sQ"), 40, 8, True, 16, struct.Struct("<Q"), 0)
_CAF = Layout(struct.Struct(">4sq"), 8, 1, False, 0, None, 0)
# RIFX is WAV with the bytes of its numbers turned round, and so built as AIFF.
_LAYOUTS = {b"RIFF": _WAV, b"RF64": _RF64, b"RIFX": _AIFF, b"FORM": _AIFF, b"riff": _W64, b"caff": _CAF}


@dataclass(frozen=True)
class Chunk:
    """A chunk of a file; its end may be beyond that of the file."""

    name: bytes  # four letters
    begin: int  # of its header
    body: int  # where what it holds begins
    length: int  # bytes of what it holds, as the header says

    @property
    def holds_samples(self) -> bool:
        """Whether it is the one with the audio."""
        return self.name in _SAMPLES

    @property
    def says_length(self) -> bool:
        """False for what programs write that do not know the length yet: 0, -1, or the most that there can be."""
        return self.length > 0 and not any(least <= self.length <= most for least, most in _UNKNOWN)


def layout_of(file: BinaryIO) -> Layout | None:
    """How a file is built; None when it is not made of chunks that are known."""
    file.seek(0)
    return _LAYOUTS.get(file.read(4))


def walk(file: BinaryIO) -> Iterator[Chunk]:
    """The chunks of a file, in their order.

    Arguments
    ---------
    file : file
        Open for reading, anywhere. A file that is not made of chunks has none.

    Yields
    ------
    Chunk
        One after the other.

    Raises
    ------
    Damaged
        Where there should be a chunk and is none, or, after it is given, where one ends beyond the file. One of samples
        may: it is the last then.
    """
    layout = layout_of(file)
    if layout is None:
        return
    size = file.seek(0, 2)
    place, length_of_samples = layout.first, -1
    for _ in range(_MOST_CHUNKS):
        file.seek(place)
        header = file.read(layout.header.size)
        if len(header) < layout.header.size or not any(header):
            return  # at the end, or padded with zeros
        name, length = layout.header.unpack(header)
        if layout.counts_header:
            length -= layout.header.size
        elif not all(0x20 <= letter < 0x7F for letter in name):
            raise Damaged(f"there is no chunk at byte {place:,}, where one should be")
        if layout is _RF64 and length == 0xFFFF_FFFF and name == b"data":
            length = length_of_samples
        chunk = Chunk(name[:4], place, place + layout.header.size, length)
        if layout is _RF64 and name == b"ds64":
            length_of_samples = _length_in_ds64(file, chunk)
        yield chunk
        end = chunk.body + length
        if chunk.holds_samples and (end > size or length <= 0):
            return
        if end > size or length < 0:
            raise Damaged(f"the chunk {name[:4]!r} at byte {place:,} does not end within the file")
        place = end + -end % layout.step
    raise Damaged(f"there are more than {_MOST_CHUNKS:,} chunks")


def _length_in_ds64(file: BinaryIO, chunk: Chunk) -> int:
    # EBU Tech 3306: the lengths of the file and of the samples, 64 bits each.
    file.seek(chunk.body)
    lengths = file.read(16)
    return int.from_bytes(lengths[8:], "little") if len(lengths) == 16 else -1
