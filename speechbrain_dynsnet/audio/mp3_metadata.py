"""What MP3 files carry besides samples: ID3v2 tags before them, APEv2 and ID3v1 tags behind them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

from speechbrain_dynsnet.audio.spans import Damaged, Span, splice

_ID3V1 = 128  # bytes
_APE_ENDS = 32  # bytes of its header, and of its footer


def find(file: BinaryIO) -> Iterator[Span]:
    """The tags, first those before the samples; Damaged after the last that can be found, if the file is."""
    front = end_of_id3(file)
    if front:
        yield Span(0, front)
    end = size = file.seek(0, 2)
    file.seek(max(front, size - _ID3V1))
    if file.read(3) == b"TAG" and size - _ID3V1 >= front:
        end -= _ID3V1
    begin = end - _length_of_ape(file, end)
    if begin < front:
        raise Damaged("its APE tag begins before the file")
    if begin < size:
        yield Span(begin, size - begin)


def put(target: BinaryIO, source: BinaryIO, parts: Sequence[Span]) -> None:
    """Put tags before and behind the samples of a file that has none."""
    end = target.seek(0, 2)
    behind = [part for part in parts if part.begin]
    splice(target, end, end, behind, source)
    splice(target, 0, 0, [part for part in parts if not part.begin], source)


def end_of_id3(file: BinaryIO) -> int:
    """Where the ID3v2 tags at the beginning of a file end (id3.org, ID3v2.4, 3.1).

    Raises
    ------
    Damaged
        When that is beyond the file.
    """
    size = file.seek(0, 2)
    place = 0
    while place < size:
        file.seek(place)
        header = file.read(10)
        if header[:3] != b"ID3" or len(header) < 10:
            break
        has_footer = header[5] & 0x10
        place += 10 + sum((byte & 0x7F) << shift for byte, shift in zip(header[6:], (21, 14, 7, 0), strict=True))
        place += 10 if has_footer else 0
    if place > size:
        raise Damaged("its ID3 tag does not end within the file")
    return place


def _length_of_ape(file: BinaryIO, end: int) -> int:
    # APEv2: the footer says how long items and footer are, and whether there is a header.
    file.seek(max(0, end - _APE_ENDS))
    footer = file.read(_APE_ENDS)
    if len(footer) < _APE_ENDS or not footer.startswith(b"APETAGEX"):
        return 0
    has_header = footer[23] & 0x80
    return int.from_bytes(footer[12:16], "little") + (_APE_ENDS if has_header else 0)
