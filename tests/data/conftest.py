"""A small set of recordings, told apart by what is in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.files import Audio, write_audio
from speechbrain_dynsnet.data.tracks import Track, TrackList, Tracks

RATE = 16000


def write_track(path: Path, samples: NDArray[np.floating], group: str) -> Track:
    write_audio(path, Audio(samples[None].astype(np.float32), RATE, "WAV", "FLOAT"))
    return Track(str(path), len(samples), group)


def speech_like(seconds: float, pitch_hz: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Syllables four times a second with a pause in every second, on one pitch."""
    time_s = np.arange(round(seconds * RATE)) / RATE
    envelope = np.maximum(np.sin(2 * np.pi * 4 * time_s), 0.0) * (time_s % 1.0 < 0.7)
    voice = sum(np.sin(2 * np.pi * k * pitch_hz * time_s) / k for k in range(1, 6))
    return np.asarray(0.2 * envelope * voice + 1e-5 * rng.standard_normal(len(time_s)))


@pytest.fixture(scope="session")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> Tracks:
    """Three speakers of 3 utterances of 0.7 to 3 s, noises of 0.5 and 4 s, and two rooms."""
    folder = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(0)
    clean = [
        write_track(folder / f"{speaker}_{seconds}.wav", speech_like(seconds, pitch_hz, rng), speaker)
        for speaker, pitch_hz in (("anna", 220.0), ("ben", 110.0), ("carl", 150.0))
        for seconds in (0.7, 1.1, 3.0)
    ]
    noise = [
        write_track(folder / f"noise_{seconds}.wav", 0.1 * rng.standard_normal(round(seconds * RATE)), f"n{seconds}")
        for seconds in (0.5, 4.0)
    ]
    rooms = []
    for index, direct in enumerate((0, 40)):
        response = rng.standard_normal(4000) * np.exp(-np.arange(4000) / 600) * 0.1
        response[:direct] = 0.0
        response[direct] = 1.0 if index else -0.5
        rooms.append(write_track(folder / f"room_{index}.wav", response, f"room{index}"))
    return Tracks(TrackList(clean), TrackList(noise), TrackList(rooms))
