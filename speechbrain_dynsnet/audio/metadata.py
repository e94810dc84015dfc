"""What a recording's file carries besides samples (tags, pictures, markers, time codes), copied byte for byte."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from speechbrain_dynsnet.audio import chunk_metadata, flac_metadata, mp3_metadata, ogg_metadata
from speechbrain_dynsnet.audio.spans import Damaged, Span, Unsuitable
from speechbrain_dynsnet.errors import InputError, printable

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Way:
    find: Callable[[BinaryIO], Iterator[Span]]
    put: Callable[[BinaryIO, BinaryIO, Sequence[Span]], None]


_CHUNKS = _Way(chunk_metadata.find, chunk_metadata.put)
_OGG = _Way(ogg_metadata.find, ogg_metadata.put)
# Not W64: libsndfile takes chunks behind its samples for samples.
_WAYS = {
    "WAV": _CHUNKS,
    "AIFF": _CHUNKS,
    "CAF": _CHUNKS,
    "FLAC": _Way(flac_metadata.find, flac_metadata.put),
    "MP3": _Way(mp3_metadata.find, mp3_metadata.put),
    "VORBIS": _OGG,
    "OPUS": _OGG,
}


@dataclass(frozen=True)
class Metadata:
    """Where a file has what it carries besides samples; see `metadata_of`."""

    path: Path
    kind: str  # files of one kind can have it
    parts: tuple[Span, ...]
    problem: str  # why there may be more than was found; empty when all is found

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(part.length for part in self.parts)

    def fits(self, format: str, subtype: str) -> bool:
        """Whether a file of this container and encoding can have it."""
        return self.kind in _WAYS and self.kind == _kind(format, subtype)

    def open(self) -> BinaryIO:
        """The file that it is in, which may lose its name from then on."""
        return self.path.open("rb")

    def copy(self, source: BinaryIO, target: Path) -> None:
        """Put it into a file that an encoder has written and closed.

        What cannot be copied is left out, with a warning: the samples are what counts. Levels that are written down
        there (loudness, gains for players) stay those of the source.

        Arguments
        ---------
        source : file
            As `open` gave it.
        target : Path
            A file that it `fits`, and that has none; changed in place, in little memory.

        Raises
        ------
        InputError
            When somebody changes the source at that time.
        OSError
            When the disk is full.
        """
        problem = self.problem
        if self.parts:
            try:
                with target.open("r+b") as file:
                    _WAYS[self.kind].put(file, source, self.parts)
            except Unsuitable as error:
                problem = str(error)
            except Damaged as error:
                raise InputError(
                    f"{self.path}: its tags and markers cannot be copied ({error}); remove them"
                ) from error
        if problem:
            logger.warning("%s: not all tags and markers are copied: %s", printable(str(self.path)), problem)


def metadata_of(path: Path, format: str, subtype: str) -> Metadata:
    """Find what a file carries besides samples, without reading them; from where it is damaged on, nothing is found.

    Arguments
    ---------
    path : Path
        The file.
    format, subtype : str
        Its container and encoding, in libsndfile's words.

    Returns
    -------
    Metadata
        Where its parts are, and why there may be more.
    """
    kind, parts, problem = _kind(format, subtype), [], ""
    if kind in _WAYS:
        with path.open("rb") as file:
            try:
                for part in _WAYS[kind].find(file):
                    parts.append(part)
            except Damaged as error:
                problem = str(error)
    return Metadata(path, kind, tuple(parts), problem)


def _kind(format: str, subtype: str) -> str:
    if format == "OGG":
        return subtype  # comments begin in another way in each
    return {"WAVEX": "WAV", "RF64": "WAV"}.get(format, format)
