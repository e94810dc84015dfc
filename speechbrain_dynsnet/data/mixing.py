"""Noisy and clean pairs: draw what is random into a dataclass, then apply it deterministically."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.signal import butter, fftconvolve, lfilter, sosfilt

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.data.levels import active_rms, activity, rms
from speechbrain_dynsnet.data.store import read_segment
from speechbrain_dynsnet.data.tracks import Track, Tracks
from speechbrain_dynsnet.errors import InputError

_GAP = SAMPLE_RATE // 5  # 0.2 s of silence between joined utterances, as in DNS-2020
PEAK = 0.99  # above it a mixture is scaled down, as in DNS-2020
_BAND_LIMIT_HZ = (2500.0, 7500.0)
_BABBLE_SPEAKERS = (3, 7)  # at least, at most
_TRIES = 10  # places listened to; after them the best one is taken
_MISSES = 50  # unreadable or silent places before training gives up: not one bad file, but a disk that is gone
_AUDIBLE = 10.0 ** (-60.0 / 20.0)  # of the RMS: below it there is room tone or dither, no speech and no noise


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
    min_activity : float
        A place in the speech is used when there is sound in at least this share of it (see
        `levels.activity`), else another is tried; after 10 the most active is taken.
    tilt : float
        Largest coefficient of the random spectral tilt (a biquad; 0.375 in RNNoise, arXiv 1709.08243).
    band_limit_probability : float
        Share of pairs whose mixture and target end at a frequency between 2.5 and 7.5 kHz, as recordings do that
        went through a telephone or a codec.
    """

    snr_db: tuple[float, float] = (-5.0, 25.0)
    level_dbfs: tuple[float, float] = (-35.0, -15.0)
    reverb_probability: float = 0.3
    second_noise_probability: float = 0.3
    babble_probability: float = 0.0
    min_activity: float = 0.4
    tilt: float = 0.375
    band_limit_probability: float = 0.0

    def __post_init__(self) -> None:
        for name in ("snr_db", "level_dbfs"):
            value = getattr(self, name)
            if not isinstance(value, Sequence) or len(value) != 2 or not value[0] <= value[1]:
                raise InputError(f"{name} is {value!r}: give a range, such as [-5, 25]")
            object.__setattr__(self, name, (float(value[0]), float(value[1])))
        for name in (name for name in vars(self) if name.endswith("_probability") or name == "min_activity"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"{name} is {getattr(self, name)!r}: give a share from 0 to 1")
        if not 0.0 <= self.tilt < 0.5:
            # 1 + a1 z^-1 + a2 z^-2 is stable for every |a| < 1/2
            raise InputError(f"tilt is {self.tilt!r}: give a number from 0 to below 0.5, such as 0.375")


@dataclass(frozen=True)
class MixParameters:
    """One pair: all that is random in it.

    `skipped` says what was drawn and could not be used, and why: unreadable, or silent there.
    """

    samples: int
    speech: tuple[Segment, ...]
    noises: tuple[tuple[Segment, ...], ...]
    impulse_response: Segment | None
    snr_db: float
    level_dbfs: float
    speech_tilt: tuple[float, ...]
    noise_tilt: tuple[float, ...]
    band_limit_hz: float | None
    skipped: tuple[str, ...]


def draw(tracks: Tracks, distribution: MixDistribution, samples: int, rng: np.random.Generator) -> MixParameters:
    """Draw one pair.

    What is drawn is listened to: speech with too little activity, silence and files that cannot be read are drawn
    anew.

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

    Returns
    -------
    MixParameters
        What `mix` makes the pair of.

    Raises
    ------
    InputError
        When 50 draws cannot be read, or are digital silence.
    """
    draws = _Draws(tracks, distribution.min_activity, samples, rng)
    talker, speech = draws.speech()
    has_babble = rng.random() < distribution.babble_probability
    noises = draws.babble(talker) if has_babble else ()
    if not noises:
        noises = tuple(draws.noise() for _ in range(1 + int(rng.random() < distribution.second_noise_probability)))
    reverberant = bool(tracks.impulse_responses) and rng.random() < distribution.reverb_probability
    parameters = MixParameters(
        samples=samples,
        speech=speech,
        noises=noises,
        impulse_response=draws.impulse_response() if reverberant else None,
        snr_db=float(rng.uniform(*distribution.snr_db)),
        level_dbfs=float(rng.uniform(*distribution.level_dbfs)),
        speech_tilt=tuple(rng.uniform(-distribution.tilt, distribution.tilt, 4).tolist()),
        noise_tilt=tuple(rng.uniform(-distribution.tilt, distribution.tilt, 4).tolist()),
        band_limit_hz=None,
        skipped=tuple(draws.skipped),
    )
    # Drawn last, so that all else is the same without it.
    if rng.random() < distribution.band_limit_probability:
        parameters = replace(parameters, band_limit_hz=float(np.exp(rng.uniform(*np.log(_BAND_LIMIT_HZ)))))
    return parameters


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
    if parameters.band_limit_hz is not None:
        low_pass = butter(8, parameters.band_limit_hz, fs=SAMPLE_RATE, output="sos")
        noisy, clean = sosfilt(low_pass, noisy), sosfilt(low_pass, clean)
    gain = 10.0 ** (parameters.level_dbfs / 20.0) / max(rms(noisy), 1e-8)
    gain = min(gain, PEAK / max(float(np.abs(noisy).max()), float(np.abs(clean).max()), 1e-8))
    return (gain * noisy).astype(np.float32), (gain * clean).astype(np.float32)


class _Draws:
    """Draws segments of audio, and keeps account of what could not be used."""

    def __init__(self, tracks: Tracks, min_activity: float, samples: int, rng: np.random.Generator) -> None:
        self.tracks = tracks
        self.min_activity = min_activity
        self.samples = samples
        self.rng = rng
        self.skipped: list[str] = []

    def speech(self, speaker: str | None = None) -> tuple[str, tuple[Segment, ...]]:
        """Who speaks, and what: of this speaker, or of the one to whom a random recording belongs."""
        tracks = self.tracks.clean if speaker is None else self.tracks.clean.of_group(speaker)

        def candidate() -> tuple[str, tuple[Segment, ...]]:
            first = self._pick(tracks)
            return first.group, self._utterances(first)

        return self._best(candidate, lambda audio: activity(audio) * _is_audible(audio), self.min_activity)

    def babble(self, talker: str) -> tuple[tuple[Segment, ...], ...]:
        """Some speakers other than the talker; nothing when there is nobody else."""
        speakers = self.tracks.clean.group_names
        count = min(len(speakers) - 1, int(self.rng.integers(_BABBLE_SPEAKERS[0], _BABBLE_SPEAKERS[1] + 1)))
        others = self.rng.choice(len(speakers) - 1, count, replace=False) if count else ()
        own = self.tracks.clean.group_number(talker)
        return tuple(self.speech(speakers[other + (other >= own)])[1] for other in others)

    def noise(self) -> tuple[Segment, ...]:
        """A place in a noise; a noise that is too short is repeated."""
        return self._best(lambda: ("", self._repeated(self._pick(self.tracks.noise))), _is_audible, 1.0)[1]

    def impulse_response(self) -> Segment:
        """The whole of one."""

        def candidate() -> tuple[str, tuple[Segment, ...]]:
            track = self._pick(self.tracks.impulse_responses)
            return "", (Segment(track.path, 0, track.samples),)

        return self._best(candidate, lambda audio: 1.0, 1.0)[1][0]

    def _best(
        self,
        candidate: Callable[[], tuple[str, tuple[Segment, ...]]],
        fitness: Callable[[np.ndarray], float],
        wanted: float,
    ) -> tuple[str, tuple[Segment, ...]]:
        """The first candidate that is as fit as wanted, or the fittest of `_TRIES`."""
        best: tuple[float, tuple[str, tuple[Segment, ...]]] | None = None
        tries = misses = 0
        while tries < _TRIES:
            group, segments = candidate()
            try:
                audio = join_segments(segments)
                if not audio.any():
                    raise InputError(f"{segments[0].path}: digital silence where it was to be used")
            except InputError as error:
                misses += 1
                self.skipped.append(str(error))
                if misses == _MISSES:
                    raise InputError(f"{misses} draws of audio were of no use; the last: {error}") from error
                continue
            reached = fitness(audio)
            if reached >= wanted:
                return group, segments
            if best is None or reached > best[0]:
                best = reached, (group, segments)
            tries += 1
        assert best is not None
        return best[1]

    def _utterances(self, track: Track) -> tuple[Segment, ...]:
        # An utterance, then others of the same speaker until the clip is full.
        if track.samples >= self.samples:
            return (Segment(track.path, int(self.rng.integers(track.samples - self.samples + 1)), self.samples),)
        same_speaker = self.tracks.clean.of_group(track.group)
        segments = []
        left = self.samples
        while left > 0:
            taken = min(left, track.samples)
            segments.append(Segment(track.path, 0, taken))
            gap = min(left - taken, _GAP)
            segments.append(Segment(None, 0, gap))
            left -= taken + gap
            track = self._pick(same_speaker)
        return tuple(segments)

    def _repeated(self, track: Track) -> tuple[Segment, ...]:
        spare = track.samples - self.samples
        start = int(self.rng.integers(spare + 1)) if spare > 0 else 0
        segments = []
        left = self.samples
        while left > 0:
            taken = min(left, track.samples - start)
            segments.append(Segment(track.path, start, taken))
            left, start = left - taken, 0
        return tuple(segments)

    def _pick(self, tracks: Sequence[Track]) -> Track:
        return tracks[int(self.rng.integers(len(tracks)))]


def _is_audible(audio: np.ndarray) -> float:
    return float(rms(audio) > _AUDIBLE)


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
    heard = response[: direct + len(speech)]  # what comes later lies beyond the end
    wet = fftconvolve(speech, heard / max(float(np.abs(response[direct])), 1e-8))
    return np.asarray(wet[direct : direct + len(speech)])


def _tilt(signal: np.ndarray, coefficients: Sequence[float]) -> np.ndarray:
    b1, b2, a1, a2 = coefficients
    return np.asarray(lfilter((1.0, b1, b2), (1.0, a1, a2), signal))
