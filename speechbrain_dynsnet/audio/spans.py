"""Parts of files, found and not yet read, and how to put them into another file block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

from speechbrain_dynsnet.errors import InputError

_BLOCK = 2**20  # bytes held at once


class Span(NamedTuple):
    """Bytes of a file."""

    begin: int
    length: int


class Damaged(ValueError):
    """A file is not built as its kind is; the message says where."""


class Unsuitable(ValueError):
    """What was found in a file cannot be put into another, which is as it was; the message says why."""


def splice(target: BinaryIO, begin: int, end: int, pieces: Sequence[bytes | Span], source: BinaryIO) -> None:
    """Replace the bytes from `begin` to `end` of a file; what follows moves.

    Arguments
    ---------
    target : file
        Open for reading and writing.
    begin, end : int
        Where in `target`.
    pieces : sequence of bytes or Span
        What comes there: bytes, or parts of `source`.
    source : file
        Open for reading, another file than `target`.

    Raises
    ------
    InputError
        When `source` has become shorter than the pieces say.
    """
    length = sum(len(piece) if isinstance(piece, bytes) else piece.length for piece in pieces)
    _move_rest(target, end, begin + length - end)
    target.seek(begin)
    for piece in pieces:
        if isinstance(piece, bytes):
            target.write(piece)
        else:
            for block in _blocks(source, piece):
                target.write(block)


def _blocks(file: BinaryIO, span: Span) -> Iterator[bytes]:
    file.seek(span.begin)
    left = span.length
    while left:
        block = file.read(min(left, _BLOCK))
        if not block:
            raise InputError(f"{file.name}: became shorter while it was read; try again when nobody writes it")
        left -= len(block)
        yield block


def _move_rest(file: BinaryIO, begin: int, by: int) -> None:
    size = file.seek(0, 2)
    starts = range(begin, size, _BLOCK)
    for start in reversed(starts) if by > 0 else starts:
        file.seek(start)
        block = file.read(min(_BLOCK, size - start))
        file.seek(start + by)
        file.write(block)
    if by < 0:
        file.truncate(size + by)
