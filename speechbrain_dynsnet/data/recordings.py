"""The opened recordings of a data folder, each with the name that people know it by."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from speechbrain_dynsnet.data.manifest import Corpus, Source
from speechbrain_dynsnet.data.store import open_tracks
from speechbrain_dynsnet.data.tracks import TrackList, Tracks


@dataclass(frozen=True)
class Recordings:
    """Tracks, and where they come from.

    Arguments
    ---------
    tracks : Tracks
        What can be read.
    root : str
        The folder that names are relative to.
    originals : dict of str to str
        The file behind the path of each track that is a decoded copy.
    """

    tracks: Tracks
    root: str
    originals: dict[str, str]

    def name(self, path: str) -> str:
        """The original file of a track, relative to the data folder."""
        return Path(os.path.relpath(self.originals.get(path, path), self.root)).as_posix()

    def fingerprint(self) -> str:
        """Changes when a recording comes, goes, or gets another length, name, speaker or place in the order."""
        digest = hashlib.sha256()
        for tracks in (self.tracks.clean, self.tracks.noise, self.tracks.impulse_responses):
            for track in tracks:
                digest.update(f"{self.name(track.path)}\0{track.samples}\0{track.group}\n".encode())
            digest.update(b"\n")
        return digest.hexdigest()


def open_recordings(corpus: Corpus, root: str | Path, decoded_folder: str | Path) -> Recordings:
    """Open what can be read of a corpus; see `open_tracks` for what cannot.

    Arguments
    ---------
    corpus : Corpus
        What to open.
    root : str or Path
        The folder that names are relative to.
    decoded_folder : str or Path
        Where decoded copies are kept.

    Returns
    -------
    Recordings
        Ready to draw from.
    """
    originals: dict[str, str] = {}

    def opened(sources: Sequence[Source]) -> TrackList:
        groups = {str(source.path): source.group for source in sources}
        # In place of its group, each source takes its path along: a decoded copy has a path of its own.
        tracks = open_tracks([replace(source, group=str(source.path)) for source in sources], decoded_folder)
        originals.update((track.path, track.group) for track in tracks if track.path != track.group)
        return TrackList(replace(track, group=groups[track.group]) for track in tracks)

    tracks = Tracks(opened(corpus.clean), opened(corpus.noise), opened(corpus.impulse_responses))
    return Recordings(tracks, str(root), originals)
