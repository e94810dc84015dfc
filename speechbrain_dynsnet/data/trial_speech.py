"""Speech-like signals by source and filter, for the trial set: voices that a denoiser has to learn.

A glottal pulse train with a moving pitch, or noise, drives a cascade of formant resonators that
glides between vowel targets; fricatives, stops and pauses break it into syllables. The structure
is that of D. H. Klatt, "Software for a cascade/parallel formant synthesizer", JASA 67(3), 1980.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, lfilter, sosfilt

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE

Signal = NDArray[np.float64]

_BLOCK = 80  # samples: 5 ms, over which the vocal tract stands still
_FFT = 1024  # samples: long enough for the response of the narrowest formant to die away

# F1, F2, F3 in Hz of men's vowels: Peterson & Barney, JASA 24(2), 1952, Table II.
_VOWELS_HZ = np.array(
    [
        (270, 2290, 3010),
        (390, 1990, 2550),
        (530, 1840, 2480),
        (660, 1720, 2410),
        (730, 1090, 2440),
        (570, 840, 2410),
        (440, 1020, 2240),
        (300, 870, 2240),
        (640, 1190, 2390),
        (490, 1350, 1690),
    ],
    dtype=np.float64,
)
_NASAL_HZ = np.array([270, 1100, 2200], dtype=np.float64)
_LIQUID_HZ = np.array([340, 1050, 2600], dtype=np.float64)
_HIGHER_FORMANTS_HZ = np.array([3500, 4400, 5300, 6300], dtype=np.float64)
_BANDWIDTHS_HZ = np.array([70, 90, 140, 220, 300, 400, 500], dtype=np.float64)

# Pass band in Hz of the noise made at each place in the mouth, and its strength beside the vowels.
_FRICTION = {"s": (4200, 7600, 0.5), "sh": (2000, 5200, 0.6), "f": (1200, 7400, 0.15)}
_PLACES = tuple(_FRICTION)


class Voice(NamedTuple):
    """What stays the same in everything one speaker says."""

    pitch_hz: float
    pitch_range: float  # how far accents move the pitch, as a share of it
    tilt_hz: float  # where the pulses' spectrum begins to fall faster: soft voices early
    tract_scale: float  # formants relative to an average man's: a short tract lies higher
    syllables_per_s: float
    breath: float  # aspiration relative to voicing
    open_quotient: float  # share of the pitch period in which the glottis is open
    jitter: float  # relative standard deviation of the pitch from period to period
    shimmer: float  # the same of the pulses' amplitude


class _Segment(NamedTuple):
    """A piece of a syllable with constant targets; the tracks glide from one to the next."""

    seconds: float
    formants_hz: Signal
    pitch: float = 1.0
    voicing: float = 0.0
    aspiration: float = 0.0
    place: str = "s"
    friction: float = 0.0


def draw_voice(rng: np.random.Generator) -> Voice:
    """One speaker. The pitch decides the likely length of the vocal tract, as it does in people."""
    pitch_hz = float(np.exp(rng.uniform(np.log(85.0), np.log(260.0))))
    height = np.log(pitch_hz / 85.0) / np.log(260.0 / 85.0)
    return Voice(
        pitch_hz=pitch_hz,
        pitch_range=rng.uniform(0.2, 0.5),
        tilt_hz=rng.uniform(700.0, 2500.0),
        tract_scale=0.94 + 0.2 * height + rng.uniform(-0.04, 0.04),
        syllables_per_s=rng.uniform(3.2, 5.8),
        breath=rng.uniform(0.01, 0.08),
        open_quotient=rng.uniform(0.5, 0.75),
        jitter=rng.uniform(0.005, 0.015),
        shimmer=rng.uniform(0.02, 0.1),
    )


def synthesise_speech(voice: Voice, seconds: float, rng: np.random.Generator) -> Signal:
    """Phrases and pauses of one speaker, (time,), at SAMPLE_RATE; the level is arbitrary."""
    samples = round(seconds * SAMPLE_RATE)
    blocks = -(-samples // _BLOCK)
    segments = _draw_segments(voice, blocks * _BLOCK / SAMPLE_RATE, rng)
    ends = np.cumsum([segment.seconds for segment in segments]) * SAMPLE_RATE / _BLOCK
    index = np.searchsorted(ends, np.arange(blocks), side="right").clip(max=len(segments) - 1)

    def track(values: list[float], glide_s: float) -> Signal:
        return _smooth(np.asarray(values)[index], glide_s)

    formants_hz = np.stack([track([segment.formants_hz[i] for segment in segments], 0.07) for i in range(3)])
    pitch_hz = voice.pitch_hz * track([segment.pitch for segment in segments], 0.12)
    pitch_hz *= 1.0 + voice.jitter * rng.standard_normal(blocks)
    voicing = track([segment.voicing for segment in segments], 0.03)
    aspiration = track([segment.aspiration for segment in segments], 0.02)

    source = _glottal_pulses(voice, _per_sample(pitch_hz), rng) * _per_sample(voicing)
    breath = aspiration + voice.breath * voicing
    source += 0.2 * _per_sample(breath) * rng.standard_normal(source.size)
    speech = _vocal_tract(source, formants_hz * voice.tract_scale)
    speech /= np.std(speech) + 1e-9  # so that friction has its strength beside any voice
    for place, (low_hz, high_hz, strength) in _FRICTION.items():
        gain = track([s.friction if s.place == place else 0.0 for s in segments], 0.015)
        band = butter(2, (low_hz, high_hz), "bandpass", fs=SAMPLE_RATE, output="sos")
        hiss = sosfilt(band, rng.standard_normal(speech.size))
        speech += strength * _per_sample(gain) * hiss
    high_pass = butter(2, 60, "highpass", fs=SAMPLE_RATE, output="sos")
    clean: Signal = sosfilt(high_pass, speech)[:samples]
    return clean


def _draw_segments(voice: Voice, seconds: float, rng: np.random.Generator) -> list[_Segment]:
    """Phrases of 3 to 9 syllables, with pauses between, until the time is filled."""
    vowel = _VOWELS_HZ[rng.integers(len(_VOWELS_HZ))]
    segments = [_Segment(rng.uniform(0.05, 0.3), vowel)]
    while sum(segment.seconds for segment in segments) < seconds:
        syllables = int(rng.integers(3, 10))
        for i in range(syllables):
            declination = 1.0 + voice.pitch_range * (0.5 - i / syllables)
            segments += _draw_syllable(voice, declination, rng)
        segments.append(_Segment(rng.uniform(0.15, 0.5), segments[-1].formants_hz))
    return segments


def _draw_syllable(voice: Voice, pitch: float, rng: np.random.Generator) -> list[_Segment]:
    """Onset, vowel and sometimes a coda; a stressed syllable is longer, louder and higher."""
    stress = rng.uniform(0.0, 1.0)
    pitch *= 1.0 + voice.pitch_range * (stress - 0.5)
    loudness = 0.45 + 0.55 * stress
    seconds = (0.75 + 0.5 * stress) / voice.syllables_per_s
    vowel_hz = _VOWELS_HZ[rng.integers(len(_VOWELS_HZ))] * rng.uniform(0.95, 1.05, 3)

    segments = _draw_consonant(seconds * 0.4, vowel_hz, pitch, loudness, rng)
    coda: list[_Segment] = []
    if rng.uniform() < 0.35:
        coda = _draw_consonant(seconds * 0.3, vowel_hz, pitch, 0.7 * loudness, rng)
    spent = sum(segment.seconds for segment in segments + coda)
    return [*segments, _Segment(seconds - spent, vowel_hz, pitch, voicing=loudness), *coda]


def _draw_consonant(
    seconds: float, vowel_hz: Signal, pitch: float, loudness: float, rng: np.random.Generator
) -> list[_Segment]:
    """A fricative, a stop, a nasal, a liquid, an h, or none, at most `seconds` long."""
    place = _PLACES[rng.integers(len(_PLACES))]
    voiced = bool(rng.uniform() < 0.4)
    murmur = 0.35 * loudness * voiced
    kind = rng.choice(["fricative", "stop", "nasal", "liquid", "h", "none"], p=_CONSONANT_SHARES)
    if kind == "fricative":
        return [_Segment(seconds, vowel_hz, pitch, murmur, place=place, friction=loudness)]
    if kind == "stop":
        burst_s, breath_s = 0.012, (0.01 if voiced else 0.03)
        closure = _Segment(max(seconds - burst_s - breath_s, 0.02), vowel_hz, pitch, 0.3 * murmur)
        burst = _Segment(burst_s, vowel_hz, pitch, place=place, friction=1.6 * loudness)
        breath = _Segment(breath_s, vowel_hz, pitch, murmur, aspiration=0.2 * loudness)
        return [closure, burst, breath]
    if kind == "nasal":
        return [_Segment(seconds, _NASAL_HZ, pitch, voicing=0.4 * loudness)]
    if kind == "liquid":
        return [_Segment(seconds, _LIQUID_HZ, pitch, voicing=0.6 * loudness)]
    if kind == "h":
        return [_Segment(seconds, vowel_hz, pitch, aspiration=0.25 * loudness)]
    return []


_CONSONANT_SHARES = (0.28, 0.28, 0.14, 0.12, 0.06, 0.12)


def _glottal_pulses(voice: Voice, pitch_hz: Signal, rng: np.random.Generator) -> Signal:
    """Rosenberg's glottal pulse ("Effect of glottal pulse shape", JASA 49(2B), 1971), derived.

    The derivative of the flow, since the lips radiate that.
    """
    cycles = np.cumsum(pitch_hz) / SAMPLE_RATE
    cycle = cycles.astype(np.int64)
    phase = cycles - cycle
    rise = voice.open_quotient * 0.7
    fall = voice.open_quotient - rise
    opening = 0.5 * np.pi / rise * np.sin(np.pi * phase / rise)
    closing = -0.5 * np.pi / fall * np.sin(0.5 * np.pi * (phase - rise) / fall)
    flow = np.where(phase < rise, opening, np.where(phase < rise + fall, closing, 0.0))
    amplitude = 1.0 + voice.shimmer * rng.standard_normal(int(cycle[-1]) + 1)
    pole = np.exp(-2.0 * np.pi * voice.tilt_hz / SAMPLE_RATE)
    tilted: Signal = lfilter([1.0 - pole], [1.0, -pole], flow * amplitude[cycle])
    return tilted


def _vocal_tract(source: Signal, formants_hz: Signal) -> Signal:
    """Klatt's cascade: one all-pole resonator a formant, with unit gain at 0 Hz.

    Each block of the source, windowed, goes through a resonator of its own, and the responses are
    added where they overlap: a recursive filter whose coefficients jump would click.
    """
    blocks = formants_hz.shape[1]
    angle = 2.0 * np.pi * np.arange(_FFT // 2 + 1) / _FFT
    delay = np.exp(-1j * angle)
    higher = np.repeat(_HIGHER_FORMANTS_HZ[:, None], blocks, axis=1)
    denominator = np.ones((blocks, angle.size), dtype=np.complex128)
    for centre_hz, bandwidth_hz in zip(np.concatenate([formants_hz, higher]), _BANDWIDTHS_HZ, strict=True):
        radius = np.exp(-np.pi * bandwidth_hz / SAMPLE_RATE)
        a1 = -2.0 * radius * np.cos(2.0 * np.pi * centre_hz / SAMPLE_RATE)
        a2 = radius**2
        section = 1.0 + a1[:, None] * delay + a2 * delay**2
        denominator *= section / (1.0 + a1 + a2)[:, None]

    window = np.hanning(2 * _BLOCK + 1)[:-1]
    pieces = np.lib.stride_tricks.sliding_window_view(np.pad(source, (_BLOCK // 2, 3 * _BLOCK // 2)), 2 * _BLOCK)[
        ::_BLOCK
    ][:blocks]
    responses = np.fft.irfft(np.fft.rfft(pieces * window, _FFT) / denominator, _FFT)
    speech = np.zeros(source.size + _FFT)
    for block, response in enumerate(responses):
        speech[block * _BLOCK : block * _BLOCK + _FFT] += response
    return speech[_BLOCK // 2 :][: source.size]


def _smooth(track: Signal, glide_s: float) -> Signal:
    """Turn steps into glides of about `glide_s`."""
    width = max(3, round(glide_s * SAMPLE_RATE / _BLOCK) | 1)
    window = np.hanning(width + 2)[1:-1]
    padded = np.pad(track, width // 2, mode="edge")
    return np.convolve(padded, window / window.sum(), mode="valid")


def _per_sample(track: Signal) -> Signal:
    """Blocks to samples, linearly between the blocks' centres."""
    centres = np.arange(track.size) * _BLOCK + _BLOCK / 2
    return np.interp(np.arange(track.size * _BLOCK), centres, track)
