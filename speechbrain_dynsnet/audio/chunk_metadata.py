"""What WAV, RF64, AIFF and CAF files carry besides samples: chunks, such as bext, cue, iXML, LIST, MARK."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from speechbrain_dynsnet.audio.chunks import layout_of, walk
from speechbrain_dynsnet.audio.spans import Damaged, Span, Unsuitable, splice

# What a file must have and the encoder writes itself, what describes the samples as they were (peaks, overviews,
# checksums), and room that is kept free.
_LEFT_OUT = frozenset(
    [b"fmt ", b"fact", b"data", b"ds64", b"PEAK", b"levl", b"MD5 ", b"JUNK", b"junk", b"PAD ", b"FLLR"]
    + [b"COMM", b"SSND", b"FVER"]
    + [b"desc", b"kuki", b"pakt", b"peak", b"ovvw", b"free"]
)


def find(file: BinaryIO) -> Iterator[Span]:
    """The chunks worth copying, with their headers; Damaged after the last that can be found, if the file is."""
    file.seek(0)
    if file.read(4) == b"RIFX":
        raise Damaged("its numbers have the other byte order")
    size = file.seek(0, 2)
    for chunk in walk(file):
        if chunk.name not in _LEFT_OUT and 0 <= chunk.length <= size - chunk.body:
            yield Span(chunk.begin, chunk.body + chunk.length - chunk.begin)


def put(target: BinaryIO, source: BinaryIO, parts: Sequence[Span]) -> None:
    """Add chunks at the end of a file of the same kind: its samples stay where they are.

    Raises
    ------
    Unsuitable
        When a file of this kind cannot be so large.
    """
    layout = layout_of(target)
    if layout is None:
        raise Unsuitable("there is no room for it")
    # Not at the end of the file: the encoder rounds that up, in CAF to where no chunk may begin.
    end = place = max(chunk.body + chunk.length for chunk in walk(target))
    pieces: list[bytes | Span] = []
    for part in parts:
        padding = bytes(-place % layout.step)
        pieces += [padding, part]
        place += len(padding) + part.length
    pieces.append(bytes(-place % layout.step))
    place += len(pieces[-1])
    if layout.size is not None:
        try:
            size = layout.size.pack(place - layout.uncounted)
        except struct.error:
            raise Unsuitable("the file would be larger than its kind can be") from None
    splice(target, end, target.seek(0, 2), pieces, source)
    if layout.size is not None:
        target.seek(layout.size_at)
        target.write(size)
