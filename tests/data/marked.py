"""A data folder whose speech is known by its pitch, so that it can be found again in what is mixed from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.files import Audio, read_audio, write_audio

RATE = 16000
SPEAKERS = ("anna", "ben", "carl")
_LEVEL = {"anna": 0.3, "ben": 0.02, "carl": 0.1}  # peaks
_UTTERANCES_S = (0.9, 1.3, 1.7, 0.8)
_LOWEST_HZ, _STEP_HZ = 400, 200


def write(path: Path, samples: NDArray[np.floating], subtype: str = "PCM_16") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_audio(path, Audio(samples[None].astype(np.float32), RATE, "WAV", subtype))
    return path


def read(path: Path) -> NDArray[np.float64]:
    return read_audio(path).samples[0].astype(np.float64)


def tone(seconds: float, pitch_hz: float, peak: float) -> NDArray[np.float64]:
    """Three levels in turn of 0.1 s."""
    time_s = np.arange(round(seconds * RATE)) / RATE
    envelope = np.array([1.0, 0.6, 0.8])[(time_s / 0.1).astype(int) % 3]
    return np.asarray(peak * envelope * np.sin(2 * np.pi * pitch_hz * time_s + 0.5))


def utterance_at(pitch_hz: float) -> str:
    """`speaker/number` of the utterance of this pitch."""
    index = round((pitch_hz - _LOWEST_HZ) / _STEP_HZ)
    return f"{SPEAKERS[index // len(_UTTERANCES_S)]}/{index % len(_UTTERANCES_S)}"


def make_marked_set(folder: Path, *, rooms: bool = True) -> Path:
    """Three speakers of four tones each, three noises (steady, short, clicks with pauses) and two rooms."""
    rng = np.random.default_rng(0)
    for speaker, name in enumerate(SPEAKERS):
        for number, seconds in enumerate(_UTTERANCES_S):
            pitch_hz = _LOWEST_HZ + _STEP_HZ * (speaker * len(_UTTERANCES_S) + number)
            write(folder / "clean" / name / f"{name}_{number}.wav", tone(seconds, pitch_hz, _LEVEL[name]))
    clicks = 0.01 * rng.standard_normal(3 * RATE) * (np.arange(3 * RATE) % RATE < 2000)
    write(folder / "noise" / "hiss.wav", 0.1 * rng.standard_normal(9 * RATE).clip(-4, 4))
    write(folder / "noise" / "short.wav", 0.05 * rng.standard_normal(RATE // 2))
    write(folder / "noise" / "clicks.wav", clicks)
    for index, direct in enumerate((0, 40) if rooms else ()):
        response = 0.1 * rng.standard_normal(6000) * np.exp(-np.arange(6000) / 900)
        response[:direct] = 0.0
        response[direct] = 1.0
        write(folder / "impulse_responses" / f"room_{index}.wav", response, "FLOAT")
    return folder
