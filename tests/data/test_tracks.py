"""Tracks in arrays are the tracks that went in, at a fraction of the memory."""

from __future__ import annotations

import pickle
import tracemalloc

import numpy as np
import pytest

from speechbrain_dynsnet.data.tracks import Track, TrackList

NAMES = ["a.wav", "b/ü.wav", "b/\udcff bad bytes.wav", "c\n.flac"]


def some(count: int) -> list[Track]:
    rng = np.random.default_rng(count)
    return [
        Track(f"{i}/{NAMES[i % 4]}", int(rng.integers(1, 10**7)), f"speaker {rng.integers(5)}") for i in range(count)
    ]


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_a_list_holds_what_it_was_given(count: int) -> None:
    tracks = some(count)
    for held in (TrackList(tracks), pickle.loads(pickle.dumps(TrackList(tracks)))):
        assert list(held) == tracks
        assert len(held) == len(tracks) and bool(held) == bool(tracks)
        assert [held[index] for index in range(-count, 0)] == tracks
        for bad in (count, -count - 1):
            with pytest.raises(IndexError):
                held[bad]
        assert sorted(held.group_names) == sorted({track.group for track in tracks})
        for name in held.group_names:
            assert list(held.of_group(name)) == [track for track in tracks if track.group == name]
            assert held.group_names[held.group_number(name)] == name
        assert held.samples.tolist() == [track.samples for track in tracks]


def test_130000_tracks_fit_into_every_worker() -> None:
    """The bound is 50 MB a worker; speakers and rooms are counted in."""
    paths = "/data/dns2020/datasets/clean/book_{:05d}_chp_0042_reader_{:05d}_12_seg_3.wav"
    content = pickle.dumps(
        TrackList(Track(paths.format(i, i % 2150), 496000, f"{i % 2150:05d}") for i in range(130_650))
    )
    tracemalloc.start()
    held = pickle.loads(content)
    size, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(held) == 130_650
    assert size < 20e6
    assert peak < 40e6


def test_one_of_a_speakers_many_files_costs_no_more_than_one_of_few() -> None:
    held = TrackList(Track(f"{index}.wav", 16000, "anna") for index in range(100_000))
    tracemalloc.start()
    assert held.of_group("anna")[99_999].path == "99999.wav"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000
