"""The opened recordings of a split, held in few large arrays: every loader worker has a copy of its own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Track:
    """A 16 kHz mono file that can be read from any sample on."""

    path: str
    samples: int
    group: str


class TrackList(Sequence[Track]):
    """Tracks as a sequence that is pickled and held as arrays: 130,000 take 15 MB, as objects 60.

    Arguments
    ---------
    tracks : iterable of Track
        Kept in their order.

    Example
    -------
    >>> TrackList([Track("a.wav", 16000, "ann"), Track("b.wav", 8000, "ben")])[1].group
    'ben'
    """

    def __init__(self, tracks: Iterable[Track]) -> None:
        self._numbers: dict[str, int] = {}
        paths, samples, groups = [], [], []
        for track in tracks:
            paths.append(os.fsencode(track.path))
            samples.append(track.samples)
            groups.append(self._numbers.setdefault(track.group, len(self._numbers)))
        self.group_names = tuple(self._numbers)
        self.samples = np.array(samples, np.int64)
        self._groups = np.array(groups, np.int32)
        self._paths = b"".join(paths)
        self._ends = np.cumsum([0, *map(len, paths)])
        # The tracks of each group, one group after another.
        self._by_group = np.argsort(self._groups, kind="stable").astype(np.int32)
        self._starts = np.searchsorted(self._groups[self._by_group], np.arange(len(self._numbers) + 1))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Track:  # type: ignore[override]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        path = os.fsdecode(self._paths[self._ends[index] : self._ends[index + 1]])
        return Track(path, int(self.samples[index]), self.group_names[self._groups[index]])

    def __iter__(self) -> Iterator[Track]:
        return (self[index] for index in range(len(self)))

    def group_number(self, name: str) -> int:
        """The place of a group in `group_names`."""
        return self._numbers[name]

    def of_group(self, name: str) -> Sequence[Track]:
        """The tracks of one speaker or category, in order."""
        number = self._numbers[name]
        return _Some(self, self._by_group[self._starts[number] : self._starts[number + 1]])


class _Some(Sequence[Track]):
    """Some tracks of a list, made when they are asked for: a speaker may have thousands, of which one is drawn."""

    def __init__(self, tracks: TrackList, places: NDArray[np.int32]) -> None:
        self._tracks = tracks
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Track:  # type: ignore[override]
        return self._tracks[int(self._places[index])]


@dataclass(frozen=True)
class Tracks:
    """The opened sources of one split."""

    clean: TrackList
    noise: TrackList
    impulse_responses: TrackList
