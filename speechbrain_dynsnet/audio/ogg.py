"""Pages of Ogg files, and the packets that they hold (RFC 3533)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

from speechbrain_dynsnet.audio.spans import Damaged, Span

CONTINUED, LAST = 1, 4  # flags: begins within a packet, ends the stream
LARGEST_PAGE = 27 + 255 + 255 * 255  # bytes

_HEADER = struct.Struct("<4sBBqIIIB")  # and a byte a segment
_NUMBER_AT, _CHECKSUM_AT = 18, 22
_MOST_SEGMENTS = 255
_BITS_TURNED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class Page(NamedTuple):
    """What the header of a page says."""

    begin: int
    flags: int
    granule: int
    serial: int
    number: int
    segments: bytes  # the length of each

    @property
    def body(self) -> int:
        """Where its packets begin."""
        return self.begin + _HEADER.size + len(self.segments)

    @property
    def end(self) -> int:
        """Where the next page begins."""
        return self.body + sum(self.segments)


def page_at(file: BinaryIO, place: int) -> Page:
    """The page that begins at a place; Damaged when none does, or its header is cut."""
    file.seek(place)
    header = file.read(_HEADER.size)
    if len(header) == _HEADER.size and header.startswith(b"OggS"):
        _, _, flags, granule, serial, number, _, count = _HEADER.unpack(header)
        segments = file.read(count)
        if len(segments) == count:
            return Page(place, flags, granule, serial, number, segments)
    raise Damaged(f"there is no page at byte {place:,}, where one should be")


class Packet(NamedTuple):
    """A packet: its parts, and the page that it ends on."""

    parts: tuple[Span, ...]
    page: Page
    ends_page: bool

    def read(self, file: BinaryIO) -> bytes:
        """All of it."""
        content = b""
        for part in self.parts:
            file.seek(part.begin)
            content += file.read(part.length)
        return content


def packets(file: BinaryIO, longest: int) -> Iterator[Packet]:
    """The packets from the beginning of a file; Damaged where one cannot be found, or has more than `longest` bytes."""
    size = file.seek(0, 2)
    place, serial = 0, page_at(file, 0).serial
    parts: list[Span] = []
    while place < size:
        page = page_at(file, place)
        if page.end > size or page.serial != serial or bool(page.flags & CONTINUED) != bool(parts):
            raise Damaged(f"the page at byte {place:,} does not follow the one before, or is cut")
        begin = end = page.body
        for index, length in enumerate(page.segments):
            end += length
            if length < 255:  # a segment of 255 bytes goes on in the next
                yield Packet((*parts, Span(begin, end - begin)), page, index == len(page.segments) - 1)
                parts, begin = [], end
        if page.segments.endswith(b"\xff"):
            parts.append(Span(begin, end - begin))
        if sum(part.length for part in parts) > longest:
            raise Damaged(f"there is a packet of more than {longest:,} bytes")
        place = page.end


def pages_of(contents: Sequence[bytes], serial: int, number: int) -> list[bytes]:
    """Pages with whole packets and no others, of a stream's headers: their granule is 0."""
    segments = [part for content in contents for part in _segments(content)]
    pages: list[bytes] = []
    continued = False
    for begin in range(0, len(segments), _MOST_SEGMENTS):
        page = segments[begin : begin + _MOST_SEGMENTS]
        granule = 0 if any(len(part) < 255 for part in page) else -1  # -1: no packet ends here
        flags = CONTINUED if continued else 0
        header = _HEADER.pack(b"OggS", 0, flags, granule, serial, number + len(pages), 0, len(page))
        pages.append(_sealed(header + bytes(map(len, page)) + b"".join(page)))
        continued = len(page[-1]) == 255
    return pages


def renumber(file: BinaryIO, place: int, by: int) -> None:
    """Add to the numbers of all pages from a place on."""
    size = file.seek(0, 2)
    while place < size:
        page = page_at(file, place)
        file.seek(page.begin)
        content = bytearray(file.read(page.end - page.begin))
        struct.pack_into("<I", content, _NUMBER_AT, page.number + by)
        file.seek(page.begin)
        file.write(_sealed(bytes(content)))
        place = page.end


def _segments(content: bytes) -> list[bytes]:
    # A packet ends with a segment of less than 255 bytes, which may have none.
    return [content[begin : begin + 255] for begin in range(0, len(content) // 255 * 255 + 1, 255)]


def _sealed(page: bytes) -> bytes:
    before, behind = page[:_CHECKSUM_AT], page[_CHECKSUM_AT + 4 :]
    # Ogg's checksum takes bits in the other order than zlib's, begins with zeros and does not turn them at the end.
    turned = (before + bytes(4) + behind).translate(_BITS_TURNED)
    checksum = zlib.crc32(turned, 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return before + struct.pack(">I", checksum).translate(_BITS_TURNED) + behind
