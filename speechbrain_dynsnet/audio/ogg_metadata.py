"""What Ogg files (Vorbis, Opus) carry besides samples: a packet of comments, pictures among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import BinaryIO

from speechbrain_dynsnet.audio.ogg import Packet, packets, pages_of, renumber
from speechbrain_dynsnet.audio.spans import Damaged, Span, Unsuitable, splice

# How the packet of comments begins, and how many follow before the sound (Vorbis I, 4.2.1; RFC 7845, 5.2).
_HEADERS = {b"\x03vorbis": 1, b"OpusTags": 0}
_LONGEST = 2**24  # bytes: such a packet is held whole; pictures in FLAC end there too


def find(file: BinaryIO) -> Iterator[Span]:
    """The packet of comments in its parts; Damaged when there is none."""
    comments, _ = _headers(file)
    yield from comments.parts


def put(target: BinaryIO, source: BinaryIO, parts: Sequence[Span]) -> None:
    """Put a packet of comments in place of the one that the encoder wrote.

    Raises
    ------
    Unsuitable
        When it is that of another encoding.
    Damaged
        When the encoder wrote something else than expected.
    """
    comments, others = _headers(target)
    last = others[-1] if others else comments
    first_page = next(packets(target, _LONGEST)).page
    content = Packet(tuple(parts), comments.page, True).read(source)
    if not last.ends_page or _kind(content) != _kind(comments.read(target)):
        raise Unsuitable("they are those of another encoding")
    contents = [content, *(packet.read(target) for packet in others)]
    pages = pages_of(contents, first_page.serial, first_page.number + 1)
    splice(target, first_page.end, last.page.end, pages, source)
    longer_by = len(pages) - (last.page.number - first_page.number)
    if longer_by:
        renumber(target, first_page.end + sum(map(len, pages)), longer_by)


def _headers(file: BinaryIO) -> tuple[Packet, list[Packet]]:
    """The packet of comments, and those between it and the sound."""
    begin = packets(file, _LONGEST)
    _, comments = islice(begin, 2)
    others = list(islice(begin, _HEADERS[_kind(comments.read(file))]))
    return comments, others


def _kind(content: bytes) -> bytes:
    for kind in _HEADERS:
        if content.startswith(kind):
            return kind
    raise Damaged("its comments cannot be found")
