"""Synthetic noises for the trial set: each kind is a function of a length and a generator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.data.trial_speech import draw_voice, synthesise_speech

Signal = NDArray[np.float64]


def _white(seconds: float, rng: np.random.Generator) -> Signal:
    """White noise, low-passed somewhere."""
    cutoff_hz = rng.uniform(3000.0, 7500.0)
    low_pass = butter(2, cutoff_hz, "lowpass", fs=SAMPLE_RATE, output="sos")
    noise: Signal = sosfilt(low_pass, rng.standard_normal(round(seconds * SAMPLE_RATE)))
    return noise


def _pink(seconds: float, rng: np.random.Generator) -> Signal:
    """Power falling with frequency, 3 dB an octave, with a slow swell."""
    noise = _coloured(seconds, 1.0, rng)
    return noise * (1.0 + 0.4 * np.sin(_angle(seconds, rng.uniform(0.05, 0.4), rng)))


def _brown(seconds: float, rng: np.random.Generator) -> Signal:
    """Power falling by 6 dB an octave, as of wind or traffic far away, in gusts."""
    gusts = 1.0 + 0.6 * np.sin(_angle(seconds, rng.uniform(0.1, 0.7), rng))
    return _coloured(seconds, 2.0, rng) * gusts


def _hum(seconds: float, rng: np.random.Generator) -> Signal:
    """Mains hum with its harmonics, and a little hiss."""
    mains_hz = float(rng.choice([50.0, 60.0]))
    hum = 0.02 * rng.standard_normal(round(seconds * SAMPLE_RATE))
    for harmonic in range(1, 25):
        strength = rng.uniform(0.2, 1.0) / harmonic**0.8
        hum += strength * np.sin(_angle(seconds, mains_hz * harmonic, rng))
    return hum


def _fan(seconds: float, rng: np.random.Generator) -> Signal:
    """Rushing air, its loudness modulated by blades, and the blades' own tone."""
    blades_hz = rng.uniform(6.0, 30.0)
    air = _coloured(seconds, 1.3, rng)
    air /= air.std()
    beat = 1.0 + rng.uniform(0.3, 0.7) * np.sin(_angle(seconds, blades_hz, rng))
    tone = sum(np.sin(_angle(seconds, blades_hz * k, rng)) / k for k in (4, 8, 12, 16))
    return air * beat + 0.8 * tone


def _clicks(seconds: float, rng: np.random.Generator) -> Signal:
    """Keys and dishes: short ringing strokes at random times over a faint floor."""
    samples = round(seconds * SAMPLE_RATE)
    noise = 0.004 * rng.standard_normal(samples)
    time_s = np.arange(round(0.06 * SAMPLE_RATE)) / SAMPLE_RATE
    for start in rng.integers(0, samples, size=max(1, round(seconds * rng.uniform(3.0, 9.0)))):
        ring = np.sin(2.0 * np.pi * rng.uniform(800.0, 5000.0) * time_s)
        stroke = ring + rng.standard_normal(time_s.size)
        stroke *= rng.uniform(0.2, 1.0) * np.exp(-time_s / rng.uniform(0.002, 0.015))
        noise[start : start + stroke.size] += stroke[: samples - start]
    return noise


def _babble(seconds: float, rng: np.random.Generator) -> Signal:
    """Several voices at once, none of them a speaker of the clean files."""
    voices = int(rng.integers(4, 7))
    babble = np.zeros(round(seconds * SAMPLE_RATE))
    for _ in range(voices):
        talker = synthesise_speech(draw_voice(rng), seconds, rng)
        babble += talker / (talker.std() + 1e-9)
    return babble


def _siren(seconds: float, rng: np.random.Generator) -> Signal:
    """A tone and its overtones, sweeping up and down."""
    centre_hz, sweeps_hz = rng.uniform(600.0, 1400.0), rng.uniform(0.2, 2.0)
    octaves = rng.uniform(0.2, 0.7) * np.sin(_angle(seconds, sweeps_hz, rng))
    angle = 2.0 * np.pi * np.cumsum(centre_hz * 2.0**octaves) / SAMPLE_RATE
    siren = 0.01 * rng.standard_normal(angle.size)
    for overtone in range(1, 5):
        siren += np.sin(overtone * angle) / overtone**1.5
    return siren


NOISES: dict[str, Callable[[float, np.random.Generator], Signal]] = {
    "white": _white,
    "babble": _babble,
    "fan": _fan,
    "clicks": _clicks,
    "pink": _pink,
    "siren": _siren,
    "hum": _hum,
    "brown": _brown,
}


def _coloured(seconds: float, slope: float, rng: np.random.Generator) -> Signal:
    """Noise whose power falls with frequency to the power of `slope`, flat below 40 Hz."""
    samples = round(seconds * SAMPLE_RATE)
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    frequency_hz = np.fft.rfftfreq(samples, 1.0 / SAMPLE_RATE)
    return np.fft.irfft(spectrum * np.maximum(frequency_hz, 40.0) ** (-slope / 2.0), samples)


def _angle(seconds: float, frequency_hz: float, rng: np.random.Generator) -> Signal:
    """The angle of a tone, from a random phase on."""
    time_s = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return 2.0 * np.pi * (frequency_hz * time_s + rng.uniform())
