"""Recordings joined to the length of a clip: whole, audible, not clipped, and active enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from speechbrain_dynsnet.data.levels import CLIPPED, activity
from speechbrain_dynsnet.data.mixing import Segment
from speechbrain_dynsnet.data.recordings import Recordings
from speechbrain_dynsnet.data.store import read_segment
from speechbrain_dynsnet.data.tracks import Track
from speechbrain_dynsnet.errors import InputError

_MISSES = 50  # recordings of no use in one joined signal before another beginning is tried
_BEGINNINGS = 500  # joined signals tried for a clip

Segments = tuple[Segment, ...]


def speakers_heard_twice(speech: Iterable[Track], samples: int) -> list[str]:
    """The speakers with less speech than so many samples: a clip of that length has some of it more than once."""
    spoken: Counter[str] = Counter()
    for track in speech:
        spoken[track.group] += track.samples
    return [speaker for speaker, length in spoken.items() if length < samples]


class Joiner:
    """Finds what one clip is joined from, and keeps account of what was of no use.

    Arguments
    ---------
    recordings : Recordings
        What is joined.
    samples, gap : int
        Length of the joined signal, and of the silence between recordings, at 16 kHz.
    rng : Generator
        All randomness comes from here.

    Attributes
    ----------
    skipped : dict of str to str
        Tracks that were drawn but are `clipped`, `silent` or `unreadable` there.
    inactive : int
        Joined signals that were given up for too little activity.
    """

    def __init__(self, recordings: Recordings, samples: int, gap: int, rng: np.random.Generator) -> None:
        self.recordings = recordings
        self.samples = samples
        self.gap = gap
        self.rng = rng
        self.skipped: dict[str, str] = {}
        self.inactive = 0

    def find_response(self) -> Segment:
        """An impulse response that is not silent; InputError when many draws find none."""
        for _ in range(_MISSES):
            track = self._pick(self.recordings.tracks.impulse_responses)
            response = Segment(track.path, 0, track.samples)
            # The direct path is often at full scale.
            if self._read(track, response, largest=np.inf, may_be_silent=False) is not None:
                return response
        raise InputError(f"no usable impulse response in {_MISSES} draws: {self._account()}")

    def join_speech(self, first: Track, threshold: float) -> tuple[str, Segments]:
        """Utterances of one speaker, and who that is."""
        return self._join("clean", self.recordings.tracks.clean, first, self._utterances, threshold)

    def join_noise(self, first: Track, threshold: float) -> Segments:
        """Noises."""
        return self._join("noise", self.recordings.tracks.noise, first, self._noises, threshold)[1]

    def _join(
        self,
        kind: str,
        tracks: Sequence[Track],
        first: Track,
        successors: Callable[[Track], Iterator[Track]],
        threshold: float,
    ) -> tuple[str, Segments]:
        shares = []
        for _ in range(_BEGINNINGS):
            pieces = self._fill(successors(first))
            if pieces and not any(audio.any() for _, audio in pieces):
                self.skipped[first.path] = "silent"
            elif pieces:
                segments = tuple(segment for segment, _ in pieces)
                if threshold == 0.0:
                    return first.group, segments
                shares.append(activity(np.concatenate([audio for _, audio in pieces])))
                if shares[-1] > threshold:
                    return first.group, segments
                self.inactive += 1
            first = self._pick(tracks)
        reason = self._account()
        if shares:
            reason = (
                f"the most active of {len(shares)} joined signals is so in {max(shares):.2f} of its length: lower "
                f"{kind}_activity_threshold ({threshold:g}); {reason}"
            )
        raise InputError(f"no usable {kind} audio in {_BEGINNINGS} draws: {reason}")

    def _utterances(self, first: Track) -> Iterator[Track]:
        # All of the speaker's in a random order, and again, so that none is heard twice before it must be.
        yield first
        spoken = self.recordings.tracks.clean.of_group(first.group)
        lap: Sequence[Track] = [track for track in spoken if track != first]
        while True:
            yield from (lap[index] for index in self.rng.permutation(len(lap)))
            lap = spoken

    def _noises(self, first: Track) -> Iterator[Track]:
        yield first
        while True:
            yield self._pick(self.recordings.tracks.noise)

    def _fill(self, tracks: Iterator[Track]) -> list[tuple[Segment, np.ndarray]]:
        """Usable pieces with silence between them, as long as the clip; nothing when too many are not usable."""
        pieces: list[tuple[Segment, np.ndarray]] = []
        left = self.samples
        misses = 0
        while left > 0:
            track = next(tracks)
            taken = min(left, track.samples)
            segment = Segment(track.path, int(self.rng.integers(track.samples - taken + 1)), taken)
            # A pause in a longer recording may come to lie here.
            audio = self._read(track, segment, largest=CLIPPED, may_be_silent=taken < track.samples)
            if audio is None:
                misses += 1
                if misses == _MISSES:
                    return []
                continue
            pieces.append((segment, audio))
            left -= taken
            if gap := min(left, self.gap):
                pieces.append((Segment(None, 0, gap), np.zeros(gap, np.float32)))
                left -= gap
        return pieces

    def _read(self, track: Track, segment: Segment, largest: float, may_be_silent: bool) -> np.ndarray | None:
        """The audio, or None where it is of no use."""
        if track.path in self.skipped:
            return None
        try:
            audio = read_segment(track.path, segment.start, segment.samples)
        except InputError:  # damaged inside, or gone since it was opened
            self.skipped[track.path] = "unreadable"
            return None
        peak = float(np.abs(audio).max())
        if peak > largest:
            self.skipped[track.path] = "clipped"
            return None
        if peak == 0.0 and not may_be_silent:
            self.skipped[track.path] = "silent"
            return None
        return audio

    def _pick(self, tracks: Sequence[Track]) -> Track:
        return tracks[int(self.rng.integers(len(tracks)))]

    def _account(self) -> str:
        if not self.skipped:
            return "none is clipped, silent or unreadable"
        counts = ", ".join(f"{count} {reason}" for reason, count in sorted(Counter(self.skipped.values()).items()))
        return f"{counts}, such as {self.recordings.name(next(iter(self.skipped)))}"
