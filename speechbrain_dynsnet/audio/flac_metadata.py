"""What FLAC files carry besides samples: comments, pictures, cue sheets and blocks of applications (RFC 9639, 8)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

from speechbrain_dynsnet.audio.mp3_metadata import end_of_id3
from speechbrain_dynsnet.audio.spans import Damaged, Span, splice

_STREAMINFO, _SEEKTABLE, _FORBIDDEN = 0, 3, 127  # the encoder's own: facts of its frames, and where they are
_LAST = 0x80
_HEADER = 4  # bytes
_MOST_BLOCKS = 10_000  # a damaged file could seem to have millions


def find(file: BinaryIO) -> Iterator[Span]:
    """The blocks worth copying, with their headers; Damaged after the last that can be found, if the file is."""
    for block in _blocks(file):
        if block.kind not in (_STREAMINFO, _SEEKTABLE):
            yield block.span


def put(target: BinaryIO, source: BinaryIO, parts: Sequence[Span]) -> None:
    """Put blocks in place of those that the encoder wrote, but for what says how its frames are."""
    blocks = list(_blocks(target))
    own = [block.span for block in blocks if block.kind in (_STREAMINFO, _SEEKTABLE)]
    pieces: list[bytes | Span] = []
    for span in own:
        target.seek(span.begin)
        content = target.read(span.length)
        pieces.append(bytes([content[0] & ~_LAST]) + content[1:])
    for part in parts:
        source.seek(part.begin)
        header = source.read(_HEADER)
        last = _LAST if part == parts[-1] else 0
        pieces += [bytes([header[0] & ~_LAST | last]) + header[1:], Span(part.begin + _HEADER, part.length - _HEADER)]
    splice(target, blocks[0].span.begin, sum(blocks[-1].span), pieces, source)


class _Block(NamedTuple):
    kind: int
    span: Span  # with its header


def _blocks(file: BinaryIO) -> Iterator[_Block]:
    size = file.seek(0, 2)
    place = end_of_id3(file)
    file.seek(place)
    if file.read(4) != b"fLaC":
        raise Damaged("its blocks cannot be found")
    place += 4
    for _ in range(_MOST_BLOCKS):
        file.seek(place)
        header = file.read(_HEADER)
        length = _HEADER + int.from_bytes(header[1:], "big")
        kind = header[0] & ~_LAST if header else _FORBIDDEN
        if kind == _FORBIDDEN or place + length > size:
            raise Damaged(f"the block at byte {place:,} does not end within the file")
        yield _Block(kind, Span(place, length))
        if header[0] & _LAST:
            return
        place += length
    raise Damaged(f"there are more than {_MOST_BLOCKS:,} blocks")
