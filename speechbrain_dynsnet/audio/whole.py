"""Whether a file holds what its header promises: libsndfile takes what there is without a word."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from speechbrain_dynsnet.audio.chunks import walk
from speechbrain_dynsnet.audio.ogg import LARGEST_PAGE, page_at
from speechbrain_dynsnet.audio.spans import Damaged
from speechbrain_dynsnet.errors import InputError

_AU = {b".snd": struct.Struct(">II"), b"dns.": struct.Struct("<II")}  # where samples begin, and their bytes
_AU_UNKNOWN = 0xFFFF_FFFF
_NEEDED = (b"data", b"SSND", b"pakt")  # the last one says, in CAF, how long each packet of samples is


def check_whole(path: Path) -> None:
    """InputError when a WAV, RF64, W64, AIFF, CAF, AU or Ogg file ends before its samples do; other files pass.

    So do files of which the header does not say the length, because a program wrote them into a pipe.

    Arguments
    ---------
    path : Path
        A file that libsndfile opens.
    """
    with path.open("rb") as file:
        try:
            missing = next((text for text in _all_missing(file) if text), "")
        except Damaged:
            return  # libsndfile opens it: what can be read counts
    if missing:
        raise InputError(
            f"{path}: is cut short, {missing}; fetch it again, or open and save it with another program to keep what "
            "is left"
        )


def length_of_samples(path: Path) -> int | None:
    """Bytes of samples, as the header of a file made of chunks says; None when it does not.

    Arguments
    ---------
    path : Path
        Such as a W64 file.

    Returns
    -------
    int or None
        As the header says, which may be more than the file holds.
    """
    with path.open("rb") as file, suppress(Damaged):
        for chunk in walk(file):
            if chunk.holds_samples:
                return chunk.length if chunk.says_length else None
    return None


def _all_missing(file: BinaryIO) -> Iterator[str]:
    size = file.seek(0, 2)
    file.seek(0)
    start = file.read(12)
    if start.startswith(b"OggS"):
        yield _missing_of_last_page(file, size)
    elif (numbers := _AU.get(start[:4])) and len(start) == 12:
        begin, length = numbers.unpack(start[4:])
        yield _missing(size, begin, length) if length != _AU_UNKNOWN else ""
    else:
        for chunk in walk(file):
            if chunk.name in _NEEDED and chunk.says_length:
                yield _missing(size, chunk.body, chunk.length)


def _missing(size: int, begin: int, length: int) -> str:
    there = max(0, size - begin)
    return f"{there:,} of {length:,} bytes of samples are there" if there < length else ""


def _missing_of_last_page(file: BinaryIO, size: int) -> str:
    # A last page that is whole and not marked as such is common in recordings of streams and voice messages.
    file.seek(max(0, size - LARGEST_PAGE))
    tail = file.read()
    place = tail.rfind(b"OggS")
    if place < 0:
        return ""
    try:
        page = page_at(file, size - len(tail) + place)
    except Damaged:
        return "its last page ends within its header"
    return (
        f"{size - page.body:,} of {page.end - page.body:,} bytes of its last page are there" if page.end > size else ""
    )
