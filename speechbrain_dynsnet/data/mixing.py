"""Noisy and clean pairs: draw what is random into a dataclass, then apply it deterministically."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.signal import fftconvolve, lfilter

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.data.store import Track, read_segment
from speechbrain_dynsnet.errors import InputError

_GAP = SAMPLE_RATE // 5  # 0.2 s of silence between joined utterances, as in DNS-2020
PEAK = 0.99  # above it a mixture is scaled down, as in DNS-2020
_BABBLE_SPEAKERS = (3, 7)  # at least, at most
_ACTIVE_FRAME = 512  # samples
_ACTIVE_RANGE_DB = 35.0  # a frame this far under the loudest one is a pause


@dataclass(frozen=True)
class Segment:
    """A piece of a track; `path` None is silence."""

    path: str | None
    start: int
    samples: int


@dataclass(frozen=True)
class MixDistribution:
    """What pairs are drawn from. Ranges are (low, high), uniform.

    Arguments
    ---------
    snr_db : pair of float
        Ratio of active speech to noise.
    level_dbfs : pair of float
        RMS level of the mixture.
    reverb_probability : float
        Share of pairs whose speech is convolved with an impulse response. The target is the reverberant
        speech, as in DNS-2020.
    second_noise_probability : float
        Share of pairs with two noises, added at equal power.
    babble_probability : float
        Share of pairs whose noise is babble in place of a recording: several other speakers of the same
        split, at equal power.
    tilt : float
        Largest coefficient of the random spectral tilt (a biquad; 0.375 in RNNoise, arXiv 1709.08243).
    """

    snr_db: tuple[float, float] = (-5.0, 25.0)
    level_dbfs: tuple[float, float] = (-35.0, -15.0)
    reverb_probability: float = 0.3
    second_noise_probability: float = 0.3
    babble_probability: float = 0.0
    tilt: float = 0.375

    def __post_init__(self) -> None:
        for name in ("snr_db", "level_dbfs"):
            value = getattr(self, name)
            if not isinstance(value, Sequence) or len(value) != 2 or not value[0] <= value[1]:
                raise InputError(f"{name} is {value!r}: give a range, such as [-5, 25]")
            object.__setattr__(self, name, (float(value[0]), float(value[1])))
        for name in ("reverb_probability", "second_noise_probability", "babble_probability"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"{name} is {getattr(self, name)!r}: give a share from 0 to 1")
        if not 0.0 <= self.tilt < 0.5:
            # 1 + a1 z^-1 + a2 z^-2 is stable for every |a| < 1/2
            raise InputError(f"tilt is {self.tilt!r}: give a number from 0 to below 0.5, such as 0.375")


@dataclass(frozen=True)
class MixParameters:
    """One pair, before any audio is read."""

    samples: int
    speech: tuple[Segment, ...]
    noises: tuple[tuple[Segment, ...], ...]
    impulse_response: Segment | None
    snr_db: float
    level_dbfs: float
    speech_tilt: tuple[float, ...]
    noise_tilt: tuple[float, ...]


@dataclass(frozen=True)
class Tracks:
    """The opened sources of one split."""

    clean: Sequence[Track]
    noise: Sequence[Track]
    impulse_responses: Sequence[Track]
    by_speaker: dict[str, list[Track]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        speakers: dict[str, list[Track]] = {}
        for track in self.clean:
            speakers.setdefault(track.group, []).append(track)
        object.__setattr__(self, "by_speaker", speakers)


def draw(tracks: Tracks, distribution: MixDistribution, samples: int, rng: np.random.Generator) -> MixParameters:
    """Draw one pair.

    Arguments
    ---------
    tracks : Tracks
        What to draw from.
    distribution : MixDistribution
        How.
    samples : int
        Length of the pair, at 16 kHz.
    rng : Generator
        All randomness comes from here.
    """
    noise_count = 1 + int(rng.random() < distribution.second_noise_probability)
    first = _pick(tracks.clean, rng)
    has_babble = rng.random() < distribution.babble_probability
    babble = _draw_babble(tracks, first.group, samples, rng) if has_babble else ()
    reverberant = bool(tracks.impulse_responses) and rng.random() < distribution.reverb_probability
    response = _pick(tracks.impulse_responses, rng) if reverberant else None
    return MixParameters(
        samples=samples,
        speech=_draw_speech(tracks, first, samples, rng),
        noises=babble or tuple(_draw_noise(tracks.noise, samples, rng) for _ in range(noise_count)),
        impulse_response=Segment(response.path, 0, response.samples) if response else None,
        snr_db=float(rng.uniform(*distribution.snr_db)),
        level_dbfs=float(rng.uniform(*distribution.level_dbfs)),
        speech_tilt=tuple(rng.uniform(-distribution.tilt, distribution.tilt, 4).tolist()),
        noise_tilt=tuple(rng.uniform(-distribution.tilt, distribution.tilt, 4).tolist()),
    )


def mix(parameters: MixParameters) -> tuple[np.ndarray, np.ndarray]:
    """Make the pair: a pure function of its parameters and the files they name.

    Returns
    -------
    noisy, clean : ndarray
        float32, (samples,). `noisy - clean` is the noise at the drawn SNR against active speech.
    """
    clean = _tilt(join_segments(parameters.speech), parameters.speech_tilt)
    if parameters.impulse_response is not None:
        clean = reverberate(clean, join_segments((parameters.impulse_response,)))
    noise = np.zeros(parameters.samples)
    for segments in parameters.noises:
        one = join_segments(segments)
        noise += one / max(rms(one), 1e-8)
    noise = _tilt(noise, parameters.noise_tilt)
    speech_rms, noise_rms = active_rms(clean), rms(noise)
    if speech_rms > 0 and noise_rms > 0:
        noise *= speech_rms / noise_rms * 10.0 ** (-parameters.snr_db / 20.0)
    noisy = clean + noise
    gain = 10.0 ** (parameters.level_dbfs / 20.0) / max(rms(noisy), 1e-8)
    gain = min(gain, PEAK / max(float(np.abs(noisy).max()), float(np.abs(clean).max()), 1e-8))
    return (gain * noisy).astype(np.float32), (gain * clean).astype(np.float32)


def active_rms(signal: np.ndarray) -> float:
    """RMS over the 32 ms frames that are no pause (within 35 dB of the loudest); 0 for silence."""
    frames = signal[: len(signal) // _ACTIVE_FRAME * _ACTIVE_FRAME].reshape(-1, _ACTIVE_FRAME)
    power = np.square(frames).mean(axis=1) if len(frames) else np.square(signal).mean(keepdims=True)
    loudest = float(power.max())
    if loudest <= 0.0:
        return 0.0
    return float(np.sqrt(power[power >= loudest * 10.0 ** (-_ACTIVE_RANGE_DB / 10.0)].mean()))


def _draw_babble(
    tracks: Tracks, talker: str, samples: int, rng: np.random.Generator
) -> tuple[tuple[Segment, ...], ...]:
    # Nothing when there is nobody else: the pair then has a recorded noise.
    others = [speaker for speaker in tracks.by_speaker if speaker != talker]
    count = min(len(others), int(rng.integers(_BABBLE_SPEAKERS[0], _BABBLE_SPEAKERS[1] + 1)))
    voices = [tracks.by_speaker[others[index]] for index in rng.permutation(len(others))[:count]]
    return tuple(_draw_speech(tracks, _pick(voice, rng), samples, rng) for voice in voices)


def _draw_speech(tracks: Tracks, track: Track, samples: int, rng: np.random.Generator) -> tuple[Segment, ...]:
    # An utterance, then others of the same speaker until the clip is full.
    if track.samples >= samples:
        return (Segment(track.path, int(rng.integers(track.samples - samples + 1)), samples),)
    segments = []
    left = samples
    same_speaker = tracks.by_speaker[track.group]
    while left > 0:
        taken = min(left, track.samples)
        segments.append(Segment(track.path, 0, taken))
        gap = min(left - taken, _GAP)
        segments.append(Segment(None, 0, gap))
        left -= taken + gap
        track = _pick(same_speaker, rng)
    return tuple(segments)


def _draw_noise(noises: Sequence[Track], samples: int, rng: np.random.Generator) -> tuple[Segment, ...]:
    # A place in a noise; a noise that is too short is repeated.
    track = _pick(noises, rng)
    start = int(rng.integers(track.samples - samples + 1)) if track.samples > samples else 0
    segments = []
    left = samples
    while left > 0:
        taken = min(left, track.samples - start)
        segments.append(Segment(track.path, start, taken))
        left, start = left - taken, 0
    return tuple(segments)


def _pick(tracks: Sequence[Track], rng: np.random.Generator) -> Track:
    return tracks[int(rng.integers(len(tracks)))]


def join_segments(segments: Sequence[Segment]) -> np.ndarray:
    """The segments read and put one after another, float64 (time,)."""
    # A short noise is repeated many times, and read once.
    pieces = {
        segment: np.zeros(segment.samples, np.float32)
        if segment.path is None
        else read_segment(segment.path, segment.start, segment.samples)
        for segment in set(segments)
    }
    return np.concatenate([pieces[segment] for segment in segments]).astype(np.float64)


def reverberate(speech: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Speech in a room, as long as before. The largest value of the response is its direct path, made 1."""
    # Aligned at the direct path, so that target and mixture keep the timing of the dry speech.
    direct = int(np.abs(response).argmax())
    wet = fftconvolve(speech, response / max(float(np.abs(response[direct])), 1e-8))
    return np.asarray(wet[direct : direct + len(speech)])


def _tilt(signal: np.ndarray, coefficients: Sequence[float]) -> np.ndarray:
    b1, b2, a1, a2 = coefficients
    return np.asarray(lfilter((1.0, b1, b2), (1.0, a1, a2), signal))


def rms(signal: np.ndarray) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.square(signal).mean()))
